package app_test

import (
	"encoding/csv"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// notRegistered are owned headers that IANA's registry does not have, with
// where each is defined.
var notRegistered = map[string]string{
	"Access-Control-Allow-Private-Network": "Private Network Access, draft of the WICG, 3.1; withdrawn for Local Network Access; owned so that it is removed",
	"RateLimit":                            "draft-ietf-httpapi-ratelimit-headers",
	"RateLimit-Policy":                     "draft-ietf-httpapi-ratelimit-headers",
	"RateLimit-Limit":                      "the same, up to version 06; owned so that it is removed",
	"RateLimit-Remaining":                  "the same",
	"RateLimit-Reset":                      "the same",
	"X-RateLimit-Limit":                    "common usage, as in express-rate-limit's legacyHeaders; owned so that it is removed",
	"X-RateLimit-Remaining":                "the same",
	"X-RateLimit-Reset":                    "the same",
	"X-Rate-Limit-Limit":                   "the same",
	"X-Rate-Limit-Remaining":               "the same",
	"X-Rate-Limit-Reset":                   "the same",
	"X-DNS-Prefetch-Control":               "Chromium design document \"DNS prefetching\"; helmet 8",
	"X-Download-Options":                   "Internet Explorer 8, \"Comprehensive Protection\"; helmet 8",
	"X-Permitted-Cross-Domain-Policies":    "Adobe cross-domain policy file specification 2.0, 2; helmet 8",
	"X-Request-Id":                         "common usage; no standard",
	"X-XSS-Protection":                     "Internet Explorer 8, \"XSS Filter\"; helmet 8",
}

// disclosed are owned so that they are removed. The names are in the OWASP
// Secure Headers Project's list of headers to remove (ci/headers_remove.json,
// 2026-07-19).
var disclosed = strings.Fields(`
	Powered-By X-AspNet-Version X-AspNetMvc-Version X-BEServer X-CF-Powered-By X-CMS X-FEServer X-Framework X-Generated-By
	X-Generator X-Joomla-Version X-OWA-Version X-Php-Version X-Powered-By X-Powered-By-Plesk X-Powered-CMS
	X-Server-Powered-By X-Umbraco-Version X-Varnish-Backend X-Varnish-Server`)

// ownedRegistry reads IANA's list: canonical name to status.
func ownedRegistry(t *testing.T) map[string]string {
	t.Helper()
	f, err := os.Open("testdata/iana-http-fields.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.Comment = '#'
	rows, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	registry := map[string]string{}
	for _, row := range rows[1:] {
		registry[http.CanonicalHeaderKey(row[0])] = row[1]
	}
	if len(registry) < 200 || registry["Strict-Transport-Security"] != "permanent" {
		t.Fatalf("the list has %d names: it is not whole", len(registry))
	}
	return registry
}

// ownedMistakes says what is wrong with the headers that controls own.
func ownedMistakes(registry map[string]string, controls []app.Control) (mistakes []string) {
	excused := map[string]bool{}
	for name := range notRegistered {
		excused[http.CanonicalHeaderKey(name)] = true
	}
	for _, name := range disclosed {
		excused[http.CanonicalHeaderKey(name)] = true
	}
	owner := map[string]string{}
	for _, c := range controls {
		for _, name := range c.Owns {
			key := http.CanonicalHeaderKey(name)
			switch status := registry[key]; {
			case owner[key] != "":
				mistakes = append(mistakes, fmt.Sprintf("%s and %s both own %s", owner[key], c.ID, name))
			case status == "" && !excused[key]:
				mistakes = append(mistakes, fmt.Sprintf("%s owns %s, which is no header that IANA knows", c.ID, name))
			case status == "obsoleted" || status == "deprecated":
				mistakes = append(mistakes, fmt.Sprintf("%s owns %s, which is %s", c.ID, name, status))
			}
			owner[key] = c.ID
		}
		if c.Static != nil {
			for name := range c.Static(policy.Default()) {
				if owner[http.CanonicalHeaderKey(name)] != c.ID {
					mistakes = append(mistakes, fmt.Sprintf("%s sets %s and does not own it", c.ID, name))
				}
			}
		}
	}
	return mistakes
}

// TestOwnedHeadersAreReal holds for every control, present and future: it owns
// headers that exist, alone.
func TestOwnedHeadersAreReal(t *testing.T) {
	for _, m := range ownedMistakes(ownedRegistry(t), app.Controls()) {
		t.Error(m)
	}
}

func TestOwnedHeadersExceptionsAreNeeded(t *testing.T) {
	registry := ownedRegistry(t)
	var owned []string
	for _, c := range app.Controls() {
		for _, name := range c.Owns {
			owned = append(owned, http.CanonicalHeaderKey(name))
		}
	}
	exceptions := slices.Clone(disclosed)
	for name := range notRegistered {
		exceptions = append(exceptions, name)
	}
	for _, name := range exceptions {
		key := http.CanonicalHeaderKey(name)
		if registry[key] != "" {
			t.Errorf("%s is registered by now: take it off the list", name)
		}
		if !slices.Contains(owned, key) {
			t.Errorf("no control owns %s: take it off the list", name)
		}
	}
}

// TestTrapMisspeltHeader: a project once set Referer-Policy, and its unit test
// repeated the misspelling. Browsers obey Referrer-Policy.
func TestTrapMisspeltHeader(t *testing.T) {
	registry := ownedRegistry(t)
	for want, c := range map[string]app.Control{
		"Referer-Policy, which is no header": {Owns: []string{"Referer-Policy"}},
		"both own vary":                      {Owns: []string{"Vary", "vary"}},
		"does not own it":                    {Static: func(*policy.Policy) map[string]string { return map[string]string{"Refresh": "1"} }},
		"is obsoleted":                       {Owns: []string{"P3p"}},
	} {
		c.Meta = check.Meta{ID: "app/wrong"}
		if got := strings.Join(ownedMistakes(registry, []app.Control{c}), "; "); !strings.Contains(got, want) {
			t.Errorf("%v: got %q, want %q in it", c.Owns, got, want)
		}
	}
}

// TestOwnedHeadersInAnyLetters: a handler that writes into the map by hand
// neither keeps nor doubles an owned header, and loses none of its own.
func TestOwnedHeadersInAnyLetters(t *testing.T) {
	s := listServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h["x-frame-options"], h["cAcHe-cOnTrOl"], h["server"] = []string{"ALLOWALL"}, []string{"public"}, []string{"secret/1.0"}
		h["x-own"], h["X-Own"] = []string{"a"}, []string{"b"}
		w.WriteHeader(http.StatusOK)
	}))
	c := listClient(t, s)
	res, err := c.Do(t.Context(), probe.Request{Target: "/api/notes", Token: c.Token("")})
	if err != nil {
		t.Fatal(err)
	}
	if got := res.Header.Values("X-Frame-Options"); !slices.Equal(got, []string{"DENY"}) {
		t.Errorf("X-Frame-Options: %q", got)
	}
	if got := res.Header.Values("Cache-Control"); !slices.Equal(got, []string{"no-store"}) {
		t.Errorf("Cache-Control: %q", got)
	}
	if got := res.Header.Values("Server"); len(got) > 0 {
		t.Errorf("Server: %q", got)
	}
	if got := slices.Sorted(slices.Values(res.Header.Values("X-Own"))); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("X-Own: %q", got)
	}
}
