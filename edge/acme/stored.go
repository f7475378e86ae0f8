package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/caddyserver/certmagic"
)

// setAside moves a stored certificate away that cannot be used, such as one whose
// key was not written any more when the machine went down. certmagic would keep
// it, and never ask for another. It stays beside, with .broken to its name, for
// whoever wants to look.
func (m *Manager) setAside(ctx context.Context, config *certmagic.Config) {
	issuer := config.Issuers[0].IssuerKey()
	cert, err := config.Storage.Load(ctx, certmagic.StorageKeys.SiteCert(issuer, m.site))
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	key, keyErr := config.Storage.Load(ctx, certmagic.StorageKeys.SitePrivateKey(issuer, m.site))
	if errors.Is(keyErr, fs.ErrNotExist) {
		return // another is asked for
	}
	if err := errors.Join(err, keyErr); err != nil {
		m.failed("the stored certificate: " + err.Error())
		return
	}
	if _, err := tls.X509KeyPair(cert, key); err != nil {
		stored := filepath.Join(string(m.dir), filepath.FromSlash(certmagic.StorageKeys.CertsSitePrefix(issuer, m.site)))
		aside := stored + ".broken"
		err = errors.Join(err, os.RemoveAll(aside), os.Rename(stored, aside))
		m.failed("the stored certificate cannot be used and is now " + aside + ": " + err.Error())
	}
}

func first(b []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, errors.New("no PEM")
	}
	return x509.ParseCertificate(block.Bytes)
}
