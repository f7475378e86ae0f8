package http3_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	quichttp3 "github.com/quic-go/quic-go/http3"

	"github.com/ringwall/ringwall"
	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/edge/http3"
	"github.com/ringwall/ringwall/internal/porttest"
	"github.com/ringwall/ringwall/internal/state"
	"github.com/ringwall/ringwall/policy"
)

// The client of these tests is the library's own: what both its sides get wrong
// is not seen here.

type site struct {
	address string // host and port, of TCP and UDP
	roots   *x509.CertPool
	server  *ringwall.Server
	stop    func() error
}

// serve runs a whole server on a port that is known beforehand.
func serve(t *testing.T, keys string, h http.HandlerFunc) *site {
	t.Helper()
	dir, err := state.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cert, err := edge.EnsureDevCert(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(cert.CA)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{address: porttest.Address(t), roots: x509.NewCertPool()}
	s.roots.AppendCertsFromPEM(pem)
	p, err := policy.Parse("", fmt.Appendf(nil, `
site: localhost
edge: {http3: true, listen: "%s", redirect: "127.0.0.1:0", tls: {cert: "%s", key: "%s"}, rate: {requests: 100000}, %s}
app: {limits: {global: {requests: 100000, per: 1m}}, routes: [{path: /, allow: [anyone]}]}
`, s.address, cert.Cert, cert.Key, keys), policy.LoadOptions{Dev: true, Environ: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	s.server, err = ringwall.New(p, h, ringwall.Deps{Log: slog.New(slog.DiscardHandler), Audit: audit.Discard, HTTP3: http3.New})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.server.Run(ctx) }()
	s.stop = func() error {
		cancel()
		err := <-done
		done <- nil
		return err
	}
	t.Cleanup(func() { _ = s.stop() })
	select {
	case <-s.server.Listening():
	case err := <-done:
		done <- nil
		t.Fatal(err)
	}
	return s
}

func (s *site) tls() *tls.Config { return &tls.Config{RootCAs: s.roots, ServerName: "localhost"} }

// client has connections of its own.
func (s *site) client(t *testing.T) (*http.Client, *quichttp3.Transport) {
	tr := &quichttp3.Transport{TLSClientConfig: s.tls()}
	t.Cleanup(func() { tr.Close() })
	return &http.Client{Transport: tr, Timeout: 10 * time.Second}, tr
}

func get(t *testing.T, c *http.Client, url string) (*http.Response, string) {
	t.Helper()
	res, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

func TestSameRingOverHTTP3(t *testing.T) {
	s := serve(t, "", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Alt-Svc", `h3="elsewhere.example:443"`)
		fmt.Fprintf(w, "%s %s %s tls=%x %s", r.Method, r.Proto, host, r.TLS.Version, b)
	})
	three, _ := s.client(t)
	res, body := get(t, three, "https://"+s.address+"/a")
	if res.ProtoMajor != 3 || body != "GET HTTP/3.0 127.0.0.1 tls=304 " {
		t.Errorf("%s: %q", res.Proto, body)
	}
	_, port, _ := net.SplitHostPort(s.address)
	two := &http.Client{Transport: &http.Transport{TLSClientConfig: s.tls(), ForceAttemptHTTP2: true}}
	defer two.CloseIdleConnections()
	res2, _ := get(t, two, "https://"+s.address+"/a")
	for _, r := range []*http.Response{res, res2} {
		if got, want := strings.Join(r.Header.Values("Alt-Svc"), ","), `h3=":`+port+`"; ma=86400`; got != want {
			t.Errorf("%s: Alt-Svc: %s, want %s", r.Proto, got, want)
		}
		if r.Header.Get("X-Content-Type-Options") != "nosniff" || r.Header.Get("Strict-Transport-Security") == "" {
			t.Errorf("%s: the ring's headers are missing: %v", r.Proto, r.Header)
		}
	}
	post, err := three.Post("https://"+s.address+"/a", "application/json", strings.NewReader(`{"a":1}`))
	if err != nil {
		t.Fatal(err)
	}
	defer post.Body.Close()
	if b, _ := io.ReadAll(post.Body); post.StatusCode != 200 || !strings.HasSuffix(string(b), `{"a":1}`) {
		t.Errorf("POST: %s %q", post.Status, b)
	}
	large, err := three.Post("https://"+s.address+"/a", "application/json", strings.NewReader(strings.Repeat(" ", 300_000)))
	if err != nil {
		t.Fatal(err)
	}
	large.Body.Close()
	if large.StatusCode != 413 {
		t.Errorf("a body of 300 kB: %s, want 413", large.Status)
	}
}

func TestScannersStreamIsReset(t *testing.T) {
	s := serve(t, "", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	c, _ := s.client(t)
	res, err := c.Get("https://" + s.address + "/.env")
	if err == nil {
		res.Body.Close()
		t.Fatalf("/.env was answered %s", res.Status)
	}
	var reset *quichttp3.Error
	if !errors.As(err, &reset) || !reset.Remote {
		t.Errorf("/.env: %v, want a stream that the server resets", err)
	}
}

func (s *site) dial(t *testing.T, name string) (*quic.Conn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := quic.DialAddr(ctx, s.address, &tls.Config{RootCAs: s.roots, ServerName: name, NextProtos: []string{"h3"}}, nil)
	if err == nil {
		t.Cleanup(func() { _ = c.CloseWithError(0, "") })
	}
	return c, err
}

func TestConnectionsOfAnAddressAreCounted(t *testing.T) {
	s := serve(t, "connections: 2", func(http.ResponseWriter, *http.Request) {})
	first, err := s.dial(t, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	// TCP and QUIC count together.
	second, err := tls.Dial("tcp", s.address, s.tls())
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	var refused *quic.TransportError
	if _, err := s.dial(t, "localhost"); !errors.As(err, &refused) || refused.ErrorCode != quic.ConnectionRefused {
		t.Errorf("a third connection: %v, want CONNECTION_REFUSED", err)
	}
	_ = first.CloseWithError(0, "")
	for deadline := time.Now().Add(10 * time.Second); ; { // the server must have read that
		if _, err = s.dial(t, "localhost"); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("after one has ended: %v", err)
		}
	}
}

func TestNoCertificateForOtherNames(t *testing.T) {
	s := serve(t, "", func(http.ResponseWriter, *http.Request) {})
	if _, err := s.dial(t, "other.example"); err == nil {
		t.Error("a handshake for another name was made")
	} else if strings.Contains(err.Error(), "certificate is valid for") {
		t.Errorf("another name was given the site's certificate: %v", err)
	}
}

func TestRequestsAtOnceAreBounded(t *testing.T) {
	s := serve(t, "", func(http.ResponseWriter, *http.Request) {})
	c, err := s.dial(t, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for ; n < 200; n++ {
		if _, err := c.OpenStream(); err != nil {
			break
		}
	}
	if n != 100 {
		t.Errorf("%d streams at once, want 100", n)
	}
}

// A client that resets its requests while their handlers go on has no others
// instead of them.
func TestTrapRapidResetOverHTTP3(t *testing.T) {
	release, started := make(chan struct{}), make(chan struct{}, 1000)
	s := serve(t, "", func(http.ResponseWriter, *http.Request) {
		started <- struct{}{}
		<-release
	})
	defer close(release)
	conn, err := s.dial(t, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	c := new(quichttp3.Transport).NewClientConn(conn)
	for n := range 100 {
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan error, 1)
		go func() {
			req, _ := http.NewRequestWithContext(ctx, "GET", "https://localhost/", nil)
			_, err := c.RoundTrip(req)
			over <- err
		}()
		select {
		case <-started:
		case err := <-over:
			t.Fatalf("request %d: %v", n, err)
		}
		cancel()
		<-over
	}
	var full *quic.StreamLimitReachedError
	if _, err := conn.OpenStream(); !errors.As(err, &full) {
		t.Errorf("with 100 handlers running: %v, want the limit of streams", err)
	}
}

func TestNoEarlyData(t *testing.T) {
	s := serve(t, "", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	cache := tls.NewLRUClientSessionCache(1)
	for i := range 2 {
		cfg := s.tls()
		cfg.ClientSessionCache = cache
		tr := &quichttp3.Transport{TLSClientConfig: cfg}
		req, _ := http.NewRequest(quichttp3.MethodGet0RTT, "https://"+s.address+"/", nil)
		res, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		if i == 1 && !res.TLS.DidResume {
			t.Error("the second connection was not resumed: nothing is seen of early data")
		}
		res.Body.Close()
		tr.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cfg := s.tls()
	cfg.ClientSessionCache, cfg.NextProtos = cache, []string{"h3"}
	c, err := quic.DialAddrEarly(ctx, s.address, cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseWithError(0, "")
	<-c.HandshakeComplete()
	if c.ConnectionState().Used0RTT {
		t.Error("early data was taken")
	}
}

func TestRequestUnderWayEndsBeforeTheServer(t *testing.T) {
	begun, goOn := make(chan struct{}), make(chan struct{})
	s := serve(t, "", func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		<-goOn
		io.WriteString(w, "whole")
	})
	c, _ := s.client(t)
	got := make(chan string, 1)
	go func() {
		res, err := c.Get("https://" + s.address + "/")
		if err != nil {
			got <- err.Error()
			return
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		got <- string(b)
	}()
	<-begun
	ended := make(chan error, 1)
	go func() { ended <- s.stop() }()
	for { // until it takes no connections any more
		l, err := net.Dial("tcp", s.address)
		if err != nil {
			break
		}
		l.Close()
	}
	close(goOn)
	if b := <-got; b != "whole" {
		t.Errorf("the request under way: %q", b)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestDatagramsThatAreNoQUIC(t *testing.T) {
	s := serve(t, "", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	u, err := net.Dial("udp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	for n := range 256 {
		b := make([]byte, 1200)
		for i := range b {
			b[i] = byte(n * (i + 1))
		}
		b[0] = byte(n)
		_, _ = u.Write(b[:1+n*4])
		_, _ = u.Write(b)
	}
	c, _ := s.client(t)
	if _, body := get(t, c, "https://"+s.address+"/"); body != "ok" {
		t.Errorf("then: %q", body)
	}
}

// TestTrapSlowClientsOverHTTP3: a body that stops, and an answer that is not read,
// hold their streams for no longer than over TCP. It takes real time: half a
// minute.
func TestTrapSlowClientsOverHTTP3(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	type end struct {
		err  error
		took time.Duration
	}
	ends := map[string]chan end{"/body": make(chan end, 1), "/answer": make(chan end, 1)}
	s := serve(t, "", func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		var err error
		for b := make([]byte, 32<<10); err == nil; {
			_, err = w.Write(b)
		}
		ends[r.URL.Path] <- end{err, time.Since(began)}
	})
	c, _ := s.client(t)
	c.Timeout = 2 * time.Minute
	body, half := io.Pipe()
	defer half.Close()
	go func() {
		_, _ = io.WriteString(half, "half of it")
		req, _ := http.NewRequest("GET", "https://"+s.address+"/answer", nil)
		if res, err := c.Do(req); err == nil {
			t.Cleanup(func() { res.Body.Close() }) // and it is not read
		}
	}()
	go func() {
		began := time.Now()
		res, err := c.Post("https://"+s.address+"/body", "application/json", body) // the ring reads it
		if err == nil {
			res.Body.Close()
			if err = errors.New(res.Status); res.StatusCode != http.StatusRequestTimeout {
				t.Errorf("half a body was answered %s", res.Status)
			}
		}
		ends["/body"] <- end{err, time.Since(began)}
	}()
	for path, least := range map[string]time.Duration{"/body": 9 * time.Second, "/answer": 20 * time.Second} {
		select {
		case e := <-ends[path]:
			if e.err == nil || e.took < least {
				t.Errorf("%s: %v after %v", path, e.err, e.took)
			}
			t.Logf("%s: %v after %v", path, e.err, e.took)
		case <-time.After(90 * time.Second):
			t.Errorf("%s: the client is still waited for", path)
		}
	}
}
