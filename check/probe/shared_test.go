package probe_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ringwall/ringwall/check/probe"
)

// TestSharedIsSentOnce: where there is one address for all, what several checks look
// at is asked once, and each has it as evidence. With an address for each, each asks.
func TestSharedIsSentOnce(t *testing.T) {
	for address, once := range map[string]bool{"[::1]:0": true, "127.0.0.1:0": false} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Skip(err)
		}
		var n, down atomic.Int32
		down.Store(1)
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n.Add(1)
			if down.Add(-1) >= 0 {
				panic(http.ErrAbortHandler)
			}
			w.Header().Set("X-Seen", r.URL.Path+r.Header.Get("Authorization"))
		}))
		s.Listener = l
		s.Start()
		defer s.Close()
		c, err := probe.New(s.URL, probe.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Shared(t.Context(), "/a", ""); err == nil {
			t.Errorf("%s: what hangs up has answered", address)
		}
		n.Store(0)
		for i := range 3 {
			log, tally := new(probe.Log), new(probe.Tally)
			res, err := c.Shared(probe.WithTally(probe.WithLog(t.Context(), log), tally), "/a", "")
			if err != nil || res.Header.Get("X-Seen") != "/a" {
				t.Fatalf("%s: %v, %v", address, res, err)
			}
			ex := log.Exchanges()
			if len(ex) != 1 || !strings.Contains(ex[0].Sent, "GET /a HTTP/1.1") || !strings.Contains(ex[0].Received, "X-Seen: /a") || len(tally.Addresses()) != 1 {
				t.Errorf("%s, time %d: evidence %+v, at %v", address, i, ex, tally.Addresses())
			}
			if sent := tally.Sent(); (sent == 0) != (once && i > 0) {
				t.Errorf("%s, time %d: %d sent", address, i, sent)
			}
		}
		if res, err := c.Shared(t.Context(), "/a", "x"); err != nil || res.Header.Get("X-Seen") != "/aBearer x" {
			t.Errorf("%s: with a token: %v, %v", address, res, err)
		}
		if got := n.Load(); (got == 2) != once {
			t.Errorf("%s: %d requests", address, got)
		}
	}
}
