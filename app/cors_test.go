package app_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	rscors "github.com/rs/cors"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/policy"
)

const (
	corsApp   = "https://app.example.com"
	corsAdmin = "https://admin.example.com:8443"
)

func corsPolicy() *policy.Policy {
	p := headersPolicy()
	p.App.CORS.Origins = []string{corsApp, corsAdmin}
	p.App.CORS.Expose = []string{"Retry-After", "X-Request-Id"}
	p.App.Limits = map[string]policy.Limit{"global": {Requests: 1_000_000, Per: time.Second}}
	return p
}

// corsEvents keeps what the ring records.
type corsEvents struct {
	mu  sync.Mutex
	all []audit.Event
}

func (e *corsEvents) Record(ev audit.Event) {
	e.mu.Lock()
	e.all = append(e.all, ev)
	e.mu.Unlock()
}

func (e *corsEvents) kinds() (kinds []audit.Kind) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, ev := range e.all {
		kinds = append(kinds, ev.Kind)
	}
	return kinds
}

// corsRing answers "reached" when a request gets through, and sets CORS headers
// of its own, which must be lost.
func corsRing(t *testing.T, p *policy.Policy, events audit.Sink, without ...string) http.Handler {
	t.Helper()
	ring, err := app.NewWithout(p, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Access-Control-Allow-Private-Network", "true")
		io.WriteString(w, "reached")
	}), app.Deps{Audit: events}, without...)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func corsAsk(h http.Handler, method string, header http.Header) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "https://127.0.0.1/notes", nil)
	if header != nil {
		r.Header = header
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// corsGranted are the headers of the answer that allow something.
func corsGranted(h http.Header) (names []string) {
	for name := range h {
		if strings.HasPrefix(name, "Access-Control-") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func TestCORSActualRequests(t *testing.T) {
	// app/header-names would refuse two Origin fields first.
	ring := corsRing(t, corsPolicy(), audit.Discard, "app/header-names")
	for _, c := range []struct {
		name   string
		origin []string
		status int
		allow  string
	}{
		{"no Origin", nil, 200, ""},
		{"listed", []string{corsApp}, 200, corsApp},
		{"listed with a port", []string{corsAdmin}, 200, corsAdmin},
		{"the site itself", []string{"https://127.0.0.1"}, 200, ""},
		{"unlisted", []string{"https://evil.example"}, 403, ""},
		{"null", []string{"null"}, 403, ""},
		{"empty", []string{""}, 403, ""},
		{"star", []string{"*"}, 403, ""},
		{"suffix", []string{corsApp + ".evil.example"}, 403, ""},
		{"prefix", []string{"https://evilapp.example.com"}, 403, ""},
		{"parent", []string{"https://example.com"}, 403, ""},
		{"child", []string{"https://x.app.example.com"}, 403, ""},
		{"http twin", []string{"http://app.example.com"}, 403, ""},
		{"http twin of the site", []string{"http://127.0.0.1"}, 403, ""},
		{"other port", []string{corsApp + ":8443"}, 403, ""},
		{"default port", []string{corsApp + ":443"}, 403, ""},
		{"no port", []string{"https://admin.example.com"}, 403, ""},
		{"trailing dot", []string{corsApp + "."}, 403, ""},
		{"trailing slash", []string{corsApp + "/"}, 403, ""},
		{"userinfo", []string{"https://app.example.com@evil.example"}, 403, ""},
		{"userinfo before", []string{"https://evil@app.example.com"}, 403, ""},
		{"userinfo before the site", []string{"https://evil@127.0.0.1"}, 403, ""},
		{"upper case", []string{"https://APP.example.com"}, 403, ""},
		{"two in one", []string{corsApp + ", " + corsApp}, 403, ""},
		{"two", []string{corsApp, corsApp}, 403, ""},
		{"listed and another", []string{corsApp, "https://evil.example"}, 403, ""},
		{"long", []string{"https://" + strings.Repeat("a", 100_000)}, 403, ""},
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "DELETE"} {
			w := corsAsk(ring, method, http.Header{"Origin": c.origin})
			h := w.Header()
			if w.Code != c.status {
				t.Errorf("%s %s: status %d, want %d", method, c.name, w.Code, c.status)
			}
			if got := h.Get("Access-Control-Allow-Origin"); got != c.allow {
				t.Errorf("%s %s: Access-Control-Allow-Origin %q, want %q", method, c.name, got, c.allow)
			}
			if !slices.Contains(h["Vary"], "Origin") {
				t.Errorf("%s %s: Vary %q", method, c.name, h["Vary"])
			}
			want := []string(nil)
			if c.allow != "" {
				want = []string{"Access-Control-Allow-Credentials", "Access-Control-Allow-Origin", "Access-Control-Expose-Headers"}
			}
			if got := corsGranted(h); !slices.Equal(got, want) {
				t.Errorf("%s %s: %q, want %q", method, c.name, got, want)
			}
			if c.status == 403 && (h.Get("Content-Type") != "application/problem+json" || strings.Contains(w.Body.String(), "evil")) {
				t.Errorf("%s %s: %s %s", method, c.name, h.Get("Content-Type"), w.Body)
			}
		}
	}
}

// corsPreflight is what a browser sends before the request (Fetch,
// "CORS-preflight fetch").
func corsPreflight(origin, method string, names ...string) http.Header {
	h := http.Header{"Origin": {origin}, "Access-Control-Request-Method": {method}}
	if len(names) > 0 {
		h["Access-Control-Request-Headers"] = []string{strings.Join(names, ",")}
	}
	return h
}

func TestCORSPreflight(t *testing.T) {
	events := &corsEvents{}
	ring := corsRing(t, corsPolicy(), events)
	w := corsAsk(ring, "OPTIONS", corsPreflight(corsApp, "PUT", "authorization", "content-type"))
	h := w.Header()
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin":          corsApp,
		"Access-Control-Allow-Credentials":     "true",
		"Access-Control-Allow-Methods":         "GET, POST, PUT, PATCH, DELETE",
		"Access-Control-Allow-Headers":         "Content-Type, Authorization",
		"Access-Control-Max-Age":               "600",
		"Access-Control-Allow-Private-Network": "",
		"Access-Control-Expose-Headers":        "",
	} {
		if got := h.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if w.Code != 204 || w.Body.Len() != 0 {
		t.Errorf("status %d, body %q", w.Code, w.Body)
	}
	for _, name := range []string{"Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"} {
		if !slices.Contains(h["Vary"], name) {
			t.Errorf("Vary %q has no %s", h["Vary"], name)
		}
	}
	if len(events.kinds()) != 0 {
		t.Errorf("an allowed preflight raised %v", events.kinds())
	}

	private := corsPreflight(corsApp, "GET")
	private.Set("Access-Control-Request-Private-Network", "true")
	if got := corsAsk(ring, "OPTIONS", private).Header()["Access-Control-Allow-Private-Network"]; got != nil {
		t.Errorf("a private network was opened: %q", got)
	}

	refused := map[string]http.Header{
		"origin":            corsPreflight("https://evil.example", "GET"),
		"null":              corsPreflight("null", "GET"),
		"method":            corsPreflight(corsApp, "TRACE"),
		"method, case":      corsPreflight(corsApp, "put"),
		"method, empty":     corsPreflight(corsApp, ""),
		"header":            corsPreflight(corsApp, "GET", "x-secret"),
		"header among good": corsPreflight(corsApp, "GET", "authorization", "x-secret"),
		"two methods":       {"Origin": {corsApp}, "Access-Control-Request-Method": {"GET", "PUT"}},
	}
	for name, header := range refused {
		w := corsAsk(ring, "OPTIONS", header)
		if got := corsGranted(w.Header()); w.Code != 403 || got != nil || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: status %d, %q", name, w.Code, got)
		}
	}
	if got := events.kinds(); len(got) != len(refused) || slices.ContainsFunc(got, func(k audit.Kind) bool { return k != audit.OriginRefused }) {
		t.Errorf("%d refusals raised %v", len(refused), got)
	}

	for name, header := range map[string]http.Header{
		"no Origin":                 {"Access-Control-Request-Method": {"GET"}},
		"no method":                 {"Origin": {corsApp}},
		"from the site itself":      corsPreflight("https://127.0.0.1", "GET"),
		"neither (an API's option)": {},
	} {
		if w := corsAsk(ring, "OPTIONS", header); w.Body.String() != "reached" {
			t.Errorf("OPTIONS, %s: %d %s: it is no preflight and goes on", name, w.Code, w.Body)
		}
	}
}

// TestTrapCORS: null, suffixes and huge preflights (rs/cors #170).
func TestTrapCORS(t *testing.T) {
	ring := corsRing(t, corsPolicy(), audit.Discard)
	for _, origin := range []string{"null", corsApp + ".evil.example", "http://app.example.com"} {
		for _, h := range []http.Header{{"Origin": {origin}}, corsPreflight(origin, "GET")} {
			method := "GET"
			if len(h) > 1 {
				method = "OPTIONS"
			}
			if w := corsAsk(ring, method, h); w.Code != 403 || corsGranted(w.Header()) != nil {
				t.Errorf("%s %s: %d %q", method, origin, w.Code, corsGranted(w.Header()))
			}
		}
	}
	for name, list := range map[string][]string{
		"commas":      {strings.Repeat(",", 1<<20)},
		"blanks":      {strings.Repeat(" ", 1<<20)},
		"one name":    {strings.Repeat("a", 1<<20)},
		"names":       {strings.Repeat("authorization,", 1<<20/14)},
		"many fields": slices.Repeat([]string{strings.Repeat("authorization,", 1<<20/14/90)}, 90), // of more lines nobody looks at one
	} {
		h := corsPreflight(corsApp, "GET")
		h["Access-Control-Request-Headers"] = list
		refusal := testing.AllocsPerRun(1, func() {
			if w := corsAsk(ring, "OPTIONS", h); w.Code != 403 {
				t.Errorf("1 MB of %s: %d", name, w.Code)
			}
		})
		if refusal > 200 {
			t.Errorf("1 MB of %s: %v allocations", name, refusal)
		}
	}
}

// corsBrowser decides as a browser does whether a request goes out after the
// preflight, and whether its answer may be read (Fetch, 4.8 "CORS-preflight
// fetch", steps 7, and 4.10 "CORS check").
func corsBrowser(h http.Handler, origin, method string, unsafe []string, credentials bool) (sent, read bool) {
	check := func(w *httptest.ResponseRecorder) bool {
		allow := w.Header()["Access-Control-Allow-Origin"]
		if len(allow) != 1 {
			return false
		}
		if !credentials && allow[0] == "*" {
			return true
		}
		return allow[0] == origin && (!credentials || w.Header().Get("Access-Control-Allow-Credentials") == "true")
	}
	list := func(w *httptest.ResponseRecorder, name string) (out []string) {
		for e := range strings.SplitSeq(strings.Join(w.Header()[name], ","), ",") {
			out = append(out, strings.TrimSpace(e))
		}
		return out
	}
	if safelisted := method == "GET" || method == "HEAD" || method == "POST"; !safelisted || len(unsafe) > 0 {
		w := corsAsk(h, "OPTIONS", corsPreflight(origin, method, unsafe...))
		if w.Code < 200 || w.Code > 299 || !check(w) {
			return false, false
		}
		if methods := list(w, "Access-Control-Allow-Methods"); !safelisted && !slices.Contains(methods, method) && (credentials || !slices.Contains(methods, "*")) {
			return false, false
		}
		names := list(w, "Access-Control-Allow-Headers")
		for _, n := range unsafe {
			if !slices.ContainsFunc(names, func(s string) bool { return strings.EqualFold(s, n) }) {
				return false, false
			}
		}
	}
	return true, check(corsAsk(h, method, http.Header{"Origin": {origin}}))
}

func TestCORSAsBrowsersSeeIt(t *testing.T) {
	without := corsPolicy()
	without.App.CORS.Credentials = false
	for _, c := range []struct {
		p             *policy.Policy
		origin        string
		method        string
		unsafe        []string
		credentials   bool
		sent, mayRead bool
	}{
		{corsPolicy(), corsApp, "GET", nil, true, true, true},
		{corsPolicy(), corsApp, "GET", nil, false, true, true},
		{corsPolicy(), corsApp, "HEAD", nil, true, true, true},
		{corsPolicy(), corsApp, "HEAD", []string{"authorization"}, true, true, true},
		{corsPolicy(), corsAdmin, "DELETE", nil, true, true, true},
		{corsPolicy(), corsApp, "POST", []string{"authorization", "content-type"}, true, true, true},
		{corsPolicy(), corsApp, "PATCH", []string{"content-type"}, false, true, true},
		{corsPolicy(), corsApp, "GET", []string{"x-requested-with"}, true, false, false},
		{corsPolicy(), corsApp, "GET", []string{"authorization", "x-requested-with"}, true, false, false},
		{corsPolicy(), corsApp, "PURGE", nil, true, false, false},
		{corsPolicy(), "null", "GET", nil, true, true, false},
		{corsPolicy(), "null", "GET", nil, false, true, false},
		{corsPolicy(), "https://evil.example", "GET", nil, true, true, false},
		{corsPolicy(), "https://evil.example", "PUT", nil, true, false, false},
		{corsPolicy(), "https://evil.example", "GET", []string{"authorization"}, false, false, false},
		{without, corsApp, "GET", nil, false, true, true},
		{without, corsApp, "GET", nil, true, true, false},
		{without, corsApp, "PUT", []string{"content-type"}, true, false, false},
	} {
		sent, read := corsBrowser(corsRing(t, c.p, audit.Discard), c.origin, c.method, c.unsafe, c.credentials)
		if sent != c.sent || read != c.mayRead {
			t.Errorf("%s %s %q, credentials %t: sent %t, read %t; want %t, %t", c.method, c.origin, c.unsafe, c.credentials, sent, read, c.sent, c.mayRead)
		}
	}
}

// TestCORSAgainstRsCors asks both the same. Where they differ, the reason is
// given here and no other difference is accepted.
func TestCORSAgainstRsCors(t *testing.T) {
	p := corsPolicy()
	ours := corsRing(t, p, audit.Discard)
	theirs := rscors.New(rscors.Options{
		AllowedOrigins: p.App.CORS.Origins, AllowedMethods: p.App.CORS.Methods, AllowedHeaders: p.App.CORS.Headers,
		ExposedHeaders: p.App.CORS.Expose, AllowCredentials: true, MaxAge: 600, OptionsSuccessStatus: 204,
	}).Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	origins := []string{
		"", corsApp, corsAdmin, "null", "*", "https://evil.example", "http://app.example.com", corsApp + ":443", corsApp + ".", corsApp + "/",
		"https://APP.example.com", "https://evil@app.example.com", corsApp + ".evil.example", "https://app.example.com,https://app.example.com",
	}
	methods := []string{"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "put", "PURGE", "GET, PUT"}
	lists := []string{
		"", "authorization", "content-type", "authorization,content-type", "authorization, content-type", "x-secret", "authorization,x-secret",
		"Authorization", "content-type,authorization", "authorization,authorization", ",authorization,", "authorization  ,content-type",
		"accept", "range", "authorization;content-type", "*", "origin", "content-type\x00",
	}
	different := func(origin, asked, list string) string {
		switch {
		case origin == "https://APP.example.com":
			return "rs/cors folds the letter case of origins; browsers send lower case only"
		case asked == "":
			return ""
		case asked == "HEAD":
			return "ours takes HEAD for GET; Fetch never asks for it to be listed"
		case asked == "OPTIONS":
			return "rs/cors always allows the method OPTIONS; ours only if listed"
		case list == "Authorization" || list == "content-type,authorization" || list == "authorization,authorization" || list == "authorization  ,content-type":
			return "rs/cors wants the list as browsers write it: lower case, sorted, no blanks; ours reads any list of RFC 9110"
		case list == "accept" || list == "range":
			return "ours lets a browser ask for CORS-safelisted names without their being listed"
		}
		return ""
	}
	allows := func(h http.Handler, method string, header http.Header) string {
		w := corsAsk(h, method, header.Clone())
		return strings.Join(w.Header()["Access-Control-Allow-Origin"], "|") + " " + w.Header().Get("Access-Control-Allow-Credentials")
	}
	asked, differed := 0, map[string]int{}
	for _, origin := range origins {
		header := http.Header{}
		if origin != "" {
			header.Set("Origin", origin)
		}
		for _, method := range []string{"GET", "POST", "DELETE"} {
			asked++
			if a, b := allows(ours, method, header), allows(theirs, method, header); (a != b) != (different(origin, "", "") != "") {
				t.Errorf("%s from %q: ours %q, rs/cors %q", method, origin, a, b)
			}
		}
		if origin == "" {
			continue // OPTIONS without Origin is no preflight to us
		}
		for _, method := range methods {
			for _, list := range lists {
				header := corsPreflight(origin, method)
				if list != "" {
					header.Set("Access-Control-Request-Headers", list)
				}
				asked++
				a, b := allows(ours, "OPTIONS", header), allows(theirs, "OPTIONS", header)
				if a == b {
					continue
				}
				reason := different(origin, method, list)
				if reason == "" {
					t.Errorf("preflight from %q for %q with %q: ours %q, rs/cors %q", origin, method, list, a, b)
				}
				differed[reason]++
			}
		}
	}
	if asked < 2000 || len(differed) != 5 {
		t.Errorf("%d requests, differences %v: the comparison is not whole", asked, differed)
	}
}

func TestCORSRefusesCarelessOrigins(t *testing.T) {
	for _, o := range []string{"*", "null", "https://*.example.com", "app.example.com", "https://app.example.com/", "https://App.example.com", "https://app.example.com:443"} {
		for _, credentials := range []bool{true, false} {
			p := corsPolicy()
			p.App.CORS.Origins = []string{o}
			p.App.CORS.Credentials = credentials
			if _, err := app.New(p, http.NotFoundHandler(), app.Deps{}); err == nil || !strings.Contains(err.Error(), "app.cors.origins[0]") {
				t.Errorf("%q: %v", o, err)
			}
		}
	}
}

// TestCORSOverTheWire: a real client and server, answers of other controls too.
func TestCORSOverTheWire(t *testing.T) {
	p := corsPolicy()
	s := headersRing(t, p, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") })
	res, body := headersGet(t, s, "GET", "/", http.Header{"Origin": {s.URL}})
	if res.StatusCode != 200 || body != "ok" || corsGranted(res.Header) != nil {
		t.Errorf("the site's own origin, with its port: %d %q", res.StatusCode, body)
	}
	res, _ = headersGet(t, s, "GET", "/", http.Header{"Origin": {strings.Replace(s.URL, "https:", "http:", 1)}})
	if res.StatusCode != 403 {
		t.Errorf("http twin of the site: %d", res.StatusCode)
	}
	res, _ = headersGet(t, s, "GET", "/private/", http.Header{"Origin": {corsApp}})
	if res.StatusCode != 401 || res.Header.Get("Access-Control-Allow-Origin") != corsApp {
		t.Errorf("a listed page cannot read the 401: %d %q", res.StatusCode, corsGranted(res.Header))
	}
}

func TestCORSAllocatesNothing(t *testing.T) {
	for name, header := range map[string]http.Header{
		"no Origin": {},
		"listed":    {"Origin": {corsApp}},
		"own":       {"Origin": {"https://127.0.0.1"}},
	} {
		r := httptest.NewRequest("GET", "https://127.0.0.1/", nil)
		r.Header = header
		if with, without := headersAllocs(t, corsPolicy(), r), headersAllocs(t, corsPolicy(), r, "app/cors"); with != without {
			t.Errorf("%s: app/cors allocates %v times a request", name, with-without)
		}
	}
}

func BenchmarkCORS(b *testing.B) {
	for name, origin := range map[string]string{"none": "", "listed": corsApp, "foreign": "https://evil.example"} {
		b.Run(name, func(b *testing.B) {
			ring, err := app.New(corsPolicy(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200) }), app.Deps{})
			if err != nil {
				b.Fatal(err)
			}
			r := httptest.NewRequest("GET", "https://127.0.0.1/", nil)
			if origin != "" {
				r.Header.Set("Origin", origin)
			}
			sink := &headersSink{h: make(http.Header, 64)}
			b.ReportAllocs()
			for b.Loop() {
				ring.ServeHTTP(sink, r)
			}
		})
	}
}
