package app_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"

	"github.com/ringwall/ringwall/app"
)

// The form is that of a W3C trace-id (Trace Context, 3.2.2.3).
var requestIDForm = regexp.MustCompile(`^[0-9a-f]{32}$`)

func TestRequestID(t *testing.T) {
	const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	seen := map[string]bool{}
	for _, sent := range [][]string{nil, {"mine"}, {"0af7651916cd43dd8448eb211c80319c"}, {"a", "b"}, {"a\tb"}, {""}} {
		l := &protocolLog{answer: func(w http.ResponseWriter, r *http.Request) {
			r.Header["X-Request-Id"][0] += " changed by the handler"
			w.Header().Set("X-Request-Id", "the handler's")
		}}
		var exchange, upstream string
		inner := l.answer
		l.answer = func(w http.ResponseWriter, r *http.Request) {
			exchange, upstream = app.FromContext(r.Context()).ID, r.Header.Get("X-Request-Id")
			if n := len(r.Header["X-Request-Id"]); n != 1 {
				t.Errorf("the handler saw %d ids", n)
			}
			if r.Header.Get("Traceparent") != traceparent {
				t.Error("traceparent was changed")
			}
			inner(w, r)
		}
		r := httptest.NewRequest("GET", "http://localhost/", nil)
		r.Header["X-Request-Id"] = sent
		r.Header.Set("Traceparent", traceparent)
		w := httptest.NewRecorder()
		protocolRing(t, l).ServeHTTP(w, r)
		id := w.Header()["X-Request-Id"]
		if len(id) != 1 || !requestIDForm.MatchString(id[0]) || seen[id[0]] {
			t.Fatalf("sent %q: answered %q", sent, id)
		}
		seen[id[0]] = true
		if exchange != id[0] || upstream != id[0] {
			t.Errorf("the exchange has %q, the handler %q, the answer %q", exchange, upstream, id[0])
		}
	}
}

// Refused requests have an id too, and say it.
func TestRequestIDOfRefusals(t *testing.T) {
	l := &protocolLog{}
	w := httptest.NewRecorder()
	protocolRing(t, l).ServeHTTP(w, httptest.NewRequest("GET", "http://localhost/a;b", nil))
	id := w.Header().Get("X-Request-Id")
	if w.Code != 400 || !requestIDForm.MatchString(id) {
		t.Errorf("answered %d with id %q", w.Code, id)
	}
	if len(l.events) != 1 || l.events[0].RequestID != id {
		t.Errorf("events %+v, want one with id %s", l.events, id)
	}
}
