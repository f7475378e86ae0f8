package acme_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/ringwall/ringwall"
	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/edge/acme"
	"github.com/ringwall/ringwall/internal/pebbletest"
	"github.com/ringwall/ringwall/internal/porttest"
	"github.com/ringwall/ringwall/internal/state"
	"github.com/ringwall/ringwall/policy"
)

// A site is a whole server that asks an authority for its certificate.
type site struct {
	t           *testing.T
	name        string
	https, http int
	dir         state.Dir
	renewEvery  time.Duration
	events      chan audit.Event
	lines       chan slog.Record
	stop        func()
}

func newSite(t *testing.T, name string) *site {
	t.Helper()
	dir, err := state.Open(filepath.Join(t.TempDir(), "acme"))
	if err != nil {
		t.Fatal(err)
	}
	return &site{t: t, name: name, https: porttest.Port(t), http: porttest.Port(t), dir: dir,
		events: make(chan audit.Event, 1000), lines: make(chan slog.Record, 100_000)}
}

func (s *site) policy(a *pebbletest.Authority) *policy.Policy {
	p := policy.Default()
	p.Site = s.name
	p.Edge.Listen, p.Edge.Redirect = loopback(s.https), loopback(s.http)
	p.Edge.TLS.ACME = policy.ACME{Email: "ops@example.com", Directory: a.Directory, Trust: a.Trust}
	p.App.Routes = []policy.Route{{Path: "/", Allow: []string{"anyone"}}}
	return p
}

// start serves until the test ends, or stop.
func (s *site) start(a *pebbletest.Authority) {
	s.t.Helper()
	p := s.policy(a)
	log := slog.New(recorder{s.lines})
	sink := sinkFunc(func(e audit.Event) { s.events <- e })
	m, err := acme.New(p, s.dir, acme.Deps{Log: log, Audit: sink})
	if err != nil {
		s.t.Fatal(err)
	}
	m.RenewEvery(s.renewEvery)
	srv, err := ringwall.New(p, http.NotFoundHandler(), ringwall.Deps{Log: log, Audit: sink, Certificates: m})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	select {
	case err := <-done:
		s.t.Fatal(err)
	case <-srv.Listening():
	}
	stopped := false
	s.stop = func() {
		if cancel(); !stopped {
			stopped = true
			if err := <-done; err != nil {
				s.t.Error(err)
			}
		}
	}
	s.t.Cleanup(s.stop)
}

type sinkFunc func(audit.Event)

func (f sinkFunc) Record(e audit.Event) { f(e) }

type recorder struct{ lines chan slog.Record }

func (recorder) Enabled(context.Context, slog.Level) bool { return true }
func (r recorder) WithAttrs([]slog.Attr) slog.Handler     { return r }
func (r recorder) WithGroup(string) slog.Handler          { return r }
func (r recorder) Handle(_ context.Context, line slog.Record) error {
	select {
	case r.lines <- line:
	default:
	}
	return nil
}

// wait is for an event of a kind, others before it are dropped.
func (s *site) wait(kind audit.Kind) audit.Event {
	s.t.Helper()
	for end := time.After(2 * time.Minute); ; {
		select {
		case e := <-s.events:
			if e.Kind == kind {
				return e
			}
			if e.Kind == audit.CertificateFailed {
				s.t.Errorf("while waiting for %s: %s", kind, e.Detail)
			}
		case <-end:
			s.t.Fatalf("no event %s", kind)
		}
	}
}

func (s *site) line(message string) slog.Record {
	s.t.Helper()
	for end := time.After(time.Minute); ; {
		select {
		case l := <-s.lines:
			if strings.Contains(l.Message, message) {
				return l
			}
		case <-end:
			s.t.Fatalf("no line %q in the log", message)
		}
	}
}

// dial is a client that believes in the authority.
func (s *site) dial(a *pebbletest.Authority) (*x509.Certificate, error) {
	c, err := tls.Dial("tcp", loopback(s.https), &tls.Config{ServerName: s.name, RootCAs: a.Roots})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0], nil
}

// served waits for the handshake in which the certificate of an event is there:
// the event comes when it is stored.
func (s *site) served(a *pebbletest.Authority, other *x509.Certificate) *x509.Certificate {
	s.t.Helper()
	for end := time.Now().Add(time.Minute); ; {
		leaf, err := s.dial(a)
		if err == nil && (other == nil || leaf.SerialNumber.Cmp(other.SerialNumber) != 0) {
			return leaf
		}
		if time.Now().After(end) {
			s.t.Fatalf("handshake: %v, certificate %v", err, leaf != nil)
		}
	}
}

func TestIssuedByHTTP01(t *testing.T) {
	t.Parallel()
	s := newSite(t, "http01.example.com")
	a := pebbletest.Start(t, s.http, porttest.Port(t), 90*24*time.Hour) // nobody is where TLS-ALPN-01 looks
	s.start(a)
	e := s.wait(audit.CertificateObtained)
	if !reads(e.Detail, "issued", a.Directory, s.name, "until ") || e.Outcome != audit.Success {
		t.Errorf("event %+v", e)
	}
	s.served(a, nil)
	for path, want := range map[string]int{
		"/.well-known/acme-challenge/":                 404,
		"/.well-known/acme-challenge/aaaaaaaaaaaaaaaa": 404,
		"/.well-known/acme-challenge":                  308,
		"/":                                            308,
	} {
		res := plain(t, s, path)
		if res.StatusCode != want {
			t.Errorf("%s over plain HTTP: %s, want %d", path, res.Status, want)
		}
	}
	ownersAlone(t, string(s.dir))
}

func plain(t *testing.T, s *site, path string) *http.Response {
	t.Helper()
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Timeout: time.Minute}
	req, err := http.NewRequest("GET", "http://"+loopback(s.http)+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host, req.Close = s.name, true
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return res
}

// ownersAlone holds what is stored to be nobody else's to read.
func ownersAlone(t *testing.T, dir string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		if fi.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, fi.Mode())
		}
		files++
		return nil
	})
	if err != nil || files < 5 {
		t.Errorf("%d files, %v", files, err)
	}
}

func TestIssuedByTLSALPN01(t *testing.T) {
	t.Parallel()
	s := newSite(t, "alpn01.example.com")
	a := pebbletest.Start(t, porttest.Port(t), s.https, 90*24*time.Hour) // nobody is where HTTP-01 looks
	s.start(a)
	s.wait(audit.CertificateObtained)
	s.served(a, nil)

	// The protocol is the authority's; to others it gives nothing.
	c, err := tls.Dial("tcp", loopback(s.https), &tls.Config{ServerName: s.name, InsecureSkipVerify: true, NextProtos: []string{"acme-tls/1"}})
	if err == nil {
		c.Close()
		t.Error("a handshake with acme-tls/1 succeeds while no authority validates")
	}
}

func TestRenewedBeforeItExpires(t *testing.T) {
	t.Parallel()
	s := newSite(t, "renewed.example.com")
	s.renewEvery = 100 * time.Millisecond
	a := pebbletest.Start(t, s.http, s.https, 15*time.Second)
	s.start(a)
	s.wait(audit.CertificateObtained)
	old := s.served(a, nil)
	e := s.wait(audit.CertificateObtained)
	if now := time.Now(); now.After(old.NotAfter) {
		t.Errorf("renewed at %v, and the old one was good until %v", now, old.NotAfter)
	}
	if !reads(e.Detail, "renewed", a.Directory) {
		t.Errorf("detail %q", e.Detail)
	}
	s.served(a, old)
}

func TestTrapAuthorityDown(t *testing.T) {
	t.Parallel()
	s := newSite(t, "down.example.com")
	s.renewEvery = 100 * time.Millisecond
	a := pebbletest.Start(t, s.http, s.https, 60*time.Second)
	s.start(a)
	s.wait(audit.CertificateObtained)
	old := s.served(a, nil)
	s.stop()
	a.Stop()

	// After a restart, as before: what is stored is served at once.
	s.start(a)
	if leaf := s.served(a, nil); leaf.SerialNumber.Cmp(old.SerialNumber) != 0 {
		t.Error("another certificate is served")
	}
}

// TestTrapAuthorityDownWhenItIsTime: the attempt fails once, and not again with
// each look, of which there are ten a second.
func TestTrapAuthorityDownWhenItIsTime(t *testing.T) {
	t.Parallel()
	s := newSite(t, "late.example.com")
	s.renewEvery = 100 * time.Millisecond
	a := pebbletest.Start(t, s.http, s.https, 21*time.Second)
	s.start(a)
	s.wait(audit.CertificateObtained)
	old := s.served(a, nil)
	a.Stop()
	e := s.wait(audit.CertificateFailed)
	if !reads(e.Detail, s.name, "connection refused") || e.Outcome != audit.Failure {
		t.Errorf("event %+v", e)
	}
	for range 10 {
		s.line("waiting for backoff")
	}
	for len(s.events) > 0 {
		if e := <-s.events; e.Kind == audit.CertificateFailed {
			t.Errorf("it was tried again at once: %s", e.Detail)
		}
	}
	if leaf, err := s.dial(a); err != nil || leaf.SerialNumber.Cmp(old.SerialNumber) != 0 {
		t.Errorf("the old certificate is not served any more: %v", err)
	}
}

func TestTrapWrongChallenge(t *testing.T) {
	t.Parallel()
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stranger := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "parked") })}
	go func() { _ = stranger.Serve(other) }()
	defer stranger.Close()
	port := other.Addr().(*net.TCPAddr).Port

	s := newSite(t, "elsewhere.example.com") // its name leads to the stranger
	a := pebbletest.Start(t, port, port, 90*24*time.Hour)
	s.start(a)
	e := s.wait(audit.CertificateFailed)
	if !reads(e.Detail, s.name, "urn:ietf:params:acme:error:") {
		t.Errorf("detail %q does not say what the authority said", e.Detail)
	}
	l := s.line("will retry")
	wait := time.Duration(0)
	l.Attrs(func(at slog.Attr) bool {
		if d, ok := at.Value.Any().(time.Duration); ok && at.Key == "retrying_in" {
			wait = d
		}
		return true
	})
	if wait < time.Minute {
		t.Errorf("it is tried again in %v, want a minute or more", wait)
	}
	if _, err := s.dial(a); err == nil {
		t.Error("a handshake without a certificate")
	}
	if l := s.line("there is no certificate yet"); l.Level < slog.LevelWarn {
		t.Errorf("the line is of level %v", l.Level)
	}
	if _, err := s.dial(a); err == nil {
		t.Error("a handshake without a certificate")
	}
	for len(s.lines) > 0 {
		if l := <-s.lines; strings.Contains(l.Message, "there is no certificate yet") {
			t.Error("every handshake writes a line")
		}
	}
}

// TestTrapStoredPairThatDoesNotBelongTogether is a crash between two files.
func TestTrapStoredPairThatDoesNotBelongTogether(t *testing.T) {
	t.Parallel()
	s := newSite(t, "crashed.example.com")
	a := pebbletest.Start(t, s.http, s.https, 90*24*time.Hour)
	s.start(a)
	s.wait(audit.CertificateObtained)
	old := s.served(a, nil)
	s.stop()
	keys, err := filepath.Glob(filepath.Join(string(s.dir), "certificates", "*", s.name, s.name+".key"))
	if err != nil || len(keys) != 1 {
		t.Fatalf("keys %v, %v", keys, err)
	}
	_, key := pebbletest.OwnCertificate(t, t.TempDir())
	b, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, keys[0], b)

	s.start(a)
	if e := s.wait(audit.CertificateFailed); !reads(e.Detail, ".broken", "private key does not match") {
		t.Errorf("detail %q", e.Detail)
	}
	s.wait(audit.CertificateObtained)
	s.served(a, old)
}

// TestTrapDamagedFiles is what the end of the machine leaves: a file of zeros, an empty
// one, half of one. None of it keeps the site from its certificate.
func TestTrapDamagedFiles(t *testing.T) {
	t.Parallel()
	s := newSite(t, "damaged.example.com")
	a := pebbletest.Start(t, s.http, s.https, 90*24*time.Hour)
	s.start(a)
	s.wait(audit.CertificateObtained)
	old := s.served(a, nil)
	s.stop()
	one := func(elem ...string) string {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(append([]string{string(s.dir)}, elem...)...))
		if err != nil || len(files) != 1 {
			t.Fatalf("%v: %v, %v", elem, files, err)
		}
		return files[0]
	}

	// What is noted of a good certificate.
	for _, damage := range []string{"", "{\"sans\": [", strings.Repeat("\x00", 512), "null"} {
		writeFile(t, one("certificates", "*", s.name, s.name+".json"), []byte(damage))
		s.start(a)
		if e := s.wait(audit.CertificateFailed); !reads(e.Detail, s.name+".json", "made anew") {
			t.Errorf("%q: detail %q", damage, e.Detail)
		}
		if leaf := s.served(a, nil); leaf.SerialNumber.Cmp(old.SerialNumber) != 0 {
			t.Errorf("%q: another certificate is served", damage)
		}
		s.stop()
	}

	// The account, while there is no certificate, and a lock of the process that ended.
	for _, damage := range []string{"", strings.Repeat("\x00", 512), "half"} {
		for _, file := range []string{"*.json", "*.key"} {
			if err := os.RemoveAll(filepath.Dir(one("certificates", "*", s.name, s.name+".crt"))); err != nil {
				t.Fatal(err)
			}
			lock := filepath.Join(string(s.dir), "locks", certmagic.StorageKeys.Safe("issue_cert_"+s.name)+".lock")
			if err := os.MkdirAll(filepath.Dir(lock), 0o700); err != nil {
				t.Fatal(err)
			}
			writeFile(t, lock, []byte(strings.Repeat("\x00", 100)))
			writeFile(t, one("acme", "*", "users", "*.com", file), []byte(damage))
			s.start(a)
			if e := s.wait(audit.CertificateFailed); !reads(e.Detail, lock, "removed") {
				t.Errorf("%q: detail %q", damage, e.Detail)
			}
			if e := s.wait(audit.CertificateFailed); !reads(e.Detail, "account", ".broken") {
				t.Errorf("%q: detail %q", damage, e.Detail)
			}
			s.wait(audit.CertificateObtained)
			s.served(a, old)
			s.stop()
		}
	}
}

func TestMistakes(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.pem")
	writeFile(t, empty, nil)
	for name, tt := range map[string]struct {
		a   policy.ACME
		err string
	}{
		"no site":       {policy.ACME{Email: "a@example.com", Directory: policy.LetsEncrypt}, "api.example.com is kept for examples"},
		"no address":    {policy.ACME{Directory: policy.LetsEncrypt}, "email"},
		"no such file":  {policy.ACME{Email: "a@example.com", Trust: filepath.Join(dir, "none.pem")}, "none.pem"},
		"not a CA":      {policy.ACME{Email: "a@example.com", Trust: empty}, "no certificate is in"},
		"nothing wrong": {policy.ACME{Email: "a@example.com", Directory: policy.LetsEncrypt}, ""},
	} {
		p := policy.Default()
		p.Site, p.Edge.TLS.ACME = "notes.example-site.com", tt.a
		if name == "no site" {
			p.Site = "api.example.com"
		}
		_, err := acme.New(p, state.Dir(dir), acme.Deps{})
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %v, want %q", name, err, tt.err)
		}
	}
}

func TestMain(m *testing.M) {
	code := m.Run()
	pebbletest.Remove()
	os.Exit(code)
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", fmt.Sprint(port)) }

func reads(text string, words ...string) bool {
	for _, w := range words {
		if !strings.Contains(text, w) {
			return false
		}
	}
	return true
}

func writeFile(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
