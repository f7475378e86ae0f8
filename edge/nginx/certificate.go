package nginx

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/internal/state"
	"github.com/ringwall/ringwall/policy"
)

// KeepCertificate writes the site's certificate and key to one file of the state
// folder each time that source has another, and has nginx read them, until ctx ends. reload
// is as for NewBanner. What goes wrong is the event certificate.failed, once for
// each thing, and is tried again.
func KeepCertificate(ctx context.Context, p *policy.Policy, source func(context.Context) (cert, key []byte, err error), reload func() error, sink audit.Sink) {
	file, _ := Certificate(p)
	again := time.NewTicker(3 * time.Second)
	defer again.Stop()
	said, due := "", true // an earlier process may have been killed before it told nginx
	for {
		if c, k, err := source(ctx); err == nil {
			wrote, err := putPair(file, c, k)
			if due = due || wrote; err == nil && due {
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

// putPair writes both to one file, if it differs.
func putPair(file string, cert, key []byte) (wrote bool, err error) {
	text := pair(string(cert), string(key))
	if old, err := os.ReadFile(file); err == nil && string(old) == text {
		return false, nil
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return false, err
	}
	return true, state.Replace(file, []byte(text), 0o600, nil)
}

// pair is a file that nginx takes the certificate with its chain from, and the
// key, too.
func pair(cert, key string) string { return strings.TrimRight(cert, "\n") + "\n" + key }
