package identity_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/identity"
	"github.com/ringwall/ringwall/policy"
	"github.com/ringwall/ringwall/store/sqlitestore"
)

const controlPassword = "nine slow barges on the canal"

// controlTarget is a real service on SQLite behind a real ring, with an account
// for checks.
func controlTarget(t *testing.T, registration string) (*policy.Policy, *httptest.Server) {
	t.Helper()
	dir := identity.QuickDir(t)
	p, err := policy.Parse(filepath.Join(dir, "ringwall.yaml"), []byte(`site: localhost
app: {limits: {global: {requests: 100000, per: 1s}, auth: {requests: 20, per: 15m, paths: [/api/auth/]}}}
identity: {registration: `+registration+`, verify_email: false, mail: {folder: mails}, roles: {admin: ["*"], user: ["notes:read"]}}
`), policy.LoadOptions{Dev: true, Environ: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	st, err := sqlitestore.Open(t.Context(), filepath.Join(dir, "ringwall.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	keys, err := identity.OpenKeyRing(filepath.Join(dir, "keys.json"), nil)
	if err != nil {
		t.Fatal(err)
	}
	svc, err := identity.New(p, identity.Deps{Store: st, Keys: keys, Mail: controlMailer{}})
	if err != nil {
		t.Fatal(err)
	}
	identity.Cheapen(svc)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); svc.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	if _, err := svc.Accounts().Create(t.Context(), identity.Actor{}, identity.NewAccount{
		Name: "Check", Email: "check@example.com", Password: controlPassword}); err != nil {
		t.Fatal(err)
	}
	ring, err := app.New(p, http.NotFoundHandler(), app.Deps{Verifier: svc.Verifier(), Builtin: svc.Handler()})
	if err != nil {
		t.Fatal(err)
	}
	return p, controlServe(t, ring)
}

type controlMailer struct{}

func (controlMailer) Send(context.Context, identity.Mail) error { return nil }

func controlServe(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func controlClient(t *testing.T, s *httptest.Server) *probe.Client {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, err := probe.New("https://localhost:"+port, probe.Options{
		TLS:     &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"},
		Account: probe.Account{Email: "check@example.com", Password: controlPassword}, Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestControlsInForcePass(t *testing.T) {
	for _, registration := range []string{"open", "invite", "closed"} {
		t.Run(registration, func(t *testing.T) {
			p, s := controlTarget(t, registration)
			r := check.Run(t.Context(), identity.Checks(p, controlClient(t, s), time.Now()), check.Options{PerCheck: 30 * time.Second})
			for _, res := range r.Results {
				if res.Verdict != check.Pass {
					t.Errorf("%s: %v, got %q, want %q", res.ID, res.Verdict, res.Got, res.Want)
				}
				t.Logf("%-28s %s", res.ID, res.Got)
			}
			if want := len(identity.Controls()) - 2; len(r.Results) < want {
				t.Errorf("%d results of %d proofs", len(r.Results), want)
			}
		})
	}
}

func TestControlsOfADeadTargetAreUnknown(t *testing.T) {
	p, s := controlTarget(t, "open")
	c := controlClient(t, s)
	s.Close()
	r := check.Run(t.Context(), identity.Checks(p, c, time.Now()), check.Options{})
	for _, res := range r.Results {
		if res.Verdict != check.Unknown {
			t.Errorf("%s: %v, %q", res.ID, res.Verdict, res.Got)
		}
	}
}

func TestControlsOfAServerWithoutAccountsFail(t *testing.T) {
	p, _ := controlTarget(t, "open")
	s := controlServe(t, http.NotFoundHandler())
	r := check.Run(t.Context(), identity.Checks(p, controlClient(t, s), time.Now()), check.Options{})
	for _, res := range r.Results {
		if res.Verdict == check.Pass {
			t.Errorf("%s passes without any accounts: %q", res.ID, res.Got)
		}
	}
}

// A breach is a proxy that spoils one promise of the service behind it.
type breach struct {
	request func(*http.Request)
	answer  func(*http.Response)
}

func rewrite(res *http.Response, change func(string) string) {
	b, _ := io.ReadAll(res.Body)
	b = []byte(change(string(b)))
	res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
	res.Header.Del("Content-Length")
}

func onPath(path string, do func(*http.Response)) func(*http.Response) {
	return func(res *http.Response) {
		if res.Request.URL.Path == path {
			do(res)
		}
	}
}

func status(res *http.Response, code int) {
	res.StatusCode, res.Status = code, http.StatusText(code)
}

func cookies(res *http.Response, change func(string) string) {
	for i, v := range res.Header["Set-Cookie"] {
		res.Header["Set-Cookie"][i] = change(v)
	}
}

func TestControlsFindBreaches(t *testing.T) {
	if testing.Short() {
		t.Skip("each breach has a server and accounts of its own")
	}
	replace := func(old, new string) func(string) string {
		return func(s string) string { return strings.ReplaceAll(s, old, new) }
	}
	breaches := map[string]map[string]breach{
		"identity/key-set": {
			"private key": {answer: onPath("/.well-known/jwks.json", func(r *http.Response) { rewrite(r, replace(`"kty"`, `"d":"x","kty"`)) })},
			"shared key":  {answer: onPath("/.well-known/jwks.json", func(r *http.Response) { rewrite(r, replace(`OKP`, `oct`)) })},
			"no keys":     {answer: onPath("/.well-known/jwks.json", func(r *http.Response) { rewrite(r, func(string) string { return `{"keys":[]}` }) })},
		},
		"identity/sign-in": {
			"script reads it": {answer: func(r *http.Response) { cookies(r, replace("; HttpOnly", "")) }},
			"over plain HTTP": {answer: func(r *http.Response) { cookies(r, replace("; Secure", "")) }},
			"cross-site":      {answer: func(r *http.Response) { cookies(r, replace("SameSite=Strict", "SameSite=Lax")) }},
			"for siblings":    {answer: func(r *http.Response) { cookies(r, replace("Path=/", "Path=/; Domain=localhost")) }},
			"lasts":           {answer: onPath("/api/auth/login", func(r *http.Response) { rewrite(r, replace(`"expires_in":`, `"expires_in":9`)) })},
			"in the body":     {answer: onPath("/api/auth/login", func(r *http.Response) { rewrite(r, replace(`{"acc`, `{"refresh_token":"x","acc`)) })},
			"stored":          {answer: func(r *http.Response) { r.Header.Set("Cache-Control", "public") }},
		},
		"identity/refresh": {
			"same token": {answer: onPath("/api/auth/refresh", func(r *http.Response) {
				old, _ := r.Request.Cookie("__Host-refresh")
				cookies(r, func(s string) string { return "__Host-refresh=" + old.Value + s[strings.IndexByte(s, ';'):] })
			})},
			"two successors": {answer: onPath("/api/auth/refresh", func(r *http.Response) {
				cookies(r, func(s string) string { return strings.Replace(s, "=rw1.", "=rw1."+rand.Text(), 1) })
			})},
			"anybody": {answer: onPath("/api/auth/refresh", func(r *http.Response) { status(r, 200) })},
		},
		"identity/theft": {
			"forgiven": {request: func(r *http.Request) { forgive(r) }, answer: onPath("/api/auth/refresh", func(r *http.Response) { status(r, 200) })},
			"not ended": {request: func(r *http.Request) {
				if r.URL.Path == "/api/auth/refresh" {
					r.Header.Del("Cookie")
				}
			}},
		},
		"identity/sign-out": {
			"cookie only": {answer: onPath("/api/auth/logout", func(r *http.Response) { status(r, 204) }), request: func(r *http.Request) {
				if r.URL.Path == "/api/auth/logout" {
					r.Header.Del("Cookie")
				}
			}},
		},
		"identity/administration": {
			"open to callers": {answer: onPath("/api/admin/users", func(r *http.Response) {
				if r.StatusCode == 403 {
					status(r, 200)
				}
			})},
			"open to all": {answer: onPath("/api/admin/users", func(r *http.Response) { status(r, 200) })},
		},
		"identity/errors": {
			"echo": {answer: onPath("/api/auth/login", func(r *http.Response) {
				rewrite(r, func(s string) string { return s + r.Request.Header.Get("X-Canary") })
			}), request: func(r *http.Request) {
				b, _ := io.ReadAll(r.Body)
				r.Body = io.NopCloser(bytes.NewReader(b))
				r.Header.Set("X-Canary", regexp.MustCompile("canary[A-Z0-9]+").FindString(string(b)))
			}},
			"no list": {answer: onPath("/api/auth/login", func(r *http.Response) { rewrite(r, replace(`"errors"`, `"faults"`)) })},
		},
		"identity/password-strength": {
			"all taken": {answer: onPath("/api/auth/register", func(r *http.Response) { status(r, 201) })},
		},
		"identity/registration": {
			"taken told": {answer: onPath("/api/auth/register", func() func(*http.Response) {
				first := true
				return func(r *http.Response) {
					if first {
						status(r, 409)
					}
					first = false
				}
			}())},
			"refused": {answer: onPath("/api/auth/register", func(r *http.Response) { status(r, 403) })},
		},
		"identity/unknown-account": {
			"text": {answer: onPath("/api/auth/login", func() func(*http.Response) {
				n := 0
				return func(r *http.Response) {
					if n++; n%2 == 0 {
						rewrite(r, replace("Address and password", "The address"))
					}
				}
			}())},
			"header": {answer: onPath("/api/auth/login", func() func(*http.Response) {
				n := 0
				return func(r *http.Response) {
					if n++; n%2 == 0 {
						r.Header.Set("X-Found", "no")
					}
				}
			}())},
			"time": {request: func(r *http.Request) {
				if r.Body == nil {
					return
				}
				b, _ := io.ReadAll(r.Body)
				r.Body = io.NopCloser(bytes.NewReader(b))
				if strings.Contains(string(b), "check@example.com") {
					time.Sleep(600 * time.Millisecond) // what the work of a hash would be, under any load
				}
			}},
		},
		"identity/sign-in-delay": {
			"none":           {answer: onPath("/api/auth/login", func(r *http.Response) { status(r, 401) })},
			"no Retry-After": {answer: onPath("/api/auth/login", func(r *http.Response) { r.Header.Del("Retry-After") })},
		},
	}
	for _, ctl := range identity.Controls() {
		if ctl.Verify == nil {
			continue
		}
		if len(breaches[ctl.ID]) == 0 {
			t.Errorf("%s has no breach here that its proof must find", ctl.ID)
		}
		for name, b := range breaches[ctl.ID] {
			t.Run(ctl.ID+"/"+name, func(t *testing.T) {
				t.Parallel()
				p, behind := controlTarget(t, "open")
				to, err := url.Parse(behind.URL)
				if err != nil {
					t.Fatal(err)
				}
				front := controlServe(t, &httputil.ReverseProxy{
					Transport: behind.Client().Transport,
					Rewrite: func(r *httputil.ProxyRequest) {
						r.SetURL(to)
						r.Out.Host = "localhost"
						if b.request != nil {
							b.request(r.Out)
						}
					},
					ModifyResponse: func(r *http.Response) error {
						if b.answer != nil {
							b.answer(r)
						}
						return nil
					},
				})
				r := check.Run(t.Context(), []check.Check{{Meta: ctl.Meta, Verify: func(ctx context.Context) check.Finding {
					return ctl.Verify(ctx, p, controlClient(t, front))
				}}}, check.Options{PerCheck: 30 * time.Second})
				f := r.Results[0].Finding
				if f.Verdict != check.Fail || f.Got == "" || f.Want == "" || f.Fix == "" {
					t.Errorf("%v: got %q, want %q, fix %q", f.Verdict, f.Got, f.Want, f.Fix)
				}
				t.Logf("got %q, want %q", f.Got, f.Want)
			})
		}
	}
}

// TestABusyServerBreaksNoPromise: one answer of a limit's or of a proxy's, in the place
// of the service's own, fails none of the controls, wherever in a proof it comes.
func TestABusyServerBreaksNoPromise(t *testing.T) {
	for _, ctl := range identity.Controls() {
		if ctl.Verify == nil {
			continue
		}
		for which := range 4 {
			p, behind := controlTarget(t, "open")
			to, err := url.Parse(behind.URL)
			if err != nil {
				t.Fatal(err)
			}
			asked := 0
			front := controlServe(t, &httputil.ReverseProxy{
				Transport: behind.Client().Transport,
				Rewrite: func(r *httputil.ProxyRequest) {
					r.SetURL(to)
					r.Out.Host = "localhost"
				},
				ModifyResponse: func(r *http.Response) error {
					if asked++; asked == which+1 {
						status(r, []int{503, 502, 504, 503}[which])
					}
					return nil
				},
			})
			checks := slices.DeleteFunc(identity.Checks(p, controlClient(t, front), time.Now()), func(c check.Check) bool { return c.ID != ctl.ID })
			if f := checks[0].Verify(t.Context()); f.Verdict == check.Fail {
				t.Errorf("%s, answer %d: %q, want %q", ctl.ID, which+1, f.Got, f.Want)
			}
		}
	}
}

// forgive lets a made-up token through as if none had been sent.
func forgive(r *http.Request) {
	if r.URL.Path == "/api/auth/refresh" {
		r.Header.Set("Cookie", "__Host-refresh=")
	}
}

// A waiver is shown as such, fails on the day after its last, and names a
// control that is there. The service keeps the promise all the same.
func TestEveryIdentityControlCanBeWaived(t *testing.T) {
	p, s := controlTarget(t, "open")
	today := time.Now().UTC().Truncate(24 * time.Hour)
	for _, ctl := range identity.Controls() {
		q := *p
		q.Waivers = []policy.Waiver{{Control: ctl.ID, Reason: "another service signs people in", Until: today}}
		for now, want := range map[time.Time]check.Verdict{today: check.Waived, today.AddDate(0, 0, 1): check.Fail} {
			checks := slices.DeleteFunc(identity.Checks(&q, controlClient(t, s), now), func(c check.Check) bool { return c.ID != ctl.ID })
			if f := check.Run(t.Context(), checks, check.Options{}).Results[0]; f.Verdict != want {
				t.Errorf("%s: %v %q, want %v", ctl.ID, f.Verdict, f.Got, want)
			}
		}
		if err := identity.CheckWaivers(&q); err != nil {
			t.Error(err)
		}
	}
	q := *p
	q.Waivers = []policy.Waiver{{Control: "app/hsts"}, {Control: "identity/sign-inn", Reason: "another service signs people in", Until: today}}
	if err := identity.CheckWaivers(&q); err == nil || !strings.Contains(err.Error(), `waivers[1].control`) || strings.Contains(err.Error(), "hsts") {
		t.Errorf("got %v", err)
	}
}
