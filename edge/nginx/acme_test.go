package nginx_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/ringwall/ringwall/edge/acme"
	"github.com/ringwall/ringwall/edge/nginx"
	"github.com/ringwall/ringwall/internal/pebbletest"
	"github.com/ringwall/ringwall/internal/porttest"
	"github.com/ringwall/ringwall/internal/state"
	"github.com/ringwall/ringwall/policy"
)

func TestMain(m *testing.M) {
	code := m.Run()
	pebbletest.Remove()
	os.Exit(code)
}

// A real authority validates through nginx, which then serves what it issued, and
// what it issues when that is about to end.
func TestACMEThroughNginx(t *testing.T) {
	s := newSite(t, "")
	_, port, _ := net.SplitHostPort(s.policy.Edge.Redirect)
	http, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	const validity = 12 * time.Second
	a := pebbletest.Start(t, http, porttest.Port(t), validity)
	e := s.policy.Edge
	s.policy, err = policy.Parse("", fmt.Appendf(nil, `site: api.example.com
edge:
  engine: nginx
  listen: %q
  redirect: %q
  tls: {acme: {email: ops@example.com, directory: %q, trust: %q}}
  nginx: {listen: %q, conf: %q, folder: %q, state: %q, webroot: %q, log: %q}
app: {routes: [{path: /, allow: [anyone]}]}
`, e.Listen, e.Redirect, a.Directory, a.Trust, e.Nginx.Listen, e.Nginx.Conf, e.Nginx.Folder, e.Nginx.State, e.Nginx.Webroot, e.Nginx.Log), policy.LoadOptions{Environ: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	s.policy.Edge.Nginx.Proof = policy.NewSecret(testProof)
	dir, err := state.Open(filepath.Join(s.dir, "acme"))
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, nil)
	s.startNginx(t)
	if _, err := s.leaf(a); err == nil {
		t.Fatal("a certificate of nobody's is trusted")
	}
	h := nginx.Host{Binary: nginxBinary(t), Conf: filepath.Join(s.dir, "nginx.conf"), Prefix: s.dir}

	// serve is `ringwall serve`, until another certificate than old is served.
	serve := func(old *x509.Certificate) *x509.Certificate {
		m, err := acme.New(s.policy, dir, acme.Deps{Log: slog.New(slog.DiscardHandler), Audit: s})
		if err != nil {
			t.Fatal(err)
		}
		s.certificates = m
		_, stop := s.startRing(t, echo)
		defer stop()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			nginx.KeepCertificate(ctx, s.policy, m.PEM, func() error { return exec.Command(h.Binary, h.Args("-s", "reload")...).Run() }, s)
			close(done)
		}()
		defer func() { cancel(); <-done }()
		for deadline := time.Now().Add(3 * patience); ; time.Sleep(50 * time.Millisecond) {
			leaf, err := s.leaf(a)
			if err == nil && (old == nil || leaf.SerialNumber.Cmp(old.SerialNumber) != 0) {
				return leaf
			}
			if time.Now().After(deadline) {
				t.Fatalf("no new certificate is served: %v; events: %+v", err, s.events)
			}
		}
	}
	first := serve(nil)
	time.Sleep(time.Until(first.NotAfter.Add(-validity / 4))) // when it is time
	second := serve(first)
	if !second.NotAfter.After(first.NotAfter) {
		t.Errorf("good until %v, and then until %v", first.NotAfter, second.NotAfter)
	}
	file, key := nginx.Certificate(s.policy)
	if _, err := tls.LoadX509KeyPair(file, key); err != nil {
		t.Error(err)
	}
}

// leaf is the certificate that a client gets who trusts the authority.
func (s *site) leaf(a *pebbletest.Authority) (*x509.Certificate, error) {
	conn, err := tls.Dial("tcp", s.policy.Edge.Listen, &tls.Config{ServerName: s.policy.Site, RootCAs: a.Roots})
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0], nil
}
