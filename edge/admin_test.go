package edge_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/ringwall/ringwall/edge"
)

func TestTrapLocalAdminPageOpenToCrossSiteRequests(t *testing.T) {
	h := edge.LoopbackOnly(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
	for _, tt := range []struct {
		name, method, host string
		header             map[string]string
		want               int
	}{
		{"curl", "GET", "127.0.0.1:9464", nil, 200},
		{"curl by name", "GET", "LOCALHOST:9464", nil, 200},
		{"curl on IPv6", "HEAD", "[::1]:9464", nil, 200},
		{"a browser's own tab", "GET", "localhost:9464", map[string]string{"Sec-Fetch-Site": "none"}, 200},
		{"the page itself", "GET", "localhost:9464", map[string]string{"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost:9464"}, 200},
		{"cross-origin post", "POST", "127.0.0.1:9464", map[string]string{"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}, 405},
		{"cross-origin get", "GET", "127.0.0.1:9464", map[string]string{"Origin": "https://evil.example"}, 403},
		{"cross-site image", "GET", "127.0.0.1:9464", map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		{"another port of this machine", "GET", "localhost:9464", map[string]string{"Sec-Fetch-Site": "same-site"}, 403},
		{"sandboxed frame", "GET", "localhost:9464", map[string]string{"Origin": "null"}, 403},
		{"DNS rebinding", "GET", "evil.example:9464", nil, 421},
		{"rebinding with a look-alike", "GET", "127.0.0.1.evil.example:9464", nil, 421},
		{"rebinding to a subdomain", "GET", "localhost.evil.example", nil, 421},
		{"no host", "GET", "", nil, 421},
	} {
		r := httptest.NewRequest(tt.method, "/metrics", nil)
		r.Host = tt.host
		for k, v := range tt.header {
			r.Header.Set(k, v)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != tt.want {
			t.Errorf("%s: status %d, want %d", tt.name, w.Code, tt.want)
		}
	}
}
