package app_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
)

// TestTrapRefusalLostInReset: a server that refuses a body and closes at once
// makes the kernel answer the rest of it with a reset, which can overtake the
// refusal. The client then sees a broken connection instead of 413.
func TestTrapRefusalLostInReset(t *testing.T) {
	s := listServer(t, http.HandlerFunc(unprotected))
	c := s.Client()
	c.Transport.(*http.Transport).DisableKeepAlives = true // net/http by itself takes care of the others
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 10 {
				req, err := http.NewRequest("POST", s.URL+"/api/notes", strings.NewReader(strings.Repeat("x", 300_000)))
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("Content-Type", "application/json")
				res, err := c.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				res.Body.Close()
				if res.StatusCode != http.StatusRequestEntityTooLarge {
					t.Errorf("%d, want 413", res.StatusCode)
				}
			}
		})
	}
	all.Wait()
}
