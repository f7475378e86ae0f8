package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/caddyserver/certmagic"
)

// mend does what certmagic does not about stored files that are damaged, such as by
// the end of the machine, over which it would give up, now or at the next renewal.
// What cannot be used stays beside, with .broken to its name, for whoever wants to
// look.
func (m *Manager) mend(ctx context.Context, config *certmagic.Config) {
	m.mendLocks()
	m.mendAccounts()
	m.mendCertificate(ctx, config)
}

// mendLocks removes locks that say nothing: nobody would ever hold them for stale.
// Empty ones certmagic removes itself.
func (m *Manager) mendLocks() {
	locks, _ := filepath.Glob(filepath.Join(string(m.dir), "locks", "*.lock"))
	for _, lock := range locks {
		if b, err := os.ReadFile(lock); err == nil && len(b) > 0 && !isObject(b) {
			m.mended("the lock "+lock+" is damaged and was removed", os.Remove(lock))
		}
	}
}

// mendAccounts moves an account away that cannot be read: another is registered.
func (m *Manager) mendAccounts() {
	files, _ := filepath.Glob(filepath.Join(string(m.dir), "acme", "*", "users", "*", "*"))
	for _, file := range files {
		folder := filepath.Dir(file)
		b, err := os.ReadFile(file)
		if err != nil || strings.HasSuffix(folder, broken) {
			continue
		}
		good := true
		switch filepath.Ext(file) {
		case ".json":
			good = isObject(b)
		case ".key":
			_, err := certmagic.PEMDecodePrivateKey(b)
			good = err == nil
		}
		if !good {
			m.mended("the account at the authority cannot be used, since "+file+" is damaged, and is now "+folder+broken, m.aside(folder))
		}
	}
}

// mendCertificate moves a certificate away that cannot be used, such as one whose key
// was not written any more: certmagic would keep it, and never ask for another. One
// that is good but for what certmagic notes of it goes on.
func (m *Manager) mendCertificate(ctx context.Context, config *certmagic.Config) {
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
	folder := filepath.Join(string(m.dir), filepath.FromSlash(certmagic.StorageKeys.CertsSitePrefix(issuer, m.site)))
	if _, err := tls.X509KeyPair(cert, key); err != nil {
		m.mended("the stored certificate cannot be used and is now "+folder+broken+": "+err.Error(), m.aside(folder))
		return
	}
	notes := certmagic.StorageKeys.SiteMeta(issuer, m.site)
	if b, err := config.Storage.Load(ctx, notes); err == nil && !isObject(b) {
		b, err := json.Marshal(map[string][]string{"sans": {m.site}})
		if err == nil {
			err = config.Storage.Store(ctx, notes, b)
		}
		m.mended("what was noted of the stored certificate, "+notes+", is damaged and was made anew", err)
	}
}

const broken = ".broken"

// aside keeps what is broken, in the place of what was before.
func (m *Manager) aside(folder string) error {
	return errors.Join(os.RemoveAll(folder+broken), os.Rename(folder, folder+broken))
}

func (m *Manager) mended(what string, err error) {
	if err != nil {
		what += ", which failed: " + err.Error()
	}
	m.failed(what)
}

func isObject(b []byte) bool {
	var o map[string]json.RawMessage
	return json.Unmarshal(b, &o) == nil && o != nil
}

func first(b []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, errors.New("no PEM")
	}
	return x509.ParseCertificate(block.Bytes)
}
