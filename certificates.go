package ringwall

import (
	"context"
	"crypto/tls"
	"net/http"
	"time"

	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/policy"
)

// openCertificate reads the files that the policy names; none are named when an
// authority is asked, or when somebody else serves the handler.
func (s *Server) openCertificate(p *policy.Policy) (*edge.CertificateFiles, error) {
	t := p.Edge.TLS
	if t.ACME.Enabled() {
		if s.deps.Certificates == nil {
			return nil, p.Errorf("edge.tls.acme.email", "name files in edge.tls.cert and edge.tls.key, or give ringwall.Deps the Certificates of edge/acme",
				"this program cannot ask an authority")
		}
		return nil, nil
	}
	if t.Cert == "" && t.Key == "" || p.NginxIsEdge() { // it reads them itself
		return nil, nil
	}
	files, err := edge.OpenCertificate(p.File(t.Cert), p.File(t.Key), p.Site, &s.edge)
	if err != nil {
		return nil, p.Errorf("edge.tls", "", "%w", err)
	}
	return files, nil
}

// plain answers plain HTTP.
func (s *Server) plain(p *policy.Policy) http.Handler {
	h := edge.Redirect(p, s.port)
	if p.Edge.TLS.ACME.Enabled() && s.deps.Certificates != nil {
		return s.deps.Certificates.Challenge(h)
	}
	return h
}

// tlsConfig follows reloads.
func (s *Server) tlsConfig() *tls.Config {
	served := func(name string) bool { return edge.ServedName(s.current.Load().policy.Site, name) }
	certificate := func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if files := s.current.Load().files; files != nil {
			return files.GetCertificate(hello)
		}
		return s.deps.Certificates.GetCertificate(hello)
	}
	return edge.TLSConfig(served, certificate, s.Policy().Edge.TLS.ACME.Enabled())
}

// certificates keeps the certificate as new as its source has it, until ctx ends.
func (s *Server) certificates(ctx context.Context) {
	if s.Policy().Edge.TLS.ACME.Enabled() {
		https, redirect := s.addresses.HTTPS, s.addresses.Redirect
		if p := s.Policy(); p.NginxIsEdge() {
			https, redirect = "", p.Edge.Redirect // nginx hands challenges on
		}
		s.deps.Certificates.Run(ctx, https, redirect)
		return
	}
	again := time.NewTicker(edge.RefreshCertificate)
	defer again.Stop()
	for {
		// At the start too: what was read may be near its end.
		if files := s.current.Load().files; files != nil {
			files.Refresh()
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return
		}
	}
}

// hasCertificate is an error when the policy says nothing of one.
func hasCertificate(p *policy.Policy) error {
	if p.Edge.TLS.Cert != "" || p.Edge.TLS.ACME.Enabled() || p.NginxIsEdge() {
		return nil
	}
	return p.Errorf("edge.tls", "ask Let's Encrypt for one, tls: {acme: {email: you@example.com}}, or name PEM files, tls: {cert: site.pem, key: site.key}",
		"there is no certificate, and nothing is served without")
}
