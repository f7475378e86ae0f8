package identity_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestJWKSHandler(t *testing.T) {
	r, _ := ringAt(t, nil)
	get := func(method, etag string) *http.Response {
		req := httptest.NewRequest(method, "/.well-known/jwks.json", nil)
		if etag != "" {
			req.Header.Set("If-None-Match", etag)
		}
		w := httptest.NewRecorder()
		r.JWKS().ServeHTTP(w, req)
		return w.Result()
	}
	res := get("GET", "")
	var body [4096]byte
	n, _ := res.Body.Read(body[:])
	if res.StatusCode != 200 || string(body[:n]) != string(r.Keys().JWKS()) {
		t.Errorf("%d %s", res.StatusCode, body[:n])
	}
	for name, want := range map[string]string{"Content-Type": "application/jwk-set+json", "Cache-Control": "public, max-age=300"} {
		if got := res.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	etag := res.Header.Get("Etag")
	if res := get("HEAD", ""); res.StatusCode != 200 || res.ContentLength != int64(n) {
		t.Errorf("HEAD: %d, %d bytes", res.StatusCode, res.ContentLength)
	}
	if res := get("GET", etag); res.StatusCode != 304 {
		t.Errorf("with its own tag: %d", res.StatusCode)
	}
	if err := r.Rotate(); err != nil {
		t.Fatal(err)
	}
	if res := get("GET", etag); res.StatusCode != 200 || res.Header.Get("Etag") == etag {
		t.Errorf("with the tag of the set before: %d", res.StatusCode)
	}
}
