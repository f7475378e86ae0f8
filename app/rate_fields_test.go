package app_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/policy"
)

// rateItems reads a field of the draft with a parser of structured fields that
// is not ours (RFC 9651).
func rateItems(t *testing.T, res *http.Response, field string) map[string]map[string]int64 {
	t.Helper()
	list, err := httpsfv.UnmarshalList(res.Header.Values(field))
	if err != nil {
		t.Fatalf("%s: %q is no structured list: %v", field, res.Header.Values(field), err)
	}
	out := map[string]map[string]int64{}
	for _, member := range list {
		item := member.(httpsfv.Item)
		params := map[string]int64{}
		for _, name := range item.Params.Names() {
			v, _ := item.Params.Get(name)
			params[name] = v.(int64)
		}
		out[item.Value.(string)] = params
	}
	return out
}

func TestRateFields(t *testing.T) {
	f := newRateFixture(t, policy.Default(), app.Deps{})
	for i := range 20 {
		res := f.get(rateAlice, "/api/auth/login")
		got := fmt.Sprint(res.StatusCode, rateItems(t, res, "RateLimit"), rateItems(t, res, "RateLimit-Policy"))
		want := fmt.Sprintf("204 map[auth:map[r:%d t:45] global:map[r:%d t:2]] map[auth:map[q:20 w:900] global:map[q:600 w:900]]", 19-i, 599-i)
		if got != want {
			t.Fatalf("request %d:\ngot  %s\nwant %s", i+1, got, want)
		}
		// Who reads only the first finds the class that is used up first.
		for _, field := range []string{"RateLimit", "RateLimit-Policy"} {
			if first := res.Header.Get(field); !strings.HasPrefix(first, `"auth"`) {
				t.Errorf("%s begins with %s, want auth", field, first)
			}
		}
		for name := range res.Header {
			if strings.HasPrefix(name, "X-Rate") || strings.HasPrefix(name, "Ratelimit-R") {
				t.Errorf("the answer has %s", name)
			}
		}
	}
	// Other paths count in global alone.
	res := f.get(rateAlice, "/api/notes")
	if got := fmt.Sprint(rateItems(t, res, "RateLimit"), rateItems(t, res, "RateLimit-Policy")); got !=
		"map[global:map[r:579 t:2]] map[global:map[q:600 w:900]]" {
		t.Error(got)
	}
}

// More values than are kept: each is right all the same.
func TestRateFieldsOfLargeClass(t *testing.T) {
	p := policy.Default()
	p.App.Limits["global"] = policy.Limit{Requests: 20_000, Per: time.Hour}
	f := newRateFixture(t, p, app.Deps{})
	for i := range 10_000 {
		want := fmt.Sprintf(`"global";r=%d;t=1`, 19_999-i)
		if got := f.get(rateAlice, "/").Header.Get("RateLimit"); got != want {
			t.Fatalf("request %d: got %s, want %s", i+1, got, want)
		}
	}
}

func TestRateValue(t *testing.T) {
	i := slices.IndexFunc(app.Controls(), func(c app.Control) bool { return c.ID == "app/rate" })
	value := app.Controls()[i].Value
	p := policy.Default()
	p.App.Limits["search"] = policy.Limit{Requests: 5, Per: time.Second, Paths: []string{"/api/{kind}/search"}}
	for pattern, want := range map[string]string{
		"":                     "auth 20 in 15m under /api/auth/; search 5 in 1s under /api/{kind}/search; global 600 in 15m",
		"/":                    "auth 20 in 15m under /api/auth/; search 5 in 1s under /api/{kind}/search; global 600 in 15m",
		"/api/auth/login":      "auth 20 in 15m; global 600 in 15m",
		"/api/notes/search":    "search 5 in 1s; global 600 in 15m",
		"/api/notes/{id}/more": "global 600 in 15m",
	} {
		if got := value(p, &app.Route{Pattern: pattern}); got != want {
			t.Errorf("%q: got %q, want %q", pattern, got, want)
		}
	}
}
