package app_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/ringwall/ringwall/app"
)

func TestNoStore(t *testing.T) {
	p := headersPolicy()
	public := http.Header{
		"Cache-Control": {"public, max-age=600"}, "Cdn-Cache-Control": {"max-age=600"}, "Surrogate-Control": {"max-age=600"},
		"Expires": {"Thu, 01 Jan 2099 00:00:00 GMT"}, "Pragma": {"x"}, "X-Accel-Expires": {"600"}, "Etag": {`"v1"`}, "Last-Modified": {"Thu, 01 Jan 2026 00:00:00 GMT"},
	}
	s := headersRing(t, p, func(w http.ResponseWriter, r *http.Request) {
		for name, v := range public {
			w.Header()[name] = v
		}
		if r.URL.Path == "/login" {
			w.Header().Set("Set-Cookie", "session=1")
		}
		if r.URL.Path == "/private/gone" {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusGone)
		}
	})
	alice := http.Header{"Authorization": {"Bearer token-of-alice"}}
	for _, c := range []struct {
		name, path string
		header     http.Header
		stored     bool
	}{
		{"public answer", "/", nil, true},
		{"public answer to a cookie", "/", http.Header{"Cookie": {"theme=dark"}}, true},
		{"signed-in caller", "/private/", alice, false},
		{"signed-in caller, error of the handler", "/private/gone", alice, false},
		{"signed-in caller on a public path", "/", alice, false},
		{"answer with a cookie", "/login", nil, false},
	} {
		res, _ := headersGet(t, s, "GET", c.path, c.header)
		if got := res.Header["Etag"]; !slices.Equal(got, public["Etag"]) {
			t.Errorf("%s: ETag %q: it serves If-Match too", c.name, got)
		}
		for name, v := range public {
			got, want := res.Header[name], v
			switch {
			case name == "Etag" || name == "Last-Modified" || c.stored:
			case name == "Cache-Control":
				want = []string{"no-store"}
			default:
				want = nil
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: %s %q, want %q", c.name, name, got, want)
			}
		}
	}
}

// TestNoStoreForCredentialsThatNobodyChecked: without app/authentication the
// handler checks them, and its answer is one caller's all the same.
func TestNoStoreForCredentialsThatNobodyChecked(t *testing.T) {
	ring, err := app.NewWithout(headersPolicy(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "public")
	}), app.Deps{}, "app/authentication")
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", "https://127.0.0.1/", nil)
	r.Header.Set("Authorization", "Basic YTpi")
	w := httptest.NewRecorder()
	ring.ServeHTTP(w, r)
	if got := w.Header().Get("Cache-Control"); w.Code != 200 || got != "no-store" {
		t.Errorf("%d, Cache-Control %q", w.Code, got)
	}
}
