package edge_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall"
	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/internal/porttest"
	"github.com/ringwall/ringwall/internal/state"
	"github.com/ringwall/ringwall/policy"
)

// The tests in this file hold for every control, present and future: nobody has
// to write them again.

// neverOff are the controls that a waiver does not switch off: it only silences
// their proof. A target without them is looked at in the test named here.
var neverOff = map[string]string{
	"edge/behind":            "TestVerifyBehind",
	"edge/forwarded":         "TestVerifyForwarded",
	"edge/upstream-timeouts": "TestVerifyUpstreamTimeouts",
	"edge/max-connections":   "TestVerifyMaxConnections",
	"edge/tls":               "TestVerifyTLS",
	"edge/key-exchange":      "TestVerifyKeyExchange",
	"edge/certificate":       "TestVerifyCertificate",
	"edge/redirect":          "TestVerifyRedirect",
}

// edgeSite is a certificate of this machine's and a policy for it.
type edgeSite struct {
	policy *policy.Policy
	roots  *x509.CertPool
}

func newEdgeSite(t *testing.T) *edgeSite {
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
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	redirect := porttest.Address(t) // a port that is known beforehand
	p, err := policy.Parse("", []byte("site: localhost\n"+
		"edge: {listen: \"127.0.0.1:0\", redirect: \""+redirect+"\", security_txt: {contact: [\"mailto:security@example.com\"]}, tls: {cert: \""+cert.Cert+"\", key: \""+cert.Key+"\"}}\n"+
		"app: {limits: {global: {requests: 100000, per: 1m}}, routes: [{path: /, allow: [anyone]}]}\n"), policy.LoadOptions{Dev: true, Environ: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	return &edgeSite{p, roots}
}

// start runs a whole server without some controls, and says where it is.
func (s *edgeSite) start(t *testing.T, without ...string) (address string, stop func()) {
	t.Helper()
	p := *s.policy
	for _, id := range without {
		p.Waivers = append(p.Waivers, policy.Waiver{Control: id, Reason: "to see that this is noticed", Until: time.Now().UTC().AddDate(0, 0, 1).Truncate(24 * time.Hour)})
	}
	srv, err := ringwall.New(&p, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"ok":true}`)
	}), ringwall.Deps{Log: slog.New(slog.DiscardHandler), Audit: audit.Discard})
	if err != nil {
		t.Fatal(err)
	}
	return s.run(t, srv)
}

// run serves until stop, or the test's end.
func (s *edgeSite) run(t *testing.T, srv *ringwall.Server) (address string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	stopped := false
	stop = func() {
		if cancel(); !stopped {
			if stopped = true; <-done != nil {
				t.Log("the server ended with an error")
			}
		}
	}
	t.Cleanup(stop)
	select {
	case <-srv.Listening():
	case err := <-done:
		done <- err
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(srv.Addresses().HTTPS)
	if err != nil {
		t.Fatal(err)
	}
	return "https://localhost:" + port, stop
}

func (s *edgeSite) client(t *testing.T, address string) *probe.Client {
	t.Helper()
	c, err := probe.New(address, probe.Options{TLS: &tls.Config{RootCAs: s.roots}, Timeout: 20 * time.Second, MaxRequests: 20000})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// find runs one control's proof as `ringwall check` does.
func (s *edgeSite) find(t *testing.T, c *probe.Client, id string) check.Finding {
	t.Helper()
	checks := slices.DeleteFunc(edge.Checks(s.policy, c, time.Now()), func(c check.Check) bool { return c.ID != id })
	return check.Run(t.Context(), checks, check.Options{PerCheck: 50 * time.Second}).Results[0].Finding
}

func provableEdge() []edge.Control {
	return slices.DeleteFunc(edge.Controls(), func(c edge.Control) bool { return c.Verify == nil || c.Here != nil })
}

func TestEveryEdgeControlInForcePasses(t *testing.T) {
	s := newEdgeSite(t)
	address, _ := s.start(t)
	for _, ctl := range provableEdge() {
		t.Run(ctl.ID, func(t *testing.T) {
			if testing.Short() && (ctl.ID == "edge/slow-clients" || ctl.ID == "edge/connections") {
				t.Skip("its proof waits for seconds")
			}
			t.Parallel()
			if f := s.find(t, s.client(t, address), ctl.ID); f.Verdict != check.Pass {
				t.Errorf("%v: got %q, want %q", f.Verdict, f.Got, f.Want)
			} else {
				t.Log(f.Got)
			}
		})
	}
}

func TestEveryEdgeControlRemovedFails(t *testing.T) {
	for _, ctl := range provableEdge() {
		if neverOff[ctl.ID] != "" {
			continue
		}
		t.Run(ctl.ID, func(t *testing.T) {
			if testing.Short() && (ctl.ID == "edge/slow-clients" || ctl.ID == "edge/connections") {
				t.Skip("its proof waits for seconds")
			}
			t.Parallel()
			s := newEdgeSite(t)
			address, _ := s.start(t, ctl.ID)
			f := s.find(t, s.client(t, address), ctl.ID)
			if f.Verdict != check.Fail {
				t.Errorf("%v, %q", f.Verdict, f.Got)
			} else if f.Got == "" || f.Want == "" || f.Fix == "" {
				t.Errorf("a failure says what came, what should have come and what to do: %+v", f)
			}
			t.Logf("got %q, want %q, fix %q", f.Got, f.Want, f.Fix)
		})
	}
}

func TestEveryEdgeControlUnseenIsUnknown(t *testing.T) {
	s := newEdgeSite(t)
	address, stop := s.start(t)
	stranger, err := probe.New(address, probe.Options{TLS: &tls.Config{RootCAs: x509.NewCertPool()}})
	if err != nil {
		t.Fatal(err)
	}
	mute := porttest.Serve(t, func(net.Conn) {})
	_, port, _ := net.SplitHostPort(mute)
	clients := map[string]*probe.Client{"unknown certificate": stranger, "hangs up": s.client(t, "https://localhost:"+port)}
	look := func(name string, c *probe.Client) {
		for _, ctl := range provableEdge() {
			if name == "unknown certificate" && neverOff[ctl.ID] != "" {
				continue // they judge just that, and another port
			}
			if f := s.find(t, c, ctl.ID); f.Verdict != check.Unknown || f.Got == "" {
				t.Errorf("%s, %s: %v %q", ctl.ID, name, f.Verdict, f.Got)
			}
		}
	}
	look("unknown certificate", clients["unknown certificate"])
	stop()
	look("hangs up", clients["hangs up"])
	look("refused", s.client(t, address))
}

// A waiver is shown as such, and fails on the day after its last.
func TestEveryEdgeControlCanBeWaived(t *testing.T) {
	s := newEdgeSite(t)
	bare := httptest.NewServer(http.NotFoundHandler())
	defer bare.Close()
	today := time.Now().UTC().Truncate(24 * time.Hour)
	for _, ctl := range edge.Controls() {
		p := *s.policy
		p.Waivers = []policy.Waiver{{Control: ctl.ID, Reason: "the load balancer does it", Until: today}}
		for now, want := range map[time.Time]check.Verdict{today: check.Waived, today.AddDate(0, 0, 1): check.Fail} {
			checks := slices.DeleteFunc(edge.Checks(&p, s.client(t, bare.URL), now), func(c check.Check) bool { return c.ID != ctl.ID })
			if f := check.Run(t.Context(), checks, check.Options{}).Results[0]; f.Verdict != want {
				t.Errorf("%s: %v %q, want %v", ctl.ID, f.Verdict, f.Got, want)
			}
		}
	}
}

func TestEveryEdgeControlIsDescribed(t *testing.T) {
	seen := map[string]bool{}
	for _, ctl := range edge.Controls() {
		if noun, ok := strings.CutPrefix(ctl.ID, "edge/"); !ok || noun == "" || strings.Trim(noun, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || seen[ctl.ID] {
			t.Errorf("ID %q is not edge/noun, or stands twice", ctl.ID)
		}
		seen[ctl.ID] = true
		if n := len(ctl.Title); n < 10 || n > 90 || strings.HasSuffix(ctl.Title, ".") || seen[ctl.Title] {
			t.Errorf("%s: the title %q is no claim of 10 to 90 characters without a full stop, or stands twice", ctl.ID, ctl.Title)
		}
		seen[ctl.Title] = true
		if !strings.HasSuffix(ctl.Why, ".") {
			t.Errorf("%s: why %q is not a sentence", ctl.ID, ctl.Why)
		}
		if !strings.Contains(ctl.Ref, "RFC ") && !strings.Contains(ctl.Ref, "ASVS ") && !strings.Contains(ctl.Ref, "CWE-") {
			t.Errorf("%s: ref %q names no standard", ctl.ID, ctl.Ref)
		}
		if anywhere := ctl.Verify != nil && ctl.Here == nil; anywhere == (ctl.Inside != "") {
			t.Errorf("%s has a proof from anywhere: %v, a way to look from inside: %v; one of the two is wanted", ctl.ID, anywhere, ctl.Inside != "")
		}
	}
	tests := testFiles(t)
	for id, name := range neverOff {
		found := false
		for _, f := range tests {
			found = found || f.Scope.Lookup(name) != nil
		}
		if !seen[id] || !found {
			t.Errorf("neverOff speaks of %s and %s: there is a control %v, and a test %v", id, name, seen[id], found)
		}
	}
}

// testFiles parses this package's tests.
func testFiles(t *testing.T) (files []*ast.File) {
	t.Helper()
	names, err := filepath.Glob("*_test.go")
	if err != nil || len(names) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, name := range names {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	return files
}
