package nginx

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/policy"
)

// KeepCertificate writes the site's certificate and key to the state folder each
// time that source has another, and has nginx read them, until ctx ends. reload
// is as for NewBanner. What goes wrong is the event certificate.failed, once for
// each thing, and is tried again.
func KeepCertificate(ctx context.Context, p *policy.Policy, source func(context.Context) (cert, key []byte, err error), reload func() error, sink audit.Sink) {
	cert, key := Certificate(p)
	again := time.NewTicker(3 * time.Second)
	defer again.Stop()
	said, due := "", false
	for {
		if c, k, err := source(ctx); err == nil {
			wrote, err := putPair(cert, key, c, k)
			if due = due || wrote; err == nil && due && reload != nil {
				err = reload()
			}
			switch {
			case err == nil:
				said, due = "", false
			case err.Error() != said:
				said = err.Error()
				sink.Record(audit.Event{Time: time.Now(), Kind: audit.CertificateFailed, Outcome: audit.Failure, Control: "edge/certificate",
					Detail: fmt.Sprintf("nginx goes on with the old certificate: %v", err)})
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		}
	}
}

// putPair writes what differs: the key first, since whoever watches the folder
// waits for the certificate.
func putPair(cert, key string, c, k []byte) (wrote bool, err error) {
	if old, err := os.ReadFile(cert); err == nil && bytes.Equal(old, c) {
		return false, nil
	}
	if err := os.MkdirAll(filepath.Dir(cert), 0o700); err != nil {
		return false, err
	}
	if err := renameio.WriteFile(key, k, 0o600, renameio.WithStaticPermissions(0o600)); err != nil {
		return false, err
	}
	return true, renameio.WriteFile(cert, c, 0o644, renameio.WithStaticPermissions(0o644))
}
