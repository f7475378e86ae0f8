package app_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/audit"
)

func TestContentType(t *testing.T) {
	ring := inputRing(t, inputPolicy(), app.Deps{}, inputRead)
	for _, test := range []struct {
		media string
		path  string
		want  int
	}{
		{"application/json", "/", 200},
		{"application/json; charset=utf-8", "/", 200},
		{"application/json;charset=UTF-8", "/", 200},
		{`Application/JSON ; charset="utf-8"`, "/", 200}, // RFC 9110, 8.3.1: all the same
		{"application/json; profile=x", "/", 200},
		{"application/x-www-form-urlencoded", "/", 200},
		{"multipart/form-data; boundary=b", "/upload", 200},
		{"application/octet-stream", "/upload", 200},

		{"application/json; charset=utf-16", "/", 415},
		{"application/json; charset=ISO-8859-1", "/", 415},
		{"application/x-www-form-urlencoded; charset=shift_jis", "/", 415},
		{"application/json; charset=utf-8; charset=utf-16", "/", 415},

		// Package mime reads RFC 2231, and most others do not.
		{"application/json; charset=utf-7; charset*=us-ascii''utf-8", "/", 415},
		{"application/json; charset*0=utf; charset*1=-8", "/", 415},
		{"application/json; charset=utf-7; charset*0*=utf-8''utf-8", "/", 415},
		{"application/json; charset*=utf-8''utf-7", "/", 415},
		{"application/x-www-form-urlencoded; charset*=us-ascii''utf-8; charset=utf-7", "/", 415},
		{`application/json; version="1; charset=utf-7"`, "/", 415},
		{`application/json; version="1"`, "/", 200},
		{`application/json; profile="a=b"`, "/", 200}, // RFC 9110, 5.6.6
		{`application/json; profile="https://example.com/?v=1&w=2"; charset=utf-8`, "/", 200},
		{`application/x-www-form-urlencoded; v="="`, "/", 200},
		{`application/json; version="charset=utf-7"`, "/", 415},
		{`application/json; version="CharSet = utf-7"`, "/", 415},
		{`application/json; x="charset"`, "/", 415},
		{"application/json; xcharset=utf-7", "/", 415},
		{`application/json; version="1, charset=utf-7"`, "/", 415},
		{`application/json; version="1\" charset=utf-7"`, "/", 415},
		{"application/json; profile=a=b", "/", 415}, // not quoted
		{"application/json, text/plain", "/", 415},
		{"application/json;;", "/", 415}, // lenient readers would take it, strict ones not
		{"application/json; charset", "/", 415},
		{"application/jsonp", "/", 415},
		{"application/problem+json", "/", 415}, // +json only by name
		{"application", "/", 415},
		{"json", "/", 415},
		{"*/*", "/", 415},
		{"text/plain", "/", 415}, // what a form of another site can send
		{"text/plain; application/json", "/", 415},
		{"multipart/form-data; boundary=b", "/", 415},
		{"application/json", "/upload", 415},
		{"application/json\x00", "/", 415},
		{"application/json ; charset=utf-8\t", "/", 200},
		{"", "/", 415},
	} {
		body := "{}"
		if w := inputDo(ring, "POST", test.path, test.media, body); w.Code != test.want {
			t.Errorf("%s as %q: %d, want %d: %s", test.path, test.media, w.Code, test.want, w.Body)
		}
		if w := inputDo(ring, "POST", test.path, test.media, ""); w.Code != 200 {
			t.Errorf("without a body, as %q: %d, want 200", test.media, w.Code)
		}
	}
	for _, method := range []string{"GET", "DELETE", "PUT", "PATCH"} {
		if w := inputDo(ring, method, "/", "text/plain", "x"); w.Code != 415 {
			t.Errorf("%s with a body as text/plain: %d, want 415", method, w.Code)
		}
		if w := inputDo(ring, method, "/", "application/json", "{}"); w.Code != 200 {
			t.Errorf("%s with a JSON body: %d, want 200", method, w.Code)
		}
	}
}

// RFC 9110, 15.5.16: Accept tells which types, Accept-Encoding which codings,
// would have been taken.
func TestContentTypeRefusalTells(t *testing.T) {
	var events inputEvents
	ring := inputRing(t, inputPolicy(), app.Deps{Audit: &events}, inputRead)
	w := inputDo(ring, "POST", "/", "text/canary", "x")
	if got := w.Header().Get("Accept"); got != "application/json, application/x-www-form-urlencoded" {
		t.Errorf("Accept: %q", got)
	}
	if p := inputRefusal(t, w); strings.Contains(w.Body.String(), "canary") || !strings.HasSuffix(p.Type, "#app-content-type") {
		t.Errorf("the answer repeats the type, or is another control's: %s", w.Body)
	}
	if len(events.list) != 1 || events.list[0].Kind != audit.InputRefused || events.list[0].Control != "app/content-type" {
		t.Errorf("events: %+v", events.list)
	}
}

func TestContentTypeTwice(t *testing.T) {
	ring := inputRing(t, inputPolicy(), app.Deps{}, inputRead)
	r := httptest.NewRequest("POST", "http://localhost/", strings.NewReader("{}"))
	r.Header["Content-Type"] = []string{"application/json", "application/json"}
	w := httptest.NewRecorder()
	ring.ServeHTTP(w, r)
	if w.Code != 415 && w.Code != 400 {
		t.Errorf("two Content-Types: %d", w.Code)
	}
}

func TestContentEncoding(t *testing.T) {
	ring := inputRing(t, inputPolicy(), app.Deps{}, inputRead)
	for coding, want := range map[string]int{
		"identity": 200, "Identity": 200, "": 200,
		"gzip": 415, "br": 415, "zstd": 415, "deflate": 415, "x": 415, "identity, gzip": 415, "gzip, gzip": 415,
	} {
		r := httptest.NewRequest("POST", "http://localhost/", strings.NewReader("{}"))
		r.Header.Set("Content-Type", "application/json")
		r.Header["Content-Encoding"] = []string{coding}
		w := httptest.NewRecorder()
		ring.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("Content-Encoding %q: %d, want %d", coding, w.Code, want)
		}
		if want == 415 && w.Header().Get("Accept-Encoding") != "identity" {
			t.Errorf("Content-Encoding %q: Accept-Encoding %q", coding, w.Header().Get("Accept-Encoding"))
		}
	}
}

func TestContentTypeListMustBeBare(t *testing.T) {
	for _, bad := range []string{"json", "application/*", "*/*", "application/json; charset=utf-8", "Application/JSON", "a b/c", ""} {
		p := inputPolicy()
		p.App.ContentTypes = []string{bad}
		if _, err := app.New(p, inputRead, app.Deps{}); err == nil || !strings.Contains(err.Error(), "app/content-type") {
			t.Errorf("%q is taken as a list: %v", bad, err)
		}
		p = inputPolicy()
		p.App.Routes[0].ContentTypes = []string{bad}
		if _, err := app.New(p, inputRead, app.Deps{}); err == nil || !strings.Contains(err.Error(), "routes[0].content_types") {
			t.Errorf("%q is taken as a route's list: %v", bad, err)
		}
	}
}
