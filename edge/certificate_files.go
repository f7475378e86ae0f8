package edge

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringwall/ringwall/audit"
)

// RefreshCertificate is how often whoever serves CertificateFiles asks for
// Refresh: a few system calls.
const RefreshCertificate = 3 * time.Second

// CertificateFiles is the site's certificate and key in two files that somebody
// else renews. It is safe for concurrent use.
type CertificateFiles struct {
	cert, key, site string
	state           *State
	current         atomic.Pointer[tls.Certificate]

	mu     sync.Mutex // one Refresh at a time; it guards the rest
	read   [2]os.FileInfo
	broken string // what is wrong with the files now
	told   bool   // it was said
	expiry Expiry
}

// OpenCertificate reads the two files; its errors are those of LoadCertificate.
func OpenCertificate(cert, key, site string, st *State) (*CertificateFiles, error) {
	f := &CertificateFiles{cert: cert, key: key, site: site, state: st, read: stat(cert, key)}
	pair, err := LoadCertificate(cert, key, site, st.now())
	if err != nil {
		return nil, err
	}
	f.current.Store(pair)
	return f, nil
}

// GetCertificate is the one in force; the error is always nil.
func (f *CertificateFiles) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return f.current.Load(), nil
}

// Announce raises certificate.loaded, unless old, which may be nil, has the same.
func (f *CertificateFiles) Announce(old *CertificateFiles) {
	if old == nil || !same(old.current.Load(), f.current.Load()) {
		f.record(audit.CertificateLoaded, audit.Success, describe(f.current.Load().Leaf))
	}
}

// Refresh takes the files anew when they have changed. The two need not change
// at once: what does not load is looked at again by the next Refresh, and only
// when it is still wrong, the event certificate.kept is raised, once for each
// thing that is wrong. The old certificate stays until a good one is there.
//
// It also raises certificate.expiring, as Expiry says.
func (f *CertificateFiles) Refresh() {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.state.now()
	if found := stat(f.cert, f.key); f.broken != "" || !unchanged(found, f.read) {
		pair, err := LoadCertificate(f.cert, f.key, f.site, now)
		if err != nil {
			f.keep(err.Error())
		} else {
			f.take(pair)
			f.read, f.broken, f.told = found, "", false
		}
	}
	if warning := f.expiry.Warning(f.current.Load().Leaf, now); warning != "" {
		f.record(audit.CertificateExpiring, audit.Failure, warning)
	}
}

func (f *CertificateFiles) keep(why string) {
	if f.broken != why {
		f.broken, f.told = why, false
		return
	}
	if !f.told {
		f.told = true
		f.record(audit.CertificateKept, audit.Failure, why+"; in force stays "+describe(f.current.Load().Leaf))
	}
}

func (f *CertificateFiles) take(pair *tls.Certificate) {
	if old := f.current.Swap(pair); !same(old, pair) {
		f.record(audit.CertificateLoaded, audit.Success, describe(pair.Leaf))
	}
}

func (f *CertificateFiles) record(kind audit.Kind, outcome audit.Outcome, detail string) {
	f.state.record(audit.Event{Time: f.state.now(), Kind: kind, Outcome: outcome, Control: siteCertificate.ID, Detail: detail})
}

// stat is nil for a file that cannot be looked at.
func stat(cert, key string) (found [2]os.FileInfo) {
	for i, name := range []string{cert, key} {
		if fi, err := os.Stat(name); err == nil {
			found[i] = fi
		}
	}
	return found
}

func unchanged(a, b [2]os.FileInfo) bool {
	for i := range a {
		if a[i] == nil || b[i] == nil || !os.SameFile(a[i], b[i]) || !a[i].ModTime().Equal(b[i].ModTime()) || a[i].Size() != b[i].Size() || a[i].Mode() != b[i].Mode() {
			return false
		}
	}
	return true
}

func same(a, b *tls.Certificate) bool {
	return slices.EqualFunc(a.Certificate, b.Certificate, slices.Equal)
}

func describe(leaf *x509.Certificate) string {
	return fmt.Sprintf("a certificate for %s until %s", names(leaf), leaf.NotAfter.UTC().Format(time.RFC3339))
}
