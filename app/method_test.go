package app_test

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

func TestMethod(t *testing.T) {
	for method, status := range map[string]int{
		"GET": 200, "HEAD": 200, "POST": 200, "PUT": 200, "PATCH": 200, "DELETE": 200, "OPTIONS": 200,
		"TRACE": 405, "CONNECT": 405,
		"get": 501, "Get": 501, "BREW": 501, "PROPFIND": 501, "QUERY": 501, "PRI": 501, "TRACK": 501, "G": 501,
		strings.Repeat("A", 1000): 501,
	} {
		l := &protocolLog{}
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", "http://localhost/", nil)
		r.Method = method
		r.Header.Set("X-Canary", "canary")
		protocolRing(t, l).ServeHTTP(w, r)
		if w.Code != status {
			t.Errorf("%.20s: answered %d, want %d", method, w.Code, status)
		}
		if strings.Contains(w.Body.String(), "canary") {
			t.Errorf("%.20s: a request header was echoed: %s", method, w.Body)
		}
		if served := status == 200; served != (len(l.seen) == 1) || served == slices.Contains(l.kinds(), "protocol.refused app/method") {
			t.Errorf("%.20s: the handler saw %d, events %v", method, len(l.seen), l.kinds())
		}
		// RFC 9110, 15.5.6: a 405 must have Allow.
		if allow := w.Header().Get("Allow"); (allow == "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS") != (status == 405) {
			t.Errorf("%.20s: Allow %q", method, allow)
		}
	}
}

func TestTrapMethodOverride(t *testing.T) {
	for header, status := range map[string]int{
		"X-HTTP-Method-Override": 400, "x-http-method-override": 400, "X-HTTP-Method": 400, "X-Method-Override": 400,
		"X_HTTP_Method_Override": 200, "X-Method.Override": 200, // dropped, as all aliases are
	} {
		for _, method := range []string{"GET", "POST"} {
			l := &protocolLog{}
			s := protocolServer(t, l)
			got := protocolSend(t, s, method+" / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"+header+": DELETE\r\n\r\n")
			if !slices.Equal(got, []int{status}) {
				t.Errorf("%s with %s: answered %v, want %d", method, header, got, status)
			}
			if status != 200 && len(l.seen) > 0 {
				t.Errorf("%s with %s reached the handler", method, header)
			}
			for _, r := range l.seen {
				for name := range r.Header {
					if strings.Contains(strings.ToLower(name), "method") {
						t.Errorf("%s with %s: the handler saw %s", method, header, name)
					}
				}
			}
		}
	}
}
