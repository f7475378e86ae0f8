// Package acme gets the site's certificate from an authority by ACME (RFC 8555),
// Let's Encrypt unless the policy names another, and renews it: when the
// authority suggests it (RFC 9773), or else in the last third of its life.
// Importers of package edge do not link it; cmd/ringwall wires it.
//
// The authority sees that the site is ours by HTTP-01 on the address of
// edge.redirect, and by TLS-ALPN-01 (RFC 8737) on that of edge.listen. From the
// internet these must be ports 80 and 443, and one of the two is enough.
//
// What goes wrong is an event, certificate.failed with the authority's reason,
// and is tried again after 1, 2, 2, 5 and 10 minutes and so on up to 6 hours, so
// that no limit of the authority's is used up. A certificate that is there stays
// in force meanwhile, and is there again after a restart.
package acme

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/internal/state"
	"github.com/ringwall/ringwall/policy"
)

// Deps is what a Manager is given besides the policy.
type Deps struct {
	Log   *slog.Logger // nil: dropped
	Audit audit.Sink   // nil: dropped
}

// A Manager gets and renews the certificate of one site. It is the Certificates
// of ringwall.Deps, and safe for concurrent use.
type Manager struct {
	behind  bool   // nginx is the edge
	through string // its address for plain HTTP; "": it cannot be asked there
	probe   string // what this process alone answers a challenge of the same name with

	site      string
	authority policy.ACME
	trust     *x509.CertPool // nil: the system's
	dir       state.Dir
	log       *slog.Logger
	audit     audit.Sink

	config  atomic.Pointer[certmagic.Config] // nil until Run
	refused atomic.Int64                     // when a handshake without a certificate was last logged, Unix seconds

	renewCheck time.Duration // of tests; 0: 10 minutes
}

var errNone = errors.New("there is no certificate yet")

// New judges what the policy says of the authority and reads the file that it
// names. It asks nobody anything, and dir is not looked at before Run: it keeps
// the account, its key, the certificate and its key, and must be for nothing else.
func New(p *policy.Policy, dir state.Dir, deps Deps) (*Manager, error) {
	a := p.Edge.TLS.ACME
	if !a.Enabled() {
		return nil, p.Errorf("edge.tls.acme.email", "write the address of whoever runs the site", "no authority is asked without an address")
	}
	if a.Directory == policy.LetsEncrypt && p.ExampleSite() {
		return nil, p.Errorf("site", "write the host name that clients use", "%s is kept for examples: Let's Encrypt issues no certificate for it", p.Site)
	}
	m := &Manager{site: p.Site, authority: a, dir: dir, log: deps.Log, audit: deps.Audit}
	if p.NginxIsEdge() {
		m.behind, m.probe = true, rand.Text()
		if !p.Edge.ProxyProtocol { // else whoever asks must say first who he is
			m.through = p.Edge.Redirect
		}
	}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	if m.audit == nil {
		m.audit = audit.Discard
	}
	if a.Trust != "" {
		pem, err := os.ReadFile(p.File(a.Trust))
		if err != nil {
			return nil, p.Errorf("edge.tls.acme.trust", "", "%w", err)
		}
		m.trust = x509.NewCertPool()
		if !m.trust.AppendCertsFromPEM(pem) {
			return nil, p.Errorf("edge.tls.acme.trust", "give the PEM file of the authority's CA", "no certificate is in %s", p.File(a.Trust))
		}
	}
	return m, nil
}

// Run gets the certificate and keeps it renewed until ctx ends. Where nginx is the
// edge, it waits until that hands challenges on: an authority takes few failures.
// https and redirect are the addresses that are listened on; redirect "" leaves HTTP-01
// out. It is to be called once.
func (m *Manager) Run(ctx context.Context, https, redirect string) {
	var config *certmagic.Config
	cache := certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert:   func(certmagic.Certificate) (*certmagic.Config, error) { return config, nil },
		RenewCheckInterval: m.renewCheck,
		Logger:             zapLogger(m.log),
	})
	defer cache.Stop()
	config = m.configure(cache, https, redirect)
	m.config.Store(config)
	m.mend(ctx, config)
	if !m.handedOn(ctx) {
		return
	}
	m.log.Info("the certificate comes from an authority", "site", m.site, "authority", m.authority.Directory)
	if err := config.ManageAsync(ctx, []string{m.site}); err != nil {
		m.failed(err.Error())
	}
	var expiry edge.Expiry
	again := time.NewTicker(time.Hour)
	defer again.Stop()
	for {
		if leaf := m.leaf(cache); leaf != nil {
			if warning := expiry.Warning(leaf, time.Now()); warning != "" {
				m.record(audit.CertificateExpiring, audit.Failure, warning)
			}
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return
		}
	}
}

func (m *Manager) configure(cache *certmagic.Cache, https, redirect string) *certmagic.Config {
	log := zapLogger(m.log)
	config := certmagic.New(cache, certmagic.Config{
		Storage:        &certmagic.FileStorage{Path: string(m.dir)},
		OnEvent:        m.event,
		ShouldEmitFunc: func(event string) bool { return strings.HasPrefix(event, "cert_") },
		Logger:         log,
	})
	host, port := split(https)
	_, plain := split(redirect)
	config.Issuers = []certmagic.Issuer{certmagic.NewACMEIssuer(config, certmagic.ACMEIssuer{
		CA:           m.authority.Directory,
		Email:        m.authority.Email,
		Agreed:       true, // the policy's key says so
		TrustedRoots: m.trust,
		Logger:       log,

		// Challenges are answered by this server's own listeners, out of the
		// memory of this process. The addresses are named since certmagic would
		// open them if nobody had.
		DisableHTTPChallenge:      redirect == "",
		DisableTLSALPNChallenge:   m.behind, // nginx has the handshakes
		DisableDistributedSolvers: true,
		ListenHost:                host,
		AltTLSALPNPort:            port,
		AltHTTPPort:               plain,
	})}
	return config
}

func split(address string) (host string, port int) {
	host, p, _ := net.SplitHostPort(address)
	port, _ = strconv.Atoi(p)
	return host, port
}

// GetCertificate answers a handshake for the site: with the certificate, or, to
// an authority that validates, with the challenge's. Until the first certificate
// is there it is an error, which the log has once a minute.
func (m *Manager) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	config := m.config.Load()
	if config == nil {
		return nil, errNone
	}
	if validates := len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == edge.ACMEProtocol; validates {
		if c, ok := certmagic.GetACMEChallenge(m.site); !ok || c.Type != "tls-alpn-01" {
			return nil, errors.New("no authority validates now")
		}
		return config.GetCertificate(hello)
	}
	cert, err := config.GetCertificate(hello)
	if err != nil {
		if now, last := time.Now().Unix(), m.refused.Load(); now-last >= 60 && m.refused.CompareAndSwap(last, now) {
			m.log.Warn("clients are refused: there is no certificate yet", "site", m.site, "authority", m.authority.Directory)
		}
		return nil, errNone
	}
	return cert, nil
}

// Challenge answers what an authority that validates by HTTP-01 asks for, and
// 404 to whoever else asks below its path. All other requests are next's.
func (m *Manager) Challenge(next http.Handler) http.Handler {
	log := zapLogger(m.log)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, edge.ChallengePath) {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if m.probe != "" && r.URL.Path == edge.ChallengePath+m.probe {
			_, _ = io.WriteString(w, m.probe)
			return
		}
		if c, ok := certmagic.GetACMEChallenge(m.site); ok && c.Type == "http-01" && certmagic.SolveHTTPChallenge(log, w, r, c.Challenge) {
			return
		}
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(http.StatusNotFound)
	})
}

// leaf is the certificate in force; nil: there is none.
func (m *Manager) leaf(cache *certmagic.Cache) *x509.Certificate {
	for _, c := range cache.AllMatchingCertificates(m.site) {
		return c.Leaf
	}
	return nil
}

// event turns certmagic's events into ours.
func (m *Manager) event(ctx context.Context, event string, data map[string]any) error {
	switch event {
	case "cert_obtained":
		how := "issued"
		if renewal, _ := data["renewal"].(bool); renewal {
			how = "renewed"
		}
		path, _ := data["certificate_path"].(string)
		m.record(audit.CertificateObtained, audit.Success, fmt.Sprintf("%s by %s for %s%s", how, m.authority.Directory, m.site, m.until(ctx, path)))
	case "cert_failed":
		m.failed(fmt.Sprint(data["error"]))
	case "cert_ocsp_revoked":
		m.failed("the authority has revoked the certificate; another is asked for")
	}
	return nil
}

// until says how long a certificate in the store is good.
func (m *Manager) until(ctx context.Context, path string) string {
	b, err := m.config.Load().Storage.Load(ctx, path)
	if err != nil {
		return ""
	}
	leaf, err := first(b)
	if err != nil {
		return ""
	}
	return " until " + leaf.NotAfter.UTC().Format(time.RFC3339)
}

func (m *Manager) failed(why string) {
	m.record(audit.CertificateFailed, audit.Failure, why)
}

func (m *Manager) record(kind audit.Kind, outcome audit.Outcome, detail string) {
	m.audit.Record(audit.Event{Time: time.Now(), Kind: kind, Outcome: outcome, Control: "edge/certificate", Detail: detail})
}

// PEM is the certificate with its chain, and its key, as they are kept: for a
// program that reads files. There may be none yet, which is an error.
func (m *Manager) PEM(ctx context.Context) (cert, key []byte, err error) {
	config := m.config.Load()
	if config == nil {
		return nil, nil, errNone
	}
	issuer := config.Issuers[0].IssuerKey()
	if cert, err = config.Storage.Load(ctx, certmagic.StorageKeys.SiteCert(issuer, m.site)); err != nil {
		return nil, nil, err
	}
	if key, err = config.Storage.Load(ctx, certmagic.StorageKeys.SitePrivateKey(issuer, m.site)); err != nil {
		return nil, nil, err
	}
	if _, err := tls.X509KeyPair(cert, key); err != nil { // between two writes
		return nil, nil, err
	}
	return cert, key, nil
}
