package app_test

import (
	"bufio"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"github.com/ringwall/ringwall/app"
)

// lineWriter takes header fields one by one, as the edge's server does.
type lineWriter struct {
	*httptest.ResponseRecorder
	fields http.Header
}

func (w *lineWriter) AddField(name string, values []string) {
	w.fields[name] = append(w.fields[name], values...)
}

func (w *lineWriter) AddLines(lines string) {
	h, err := textproto.NewReader(bufio.NewReader(strings.NewReader(lines + "\r\n"))).ReadMIMEHeader()
	if err != nil {
		panic(err)
	}
	for name, v := range h {
		w.fields[name] = append(w.fields[name], v...)
	}
}

func (w *lineWriter) WriteHeader(status int) {
	if status >= 200 {
		for name, v := range w.Header() {
			w.fields[name] = append(w.fields[name], v...)
		}
	}
	w.ResponseRecorder.WriteHeader(status)
}

// TestFieldsAreTheSameWithoutAMap: an answer has the same header whether the
// server takes it as a map or line by line, and none of it twice.
func TestFieldsAreTheSameWithoutAMap(t *testing.T) {
	set := func(pairs ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(pairs); i += 2 {
				w.Header().Add(pairs[i], pairs[i+1])
			}
		}
	}
	for _, tt := range []struct {
		name    string
		handler http.HandlerFunc
		path    string
		header  []string
		outside []string // what is set in front of the ring
	}{
		{name: "nothing", handler: set()},
		{name: "owned headers", handler: set("X-Frame-Options", "ALLOWALL", "Server", "x", "Content-Security-Policy", "x", "X-Request-Id", "x", "RateLimit", "x")},
		{name: "odd letters", handler: func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["x-frame-OPTIONS"], w.Header()["x-own"] = []string{"ALLOWALL"}, []string{"1"}
		}},
		{name: "its own", handler: set("X-Own", "1", "X-Own", "2", "Vary", "Cookie", "Cache-Control", "max-age=60", "Content-Type", "text/css")},
		{name: "a cookie", handler: set("Set-Cookie", "a=b", "Cache-Control", "public", "Expires", "x", "Pragma", "x")},
		{name: "credentials", handler: set("Cache-Control", "public"), header: []string{"Authorization", "Basic eA=="}},
		{name: "an error of the handler", handler: func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "secret", 500) }},
		{name: "a refused path", handler: set(), path: "/a/../b"},
		{name: "another origin", handler: set("Vary", "Origin"), header: []string{"Origin", "https://elsewhere.example"}},
		{name: "set outside", handler: set("X-Own", "1"), outside: []string{"Connection", "close", "X-Own", "0", "X-Frame-Options", "ALLOWALL", "Vary", "X"}},
	} {
		ring, err := app.New(headersPolicy(), tt.handler, app.Deps{Verifier: callers})
		if err != nil {
			t.Fatal(err)
		}
		ask := func(w http.ResponseWriter) {
			r := httptest.NewRequest(http.MethodGet, "https://127.0.0.1"+max(tt.path, "/"), nil)
			for i := 0; i < len(tt.header); i += 2 {
				r.Header.Set(tt.header[i], tt.header[i+1])
			}
			for i := 0; i < len(tt.outside); i += 2 {
				w.Header().Set(tt.outside[i], tt.outside[i+1])
			}
			ring.ServeHTTP(w, r)
		}
		asMap, asLines := httptest.NewRecorder(), &lineWriter{httptest.NewRecorder(), http.Header{}}
		ask(asMap)
		ask(asLines)
		want, got := told(asMap.Result().Header), told(asLines.fields)
		if !slices.Equal(want, got) || asMap.Code != asLines.Code {
			t.Errorf("%s: %d\n%s\nline by line, %d\n%s\nas a map", tt.name, asLines.Code, strings.Join(got, "\n"), asMap.Code, strings.Join(want, "\n"))
		}
	}
}

// told are the fields of a header, but for what is never the same.
func told(h http.Header) (out []string) {
	for _, name := range slices.Sorted(maps.Keys(h)) {
		if name != "X-Request-Id" && name != "Ratelimit" {
			out = append(out, fmt.Sprintf("%s: %q", name, h[name]))
		} else {
			out = append(out, fmt.Sprintf("%s: %d of them", name, len(h[name])))
		}
	}
	return out
}
