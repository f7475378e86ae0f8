package outside_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/check/outside"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/internal/porttest"
)

// TestNoCheckSendsMoreThanItSays holds each to its Most at servers that make it search
// for longest: what it looks for is where it looks last, or nowhere, and nothing of what
// it sends settles anything.
func TestNoCheckSendsMoreThanItSays(t *testing.T) {
	key := map[string]any{"kty": "OKP", "x": "AAAA"}
	var set struct {
		Keys []map[string]any `json:"keys"`
	}
	for range 5 {
		set.Keys = append(set.Keys, key)
	}
	keys, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	most := map[string]int64{}
	for name, answer := range map[string]http.HandlerFunc{
		"the last of all": func(w http.ResponseWriter, r *http.Request) { // sign-in, guarded path, keys, and a limit that never ends
			switch path := r.URL.Path; {
			case path == "/users/login" && r.Method == http.MethodPost:
				w.WriteHeader(http.StatusUnauthorized)
				fmt.Fprint(w, `{"error":"no such account"}`)
			case path == "/jwks.json":
				_, _ = w.Write(keys)
			case path == "/api/v1/me":
				w.WriteHeader(http.StatusUnauthorized)
			case r.Method == http.MethodPost:
				w.WriteHeader(http.StatusBadRequest)
			default:
				w.WriteHeader(http.StatusNotFound)
			}
		},
		"nothing there":    func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNotFound) },
		"all is forbidden": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusForbidden) },
		"all is served":    func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "{}") },
		"hung up on some": func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path == "/api/v1/me":
				w.WriteHeader(http.StatusUnauthorized)
			case strings.Contains(r.URL.Path, ".") || r.ContentLength > 1<<20 || r.Host == "ringwall-check.invalid":
				panic(http.ErrAbortHandler)
			}
		},
		"a limit that is told": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/api/v1/me" {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			w.Header().Set("RateLimit", `"all";r=100;t=60`)
			w.WriteHeader(http.StatusUnauthorized)
		},
		"closed after each": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Connection", "close")
			w.WriteHeader(http.StatusNotFound)
		},
	} {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			answer(w, r)
		}))
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.StartTLS()
		_, port, err := net.SplitHostPort(s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range outside.Checks() {
			if c.Afar || c.Manner == outside.Intrusive {
				continue
			}
			client, err := probe.New("https://example.com:"+port, probe.Options{Address: "127.0.0.1", TLS: s.Client().Transport.(*http.Transport).TLSClientConfig,
				Tokens: map[string]string{"": "eyJ.eyJ.AAAA"}, Refused: []string{"a.b.c", "d.e.f"}, Timeout: 5 * time.Second, MaxRequests: 1000})
			if err != nil {
				t.Fatal(err)
			}
			target := outside.NewTarget(client)
			target.PlainPort = strconv.Itoa(porttest.Port(t))
			f := c.Verify(t.Context(), target)
			if most[c.ID] = max(most[c.ID], client.Sent()); client.Sent() > int64(c.Most) {
				t.Errorf("%s, %s: %d connections, and it says at most %d (%v, %s)", name, c.ID, client.Sent(), c.Most, f.Verdict, f.Got)
			}
		}
		s.Close()
	}
	for _, c := range outside.Checks() {
		t.Logf("%-28s %3d of %3d", c.ID, most[c.ID], c.Most)
	}
}
