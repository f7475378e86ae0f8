package policy_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/policy"
)

// The numbers of the blueprint, A2, A6, A7, A8, E5, E7.
func TestDefault(t *testing.T) {
	p := policy.Default()
	for name, pair := range map[string][2]any{
		"site":        {p.Site, "localhost"},
		"global":      {p.App.Limits["global"], policy.Limit{Requests: 600, Per: 15 * time.Minute}},
		"auth":        {p.App.Limits["auth"], policy.Limit{Requests: 20, Per: 15 * time.Minute, Paths: []string{"/api/auth/"}}},
		"body":        {p.App.Body, policy.Size(200_000)},
		"types":       {p.App.ContentTypes, []string{"application/json", "application/x-www-form-urlencoded"}},
		"methods":     {p.App.CORS.Methods, []string{"GET", "POST", "PUT", "PATCH", "DELETE"}},
		"headers":     {p.App.CORS.Headers, []string{"Content-Type", "Authorization"}},
		"origins":     {len(p.App.CORS.Origins), 0},
		"credentials": {p.App.CORS.Credentials, true},
		"timeouts":    {p.Edge.Timeouts, policy.Timeouts{Connect: 10 * time.Second, Send: 30 * time.Second, Read: 30 * time.Second, Stream: time.Hour}},
		"log":         {p.App.Log, "info"},
		"permissions": {p.App.Headers.Permissions, "geolocation=(), microphone=(), camera=()"},
		"hsts":        {p.App.Headers.HSTS, policy.HSTS{MaxAge: 365 * 24 * time.Hour}},
		"memory":      {p.App.LimitsMemory, policy.Size(64_000_000)},
		"proxies":     {len(p.Edge.TrustedProxies), 0},
		"secret":      {p.Identity.TokenKey.Set(), false},
	} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			t.Errorf("%s = %v, want %v", name, pair[0], pair[1])
		}
	}
	sameValues(t, p, loadDev(t, "site: localhost\n"))
	p.App.Limits["global"] = policy.Limit{}
	if policy.Default().App.Limits["global"].Requests != 600 {
		t.Error("two defaults share a map")
	}
}

func loadDev(t *testing.T, src string) *policy.Policy {
	t.Helper()
	opts := alone()
	opts.Dev = true
	p, err := policy.Parse(filepath.Join(t.TempDir(), "ringwall.yaml"), []byte(src), opts)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A class, or a key of one, that is not given keeps its default.
func TestLimitsKeepTheirDefaults(t *testing.T) {
	p := mustParse(t, "site: a.example.com\napp:\n  limits:\n    auth: {requests: 5}\n    search: {requests: 60, per: 1m, paths: [/search]}\n")
	want := map[string]policy.Limit{
		"global": {Requests: 600, Per: 15 * time.Minute},
		"auth":   {Requests: 5, Per: 15 * time.Minute, Paths: []string{"/api/auth/"}},
		"search": {Requests: 60, Per: time.Minute, Paths: []string{"/search"}},
	}
	if !reflect.DeepEqual(p.App.Limits, want) {
		t.Errorf("got %+v", p.App.Limits)
	}
}

// Sections with all their lines commented out are as good as absent.
func TestEmptySections(t *testing.T) {
	p := mustParse(t, "site: a.example.com\nedge:\napp:\n  cors:\n  limits:\n    auth:\n  routes:\nidentity: ~\nwaivers: []\n")
	want := policy.Default()
	want.Site = "a.example.com"
	sameValues(t, p, want)
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "ringwall.yaml")
	_, err := policy.Load(file, alone())
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "ringwall init") {
		t.Errorf("no file: %v", err)
	}
	if _, err := policy.Load(dir, alone()); err == nil {
		t.Error("a folder was loaded")
	}
	if err := os.WriteFile(file, policy.Template("api.example.com", ""), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := policy.Load(file, alone())
	if err != nil {
		t.Fatal(err)
	}
	for rel, want := range map[string]string{
		"openapi.yaml": filepath.Join(dir, "openapi.yaml"), "../x": filepath.Join(filepath.Dir(dir), "x"), "/etc/x": "/etc/x", "": "",
	} {
		if got := p.File(rel); got != want {
			t.Errorf("File(%q) = %q, want %q", rel, got, want)
		}
	}
	if p.Dev() {
		t.Error("Dev without being asked")
	}
	if !loadDev(t, "site: localhost\n").Dev() {
		t.Error("not Dev when asked")
	}
}

func TestLargeAndDeepFilesAreRefusedQuickly(t *testing.T) {
	for name, src := range map[string]string{
		"a file of 1 MiB and a byte": "site: a.example.com\n#" + strings.Repeat("x", 1<<20),
		"brackets":                   "a: " + strings.Repeat("[", 500_000),
		"braces":                     strings.Repeat("{a: ", 200_000),
		"dashes":                     strings.Repeat("- ", 500_000),
		"question marks":             strings.Repeat("? ", 500_000),
		"tags":                       strings.Repeat("!a ", 300_000),
		"keys":                       strings.Repeat("a: b\n", 200_000),
		"stairs":                     stairs(1_000),
		"aliases":                    "a: &a [x]\nb: &b [*a,*a,*a]\nc: &c [*b,*b,*b]\nd: [*c,*c,*c]\n",
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			_, err := policy.Parse("x.yaml", []byte(src), alone())
			if err == nil {
				t.Fatal("accepted")
			}
			if len(err.Error()) > 50_000 {
				t.Errorf("the message has %d bytes", len(err.Error()))
			}
			if took := time.Since(began); took > time.Minute { // a second or so; what grows with the square takes hours
				t.Errorf("took %v", took)
			}
		})
	}
}

func stairs(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

func TestWaiver(t *testing.T) {
	p := mustParse(t, "site: a.example.com\nwaivers:\n  - {control: app/hsts, reason: the balancer sends it, until: 2026-12-31}\n")
	w, ok := p.Waived("app/hsts")
	if !ok || w.Reason != "the balancer sends it" {
		t.Fatalf("got %+v, %v", w, ok)
	}
	if _, ok := p.Waived("app/cors"); ok {
		t.Error("app/cors is waived")
	}
	tokyo := time.FixedZone("Tokyo", 9*3600)
	for now, want := range map[time.Time]bool{
		time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC):            false,
		time.Date(2026, 12, 31, 23, 59, 59, 999999999, time.UTC): false,
		time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC):              true,
		time.Date(2027, 1, 1, 8, 59, 0, 0, tokyo):                false, // it is still the 31st in UTC
		time.Date(2027, 1, 1, 9, 0, 0, 0, tokyo):                 true,
	} {
		if got := w.Expired(now); got != want {
			t.Errorf("Expired(%v) = %v", now, got)
		}
	}
}

// A policy made in Go is judged as a file is.
func TestValidate(t *testing.T) {
	made := func(change func(*policy.Policy)) *policy.Policy {
		p := policy.Default()
		p.Site = "a.example.com"
		change(p)
		return p
	}
	if err := made(func(*policy.Policy) {}).Validate(testNow()); err != nil {
		t.Error(err)
	}
	if err := loadDev(t, "site: localhost\n").Validate(testNow()); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*policy.Policy){
		"site: \"localhost\"":                func(p *policy.Policy) { p.Site = "localhost" },
		"site: it is empty":                  func(p *policy.Policy) { p.Site = "" },
		"app.cors.origins[0]: *":             func(p *policy.Policy) { p.App.CORS.Origins = []string{"*"} },
		"app.timeout: \"50ms\"":              func(p *policy.Policy) { p.App.Timeout = 50 * time.Millisecond },
		"app.timeout: 0s is less":            func(p *policy.Policy) { p.App.Timeout = 0 },
		"edge.timeouts.read: \"-1s\"":        func(p *policy.Policy) { p.Edge.Timeouts.Read = -time.Second },
		"app.body: 5B is less":               func(p *policy.Policy) { p.App.Body = 5 },
		"app.json_depth: \"-1\"":             func(p *policy.Policy) { p.App.JSONDepth = -1 },
		"app.headers.csp: the value has":     func(p *policy.Policy) { p.App.Headers.CSP = "x\r\nSet-Cookie: a" },
		"app.schema: the value has":          func(p *policy.Policy) { p.App.Schema = "\xff" },
		"app.limits: the class global":       func(p *policy.Policy) { delete(p.App.Limits, "global") },
		"app.limits.x.per: it is missing":    func(p *policy.Policy) { p.App.Limits["x"] = policy.Limit{Requests: 1, Paths: []string{"/x"}} },
		"app.routes[0].allow: it is missing": func(p *policy.Policy) { p.App.Routes = []policy.Route{{Path: "/"}} },
		"a key is empty":                     func(p *policy.Policy) { p.Identity.Roles = map[string][]string{"a\nb": nil} },
		"waivers[0].until: 9999": func(p *policy.Policy) {
			p.Waivers = []policy.Waiver{{Control: "a/b", Reason: "a good reason", Until: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}}
		},
	} {
		if err := made(change).Validate(testNow()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %s, got %v", want, err)
		}
	}
}

func TestErrorf(t *testing.T) {
	const src = "site: a.example.com\napp:\n  body: 1MB\n  routes:\n    - {path: /a, allow: [anyone]}\n"
	p := mustParse(t, src, "RINGWALL_APP_TIMEOUT=5s", "RINGWALL_APP_CORS_ORIGINS=https://b.example.com")
	cause := errors.New("broken")
	for path, want := range map[string]string{
		"app.body":              "ringwall.yaml:3:9: app.body: broken\n    body: 1MB\n          ^\n  hint: mend it",
		"app.routes[0].allow":   "ringwall.yaml:5:18: app.routes[0].allow: broken\n      - {path: /a, allow: [anyone]}\n                   ^\n  hint: mend it",
		"app.routes[0].timeout": "ringwall.yaml:5:7: app.routes[0].timeout: broken\n      - {path: /a, allow: [anyone]}\n        ^\n  hint: mend it",
		"app.routes[7].path":    "ringwall.yaml:4:3: app.routes[7].path: broken\n    routes:\n    ^\n  hint: mend it",
		"app.headers.csp":       "ringwall.yaml:2:1: app.headers.csp: broken\n  app:\n  ^\n  hint: mend it",
		"edge.tls.cert":         "ringwall.yaml: edge.tls.cert: broken\n  hint: mend it",
		"app.timeout":           "RINGWALL_APP_TIMEOUT: app.timeout: broken\n  hint: mend it",
		"app.cors.origins[0]":   "RINGWALL_APP_CORS_ORIGINS: app.cors.origins[0]: broken\n  hint: mend it",
		"":                      "ringwall.yaml: broken\n  hint: mend it",
	} {
		err := p.Errorf(path, "mend it", "%w", cause)
		if err.Error() != want {
			t.Errorf("%s: got\n%v\nwant\n%v", path, err, want)
		}
		if !errors.Is(err, cause) {
			t.Errorf("%s: the cause is lost", path)
		}
	}
	if got := policy.Default().Errorf("app.body", "", "broken").Error(); got != "app.body: broken" {
		t.Errorf("without a file: %q", got)
	}
}

// TestExampleSite: names that RFC 2606 keeps stand for somebody's own, and no others.
func TestExampleSite(t *testing.T) {
	for site, want := range map[string]bool{"api.example.com": true, "example.net": true, "a.b.example.org": true, "notes.example": true, "example": true,
		"example.com.au": false, "api.example-site.com": false, "myexample.com": false, "example.dev": false, "localhost": false, "": false} {
		p := policy.Default()
		if p.Site = site; p.ExampleSite() != want {
			t.Errorf("%s: %v", site, !want)
		}
	}
}
