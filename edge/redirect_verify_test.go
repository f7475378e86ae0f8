package edge_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/internal/porttest"
)

func TestVerifyRedirect(t *testing.T) {
	answer := func(status int, header map[string]string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for k, v := range header {
				w.Header().Set(k, strings.NewReplacer("{host}", r.Host, "{path}", r.URL.RequestURI()).Replace(v))
			}
			w.WriteHeader(status)
		})
	}
	own := edge.Redirect(sitePolicy(), "443")
	challenged := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, edge.ChallengePath) {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		own.ServeHTTP(w, r)
	})
	const to = "https://api.example.com{path}"
	for _, tt := range []struct {
		name string
		h    http.Handler
		want check.Verdict
		got  string
	}{
		{"in force", own, check.Pass, "308"},
		{"with challenges", challenged, check.Pass, "308"},
		{"another port", edge.Redirect(sitePolicy(), "8443"), check.Pass, "308"},
		{"serves", answer(200, nil), check.Fail, "200"},
		{"refuses", answer(403, nil), check.Fail, "403"},
		{"301, which makes a GET of a POST", answer(301, map[string]string{"Location": to}), check.Fail, "301"},
		{"to any host", answer(308, map[string]string{"Location": "https://{host}{path}"}), check.Fail, "ringwall-check.invalid"},
		{"to the front page", answer(308, map[string]string{"Location": "https://api.example.com/"}), check.Fail, "another path"},
		{"to http", answer(308, map[string]string{"Location": "http://api.example.com{path}"}), check.Fail, "http://"},
		{"with HSTS", answer(308, map[string]string{"Location": to, "Strict-Transport-Security": "max-age=1"}), check.Fail, "Strict-Transport-Security"},
		{"answers every challenge", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasPrefix(r.URL.Path, edge.ChallengePath) {
				own.ServeHTTP(w, r)
			}
		}), check.Fail, "served"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := httptest.NewServer(tt.h)
			defer srv.Close()
			p := sitePolicy()
			p.Edge.Redirect = srv.Listener.Addr().String()
			f := verifyEdge(t, "edge/redirect", "https://127.0.0.1:1", nil, p)
			if f.Verdict != tt.want || !strings.Contains(f.Got, tt.got) {
				t.Errorf("%+v, want %v with %q", f, tt.want, tt.got)
			}
		})
	}
	p := sitePolicy()
	_, port, _ := net.SplitHostPort(porttest.Address(t))
	for _, redirect := range []string{fmt.Sprint("127.0.0.1:", port), "127.0.0.1:0"} {
		p.Edge.Redirect = redirect
		if f := verifyEdge(t, "edge/redirect", "https://"+porttest.Address(t), nil, p); f.Verdict != check.Unknown {
			t.Errorf("%s: %+v, want unknown", redirect, f)
		}
	}
}
