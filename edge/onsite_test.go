package edge_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall"
	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/policy"
)

// What no answer shows is proved from the server itself: with an API that is a
// process of its own behind the edge, and behind a proxy that has no controls.

// TestAPI is that API, once it is started as such.
func TestAPI(t *testing.T) {
	if os.Getenv("RINGWALL_TEST_API") == "" {
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(os.Stdout, "listens on "+l.Addr().String()+"\n")
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	t.Fatal(http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"ok":true}`)
	})))
}

func startAPI(t *testing.T) (address string) {
	t.Helper()
	if testing.Short() {
		t.Skip("an API is started")
	}
	if os.Geteuid() != 0 {
		t.Skip("only root sees what passes on the loopback interface")
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestAPI$")
	cmd.Env = append(os.Environ(), "RINGWALL_TEST_API=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	address, ok := strings.CutPrefix(strings.TrimSpace(line), "listens on ")
	if err != nil || !ok {
		t.Fatalf("the API did not start: %q, %v", line, err)
	}
	return address
}

// onsite is a site whose API is another process.
func onsite(t *testing.T, change func(*policy.Policy)) *edgeSite {
	t.Helper()
	s := newEdgeSite(t)
	s.policy.Upstream = "http://" + startAPI(t)
	s.policy.Edge.Timeouts.Read = 2 * time.Second
	if change != nil {
		change(s.policy)
	}
	return s
}

// proxied serves the API as the policy says.
func (s *edgeSite) proxied(t *testing.T) (address string, stop func()) {
	t.Helper()
	srv, err := ringwall.New(s.policy, nil, ringwall.Deps{Log: slog.New(slog.DiscardHandler), Audit: audit.Discard})
	if err != nil {
		t.Fatal(err)
	}
	return s.run(t, srv)
}

// naive serves the API by the standard library's proxy, as it is by itself.
func (s *edgeSite) naive(t *testing.T) (address string) {
	t.Helper()
	to, err := url.Parse(s.policy.Upstream)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.LoadX509KeyPair(s.policy.Edge.TLS.Cert, s.policy.Edge.TLS.Key)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: httputil.NewSingleHostReverseProxy(to), TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}, ErrorLog: log.New(io.Discard, "", 0)}
	go srv.ServeTLS(l, "", "")
	t.Cleanup(func() { srv.Close() })
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return "https://localhost:" + port
}

func (s *edgeSite) intruder(t *testing.T, address string) *probe.Client {
	t.Helper()
	c, err := probe.New(address, probe.Options{TLS: &tls.Config{RootCAs: s.roots}, Timeout: 20 * time.Second, MaxRequests: 2000, Intrusive: true})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (s *edgeSite) wants(t *testing.T, c *probe.Client, id string, want check.Verdict, words ...string) {
	t.Helper()
	f := s.find(t, c, id)
	if f.Verdict != want {
		t.Errorf("%v: %q, want %v", f.Verdict, f.Got, want)
	}
	for _, w := range words {
		if !strings.Contains(f.Got, w) {
			t.Errorf("%q does not say %q", f.Got, w)
		}
	}
	t.Logf("got %q, want %q, fix %q", f.Got, f.Want, f.Fix)
}

func TestVerifyForwarded(t *testing.T) {
	s := onsite(t, nil)
	address, stop := s.proxied(t)
	s.wants(t, s.client(t, address), "edge/forwarded", check.Pass, "nothing forged")
	stop()
	s.wants(t, s.client(t, s.naive(t)), "edge/forwarded", check.Fail, "the client's own Forwarded: for=192.0.2.77")
	s.wants(t, s.client(t, "https://localhost:1"), "edge/forwarded", check.Unknown)
	s.policy.Upstream = "http://127.0.0.1:1"
	address, _ = s.proxied(t)
	s.wants(t, s.client(t, address), "edge/forwarded", check.Unknown, "no request reached the API")
}

func TestVerifyUpstreamTimeouts(t *testing.T) {
	s := onsite(t, nil)
	address, _ := s.proxied(t)
	s.wants(t, s.intruder(t, address), "edge/upstream-timeouts", check.Pass, "was answered 504 after 2")
	c := s.client(t, address)
	for _, chk := range edge.Checks(s.policy, c, time.Now()) {
		if chk.ID == "edge/upstream-timeouts" && (chk.Verify != nil || chk.Inside == "") {
			t.Error("an API is stopped by who did not ask for it")
		}
	}
	if res, err := c.Do(t.Context(), probe.Request{}); err != nil || res.Status != 200 {
		t.Errorf("the API does not go on: %v", err)
	}
	s.wants(t, s.intruder(t, s.naive(t)), "edge/upstream-timeouts", check.Fail, "was not answered within")
	s.wants(t, s.intruder(t, "https://localhost:1"), "edge/upstream-timeouts", check.Unknown)
}

// A bound on each address closes connections too, and is not the one looked for.
func TestVerifyMaxConnectionsIsNotFooled(t *testing.T) {
	s := newEdgeSite(t)
	s.policy.Edge.Connections, s.policy.Edge.MaxConnections = 5, 80
	address, _ := s.start(t)
	s.policy.Edge.Connections = 20
	s.wants(t, s.intruder(t, address), "edge/max-connections", check.Unknown, "after 5 connections one was closed", "from another address was not")
}

func TestVerifyMaxConnections(t *testing.T) {
	s := newEdgeSite(t)
	s.policy.Edge.MaxConnections = 50
	address, stop := s.start(t)
	s.wants(t, s.intruder(t, address), "edge/max-connections", check.Pass, "50 connections from 3 addresses")
	stop()
	s.wants(t, s.intruder(t, address), "edge/max-connections", check.Unknown)
	s.policy.Edge.MaxConnections = 80
	address, _ = s.start(t)
	s.policy.Edge.MaxConnections = 50
	s.wants(t, s.intruder(t, address), "edge/max-connections", check.Fail, "51 connections at once were all taken")
}
