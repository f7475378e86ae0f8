package ringwall_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ringwall/ringwall"
	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/identity"
	"github.com/ringwall/ringwall/internal/porttest"
	"github.com/ringwall/ringwall/policy"
)

var seed = func() []byte {
	sum := sha256.Sum256([]byte("of these tests alone"))
	return sum[:]
}()

// site is a folder with a certificate of localhost and a token key.
type site struct {
	dir   string
	roots *x509.CertPool
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{dir: t.TempDir(), roots: x509.NewCertPool()}
	s.certify(t, "localhost")
	return s
}

// certify writes a certificate for a name, in the place of an earlier one.
func (s *site) certify(t *testing.T, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pk, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	s.roots.AppendCertsFromPEM(cert)
	s.write(t, "site.pem", string(cert))
	s.write(t, "site.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pk})))
}

func (s *site) write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// rules are a policy's body; the rest is the same for all tests here.
const rules = `
site: localhost
edge: {rate: {burst: 90000}, listen: "127.0.0.1:0", redirect: "127.0.0.1:0", tls: {cert: site.pem, key: site.key}}
app:
  limits: {global: {requests: 1000, per: 1m}}
  routes:
    - {path: /public/, allow: [anyone]}
    - {path: /, allow: [signed-in]}
`

func (s *site) policy(t *testing.T, yaml string) *policy.Policy {
	t.Helper()
	p, err := s.parse(yaml)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (s *site) parse(yaml string) (*policy.Policy, error) {
	return policy.Parse(filepath.Join(s.dir, "ringwall.yaml"), []byte(yaml), policy.LoadOptions{Dev: true,
		Environ: []string{"RINGWALL_IDENTITY_TOKEN_KEY=" + base64.StdEncoding.EncodeToString(seed)}})
}

func token(t *testing.T, p *policy.Policy, subject string, roles ...string) string {
	t.Helper()
	keys, err := identity.NewKeys(seed)
	if err != nil {
		t.Fatal(err)
	}
	s, err := keys.Mint(identity.Claims{Issuer: p.Issuer(), Audience: p.Audience(), Subject: subject, Session: "s1", Roles: roles}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// recorder is an audit.Sink.
type recorder struct {
	mu     sync.Mutex
	events []audit.Event
}

func (r *recorder) Record(e audit.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *recorder) kinds() (out []audit.Kind) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		out = append(out, e.Kind)
	}
	return out
}

func quiet() (ringwall.Deps, *recorder) {
	r := &recorder{}
	return ringwall.Deps{Log: slog.New(slog.DiscardHandler), Audit: r}, r
}

var hello = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	who := "nobody"
	if c := ringwall.CallerFrom(r.Context()); c != nil {
		who = c.Subject
	}
	_, _ = io.WriteString(w, "hello "+who)
})

func get(t *testing.T, h http.Handler, path, token string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest("GET", "http://localhost"+path, nil)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestServerEnforcesThePolicy(t *testing.T) {
	s := newSite(t)
	p := s.policy(t, rules)
	deps, events := quiet()
	srv, err := ringwall.New(p, hello, deps)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		path, token, body string
		status            int
	}{
		{"/public/x", "", "hello nobody", 200},
		{"/private", "", "", 401},
		{"/private", "forged", "", 401},
		{"/private", token(t, p, "alice"), "hello alice", 200},
		{"/a/../private", "", "", 400},
		{"/healthz", "", `{"status":"ok"}` + "\n", 200},
		{"/readyz", "", `{"status":"ok"}` + "\n", 200},
	} {
		w := get(t, srv.Handler(), tt.path, tt.token)
		if w.Code != tt.status || tt.body != "" && w.Body.String() != tt.body {
			t.Errorf("GET %s: %d %q, want %d %q", tt.path, w.Code, w.Body, tt.status, tt.body)
		}
		if w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("GET %s: no security headers", tt.path)
		}
	}
	if k := events.kinds(); k[0] != audit.PolicyLoaded || !slices.Contains(k, audit.AuthFailed) {
		t.Errorf("events %v", k)
	}
	if n := srv.Stats().Requests; n != 7 {
		t.Errorf("%d requests were counted, want 7", n)
	}
}

func TestNewRefusesWhatCannotBeEnforced(t *testing.T) {
	for name, tt := range map[string]struct {
		yaml    string
		handler http.Handler
		want    []string
	}{
		"nothing to serve": {"site: localhost", nil, []string{"there is no upstream and no handler"}},
		"all at once": {"site: localhost\nadmin: 127.0.0.1:9464\nedge: {tls: {cert: none.pem, key: none.key}}\napp: {schema: none.yaml}\n", nil,
			[]string{"upstream", "none.key", "admin", "none.yaml"}},
		"certificate of another": {"site: api.localhost\nedge: {tls: {cert: site.pem, key: site.key}}", hello, []string{"is not for api.localhost but for localhost"}},
	} {
		t.Run(name, func(t *testing.T) {
			deps, events := quiet()
			srv, err := ringwall.New(newSite(t).policy(t, tt.yaml), tt.handler, deps)
			if err == nil || srv != nil {
				t.Fatalf("New = %v, %v; want an error", srv, err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not speak of %q", err, want)
				}
			}
			if len(events.kinds()) != 0 {
				t.Errorf("events %v of a policy that never was in force", events.kinds())
			}
		})
	}
	if _, err := ringwall.New(nil, hello, ringwall.Deps{}); err == nil {
		t.Error("a nil policy is taken")
	}
}

func TestNoKeyAndNobodyToLetIn(t *testing.T) {
	for yaml, want := range map[string]bool{
		"site: localhost": false, // what no route matches is for callers only
		"site: localhost\napp: {routes: [{path: /, allow: [anyone]}]}":                                                true,
		"site: localhost\napp: {routes: [{path: /a, allow: [signed-in]}, {path: /, allow: [anyone]}]}":                false,
		"site: localhost\napp: {routes: [{path: /, methods: [GET], allow: [anyone]}]}":                                false,
		"site: localhost\napp: {routes: [{path: /a, allow: [anyone]}, {path: /, allow: [anyone]}]}":                   true,
		"site: localhost\nidentity: {roles: {user: [\"a:b\"]}}\napp: {routes: [{path: /, allow: [anyone, \"a:b\"]}]}": true,
	} {
		p, err := policy.Parse("ringwall.yaml", []byte(yaml), policy.LoadOptions{Dev: true, Environ: []string{}})
		if err != nil {
			continue // contradictions are the policy's to refuse
		}
		deps, _ := quiet()
		_, err = ringwall.New(p, hello, deps)
		if (err == nil) != want {
			t.Errorf("%q without a key: %v, want success %v", yaml, err, want)
		}
		if err != nil && !strings.Contains(err.Error(), "ringwall init") {
			t.Errorf("%q: the error does not say what to do: %v", yaml, err)
		}
	}
}

func TestTrapReloadThatFailsKeepsTheOldPolicy(t *testing.T) {
	changed := strings.Replace(rules, "/public/", "/open/", 1)
	for name, tt := range map[string]struct {
		yaml  string
		spoil func(t *testing.T, s *site)
		want  string
	}{
		"missing certificate": {changed, func(t *testing.T, s *site) { os.Remove(filepath.Join(s.dir, "site.pem")) }, "site.pem"},
		"half a certificate":  {changed, func(t *testing.T, s *site) { os.Truncate(filepath.Join(s.dir, "site.pem"), 50) }, "site.pem"},
		"key for all to read": {changed, func(t *testing.T, s *site) { os.Chmod(filepath.Join(s.dir, "site.key"), 0o644) }, "chmod 600"},
		"missing schema":      {strings.Replace(changed, "app:", "app:\n  schema: none.yaml", 1), nil, "none.yaml"},
		"half a schema": {strings.Replace(changed, "app:", "app:\n  schema: half.yaml", 1),
			func(t *testing.T, s *site) { s.write(t, "half.yaml", "openapi: 3.1.0\npaths: {/a: {get: {respon") }, "half.yaml"},
		"another port":   {strings.Replace(changed, `listen: "127.0.0.1:0"`, `listen: "127.0.0.1:1"`, 1), nil, "edge.listen"},
		"another memory": {strings.Replace(changed, "app:", "app:\n  limits_memory: 2MB", 1), nil, "app.limits_memory"},
		"an unknown control": {changed + "waivers: [{control: app/nonsense, reason: a long enough reason, until: " +
			time.Now().AddDate(0, 1, 0).Format(time.DateOnly) + "}]\n", nil, "app/nonsense"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			deps, events := quiet()
			srv, err := ringwall.New(s.policy(t, rules), hello, deps)
			if err != nil {
				t.Fatal(err)
			}
			if tt.spoil != nil {
				tt.spoil(t, s)
			}
			err = srv.Reload(s.policy(t, tt.yaml))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("Reload: %v, want an error about %s", err, tt.want)
			}
			if got := get(t, srv.Handler(), "/public/x", "").Code; got != 200 {
				t.Errorf("the old policy's route is answered %d", got)
			}
			if got := get(t, srv.Handler(), "/open/x", "").Code; got != 401 {
				t.Errorf("the new policy's route is answered %d", got)
			}
			if k := events.kinds(); !slices.Contains(k, audit.PolicyKept) {
				t.Errorf("events %v, want %s", k, audit.PolicyKept)
			}
		})
	}
}

func TestReloadTakesThePolicyAndKeepsTheBuckets(t *testing.T) {
	s := newSite(t)
	few := strings.Replace(rules, "requests: 1000", "requests: 2", 1)
	deps, events := quiet()
	srv, err := ringwall.New(s.policy(t, few), hello, deps)
	if err != nil {
		t.Fatal(err)
	}
	h := srv.Handler()
	for range 2 {
		get(t, h, "/public/x", "")
	}
	if got := get(t, h, "/public/x", "").Code; got != 429 {
		t.Fatalf("the third request of two is answered %d", got)
	}
	if err := srv.Reload(s.policy(t, strings.Replace(few, "/public/", "/open/", 1))); err != nil {
		t.Fatal(err)
	}
	if got := get(t, h, "/open/x", "").Code; got != 429 {
		t.Errorf("after a reload the client has a fresh bucket: %d", got)
	}
	if k := events.kinds(); k[len(k)-2] != audit.PolicyLoaded {
		t.Errorf("events %v", k)
	}
	if got := srv.Policy().App.Routes[0].Path; got != "/open/" {
		t.Errorf("the policy in force has the route %s", got)
	}
}

func TestReloadUnderLoad(t *testing.T) {
	s := newSite(t)
	deps, _ := quiet()
	p := s.policy(t, strings.Replace(rules, "requests: 1000", "requests: 100000", 1))
	srv, err := ringwall.New(p, hello, deps)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if got := get(t, srv.Handler(), "/public/x", "").Code; got != 200 {
					t.Errorf("during a reload: %d", got)
				}
			}
		})
	}
	for range 10 {
		if err := srv.Reload(p); err != nil {
			t.Error(err)
		}
	}
	cancel()
	wg.Wait()
}

func TestReadiness(t *testing.T) {
	s := newSite(t)
	now := time.Now()
	asked, failing := 0, true
	deps, _ := quiet()
	deps.Now = func() time.Time { return now }
	deps.Ready = func(context.Context) error {
		asked++
		if failing {
			return errors.New("secret-dsn is down")
		}
		return nil
	}
	srv, err := ringwall.New(s.policy(t, rules), hello, deps)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		w := get(t, srv.Handler(), "/readyz", "")
		if w.Code != 503 || strings.Contains(w.Body.String(), "secret") || !strings.Contains(w.Body.String(), `"Out: handler."`) {
			t.Errorf("with a store that is down: %d %q", w.Code, w.Body)
		}
	}
	if asked != 1 {
		t.Errorf("5 requests within a second asked %d times, want once", asked)
	}
	failing = false
	now = now.Add(time.Second)
	if got := get(t, srv.Handler(), "/readyz", "").Code; got != 200 {
		t.Errorf("a second after the store came back: %d", got)
	}
	if got := get(t, srv.Handler(), "/healthz", "").Code; got != 200 {
		t.Errorf("healthz: %d", got)
	}
	w := httptest.NewRecorder()
	srv.Handler().ServeHTTP(w, httptest.NewRequest("POST", "http://localhost/healthz", nil))
	if w.Code != 405 {
		t.Errorf("POST /healthz: %d, want 405", w.Code)
	}
}

// running is a server that listens.
type running struct {
	*ringwall.Server
	client *http.Client
	stop   context.CancelFunc
	done   chan error
}

func start(t *testing.T, s *site, p *policy.Policy, h http.Handler, deps ringwall.Deps) *running {
	t.Helper()
	srv, err := ringwall.New(p, h, deps)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{srv, &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.roots, ServerName: "localhost"}, ForceAttemptHTTP2: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, cancel, make(chan error, 1)}
	go func() { r.done <- srv.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		r.client.CloseIdleConnections()
	})
	select {
	case <-srv.Listening():
	case err := <-r.done:
		t.Fatal(err)
	}
	return r
}

func (r *running) get(t *testing.T, url string) *http.Response {
	t.Helper()
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "localhost"
	res, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}

func TestRun(t *testing.T) {
	s := newSite(t)
	deps, events := quiet()
	deps.Metrics = func(stats func() app.Stats) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(stats().Requests) })
	}
	began, finish := make(chan struct{}), make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/public/slow" {
			close(began)
			<-finish
		}
		hello(w, r)
	})
	r := start(t, s, s.policy(t, "admin: 127.0.0.1:0\n"+rules), h, deps)
	at := r.Addresses()

	res := r.get(t, "https://"+at.HTTPS+"/public/x")
	if res.StatusCode != 200 || res.ProtoMajor != 2 || res.Header.Get("Strict-Transport-Security") == "" {
		t.Errorf("over HTTPS: %s %s", res.Proto, res.Status)
	}
	_, port, _ := net.SplitHostPort(at.HTTPS)
	res = r.get(t, "http://"+at.Redirect+"/a?b=c")
	if loc := res.Header.Get("Location"); res.StatusCode != 308 || loc != "https://localhost:"+port+"/a?b=c" {
		t.Errorf("over HTTP: %d to %s", res.StatusCode, loc)
	}
	if res := r.get(t, "http://"+at.Admin+"/metrics"); res.StatusCode != 200 {
		t.Errorf("metrics: %d", res.StatusCode)
	}
	evil, _ := http.NewRequest("GET", "http://"+at.Admin+"/metrics", nil)
	evil.Host = "evil.example"
	if res, err := r.client.Do(evil); err != nil || res.StatusCode != 421 {
		t.Errorf("metrics for a rebound name: %v, %v", res, err)
	}
	if err := r.Run(t.Context()); err == nil {
		t.Error("a second Run is taken")
	}

	// A new certificate is in force for the next client.
	s.certify(t, "localhost")
	if err := r.Reload(s.policy(t, "admin: 127.0.0.1:0\n"+rules)); err != nil {
		t.Fatal(err)
	}
	r.client.CloseIdleConnections()
	fresh := r.get(t, "https://"+at.HTTPS+"/public/x").TLS.PeerCertificates[0].SerialNumber
	if old := res.TLS; old != nil && old.PeerCertificates[0].SerialNumber.Cmp(fresh) == 0 {
		t.Error("after the reload the old certificate is shown")
	}

	// A request under way ends; a new connection is not taken.
	slow := make(chan *http.Response, 1)
	go func() {
		res, err := r.client.Get("https://" + at.HTTPS + "/public/slow")
		if err != nil {
			t.Error(err)
		}
		slow <- res
	}()
	<-began
	r.stop()
	for {
		c, err := net.Dial("tcp", at.HTTPS)
		if errors.Is(err, syscall.ECONNREFUSED) {
			break
		}
		if err == nil {
			c.Close()
		}
	}
	close(finish)
	if res := <-slow; res != nil {
		defer res.Body.Close()
		if b, err := io.ReadAll(res.Body); err != nil || string(b) != "hello nobody" {
			t.Errorf("the request under way: %q, %v", b, err)
		}
	}
	if err := <-r.done; err != nil {
		t.Errorf("Run returned %v", err)
	}
	k := events.kinds()
	if !slices.Contains(k, audit.ServerStarted) || k[len(k)-1] != audit.ServerStopped {
		t.Errorf("events %v", k)
	}
}

func TestRunThatCannotListen(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	addr := porttest.Address(t)
	s := newSite(t)
	deps, _ := quiet()
	p := s.policy(t, strings.NewReplacer(`redirect: "127.0.0.1:0"`, `redirect: "`+taken.Addr().String()+`"`, `listen: "127.0.0.1:0"`, `listen: "`+addr+`"`).Replace(rules))
	srv, err := ringwall.New(p, hello, deps)
	if err != nil {
		t.Fatal(err)
	}
	err = srv.Run(t.Context())
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "edge.redirect") {
		t.Errorf("Run on a taken port: %v", err)
	}
	again, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatalf("the other port was left open: %v", err)
	}
	again.Close()

	bare := s.policy(t, "site: localhost")
	srv, err = ringwall.New(bare, hello, deps)
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "edge.tls") {
		t.Errorf("Run without a certificate: %v", err)
	}
}
