package app_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/audit"
)

const timeoutShort = 50 * time.Millisecond

func timeoutSite(t testing.TB, h http.HandlerFunc, http2 bool) *answerSite {
	p := answerPolicy()
	p.App.Timeout = timeoutShort
	return answerStart(t, p, h, app.Deps{}, http2)
}

// The time itself, on a clock that does not run.
func TestTimeoutIsExact(t *testing.T) {
	for name, tt := range map[string]struct {
		work   time.Duration
		status int
	}{"just in time": {30*time.Second - 1, 200}, "late": {30*time.Second + 1, 503}, "far too late": {time.Hour, 503}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var cause, late error
				ring, err := app.New(answerPolicy(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					time.Sleep(tt.work)
					cause = context.Cause(r.Context())
					_, late = io.WriteString(w, "ok")
				}), app.Deps{})
				if err != nil {
					t.Fatal(err)
				}
				rec := httptest.NewRecorder()
				ring.ServeHTTP(rec, httptest.NewRequest("GET", "http://localhost/", nil))
				if rec.Code != tt.status {
					t.Errorf("got %d", rec.Code)
				}
				if expired := tt.status == 503; errors.Is(cause, http.ErrHandlerTimeout) != expired || errors.Is(late, http.ErrHandlerTimeout) != expired {
					t.Errorf("the cause is %v, a late write returned %v", cause, late)
				}
				if got := rec.Header().Get("X-Content-Type-Options"); got != "nosniff" {
					t.Errorf("a header of the ring is missing: %v", rec.Header())
				}
			})
		})
	}
}

// What has begun is not cut, and what derives from the request's context ends
// with it.
func TestTimeoutEndsAsTheAnswerBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var during error
		var child context.Context
		ring, err := app.New(answerPolicy(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var cancel context.CancelFunc
			child, cancel = context.WithTimeout(r.Context(), 3*time.Hour)
			context.AfterFunc(child, cancel)
			io.WriteString(w, "begun ")
			time.Sleep(time.Hour)
			during = r.Context().Err()
			io.WriteString(w, "done")
		}), app.Deps{})
		if err != nil {
			t.Fatal(err)
		}
		rec := httptest.NewRecorder()
		ring.ServeHTTP(rec, httptest.NewRequest("GET", "http://localhost/", nil))
		if rec.Code != 200 || rec.Body.String() != "begun done" || during != nil {
			t.Errorf("got %d %q; the context said %v", rec.Code, rec.Body, during)
		}
		if child.Err() == nil {
			t.Error("a context of the request outlives it")
		}
	})
}

func TestTimeoutAnswer(t *testing.T) {
	for name, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		t.Run(name, func(t *testing.T) {
			left := make(chan error, 1)
			s := timeoutSite(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Half", "1")
				<-r.Context().Done()
				left <- context.Cause(r.Context())
			}, http2)
			res, body, err := s.do(t, "GET", "/", nil)
			if err != nil || res.StatusCode != 503 || !strings.Contains(body, `"status":503`) || res.Header.Get("X-Half") != "" {
				t.Fatalf("got %v %q, %v", res, body, err)
			}
			if res.Close == http2 { // Connection: close, with HTTP/1 only
				t.Errorf("Close is %v", res.Close)
			}
			if res.Header.Get("X-Content-Type-Options") != "nosniff" || res.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("the ring's headers are missing: %v", res.Header)
			}
			if cause := <-left; !errors.Is(cause, http.ErrHandlerTimeout) {
				t.Errorf("the cause is %v", cause)
			}
			s.Close()
			if e := s.events.of(audit.RequestTimedOut); len(e) != 1 || e[0].Status != 503 || e[0].Path != "/" || e[0].RequestID == "" {
				t.Errorf("events: %+v", e)
			}
			if out := s.log.String(); !strings.Contains(out, `"http.response.status_code":503`) || !strings.Contains(out, `"ringwall.control":"app/timeout"`) {
				t.Errorf("the log says %s", out)
			}
			if got := s.ring.Stats().Denials["app/timeout"]; got != 1 {
				t.Errorf("counted %d", got)
			}
		})
	}
}

// A handler that waits for a body that does not come is freed.
func TestTimeoutUnblocksTheBody(t *testing.T) {
	for name, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		t.Run(name, func(t *testing.T) {
			left := make(chan error, 1)
			s := timeoutSite(t, func(w http.ResponseWriter, r *http.Request) {
				_, err := io.ReadAll(r.Body)
				left <- err
				io.WriteString(w, "late")
			}, http2)
			pr, pw := io.Pipe()
			defer pw.Close()
			go io.WriteString(pw, `{"a":`)
			res, body, err := s.do(t, "POST", "/", pr, "Content-Type", "application/json")
			if err != nil || res.StatusCode != 503 || strings.Contains(body, "late") {
				t.Errorf("got %v %q, %v", res, body, err)
			}
			select {
			case err := <-left:
				if err == nil {
					t.Error("the read ended without an error")
				}
			default: // app/json read the body, and the handler was never called
			}
		})
	}
}

// Over a bare connection: the whole answer is there while the handler still
// hangs, deaf to its context.
func TestTimeoutDoesNotWaitForTheHandler(t *testing.T) {
	release := make(chan struct{})
	s := timeoutSite(t, func(http.ResponseWriter, *http.Request) { <-release }, false)
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 503 || !res.Close || !strings.Contains(string(body), "in time") {
		t.Errorf("got %v %q, %v", res, body, err)
	}
	close(release)
}

// A handler that heeds nothing must not race with the answer in its place: run
// with -race.
func TestTimeoutHostileHandler(t *testing.T) {
	for name, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		t.Run(name, func(t *testing.T) {
			s := timeoutSite(t, func(w http.ResponseWriter, r *http.Request) {
				x := app.FromContext(r.Context())
				c := http.NewResponseController(w)
				for i := 0; ; i++ {
					w.Header().Set("X-N", fmt.Sprint(i))
					w.Header().Del("X-N")
					x.Answer.Set("Cache-Control", []string{"private"})
					x.Answer.Vary(fmt.Sprint("X-", i%9))
					w.WriteHeader(103)
					_ = c.SetReadDeadline(time.Now().Add(time.Minute))
					_ = x.Answer.Begun()
					if r.Context().Err() != nil {
						break
					}
				}
				for range 50 {
					w.WriteHeader(200)
					if _, err := io.WriteString(w, "late"); !errors.Is(err, http.ErrHandlerTimeout) {
						t.Errorf("a late write: %v", err)
					}
					if _, err := io.Copy(w, strings.NewReader("late")); !errors.Is(err, http.ErrHandlerTimeout) {
						t.Errorf("a late copy: %v", err)
					}
					if err := c.Flush(); !errors.Is(err, http.ErrHandlerTimeout) {
						t.Errorf("a late flush: %v", err)
					}
					if err := c.SetWriteDeadline(time.Time{}); !errors.Is(err, http.ErrHandlerTimeout) {
						t.Errorf("a late deadline: %v", err)
					}
					if _, _, err := c.Hijack(); err == nil {
						t.Error("a late hijack")
					}
					x.Deny(app.Denied{Control: "app/body", Status: 413})
				}
				panic(http.ErrAbortHandler)
			}, http2)
			res, body, err := s.do(t, "POST", "/", strings.NewReader(`{}`), "Content-Type", "application/json")
			if err != nil || res.StatusCode != 503 || strings.Contains(body, "late") {
				t.Errorf("got %v %q, %v", res, body, err)
			}
			s.Close()
			if n := s.ring.Stats().Denials["app/body"]; n != 0 {
				t.Errorf("%d refusals were counted after the answer", n)
			}
		})
	}
}

// A handler may write to its request's header while the timeout answers: two
// goroutines in one map would end the process.
func TestTimeoutOfAHandlerThatWritesToItsRequest(t *testing.T) {
	p := answerPolicy()
	p.App.Timeout = timeoutShort
	p.App.CORS.Origins = []string{"https://shop.example.com"}
	s := answerStart(t, p, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			r.Header.Del("Authorization")
			r.Header.Set("Origin", "https://other.example.com")
			r.Host = "elsewhere"
		}
	}), app.Deps{}, false)
	for _, origin := range []string{"https://shop.example.com", ""} {
		var kv []string
		if origin != "" {
			kv = []string{"Origin", origin, "Sec-Fetch-Site", "cross-site"}
		}
		res, _, err := s.do(t, "GET", "/slow", nil, kv...)
		if err != nil || res.StatusCode != 503 || res.Header.Get("Access-Control-Allow-Origin") != origin {
			t.Errorf("%v, %v", res, err)
		}
	}
}

// Handlers that end at the very moment of the timeout: one of the two answers,
// whole, and nobody writes after the handler has returned.
func TestTimeoutRace(t *testing.T) {
	p := answerPolicy()
	p.App.Timeout = time.Millisecond
	s := answerStart(t, p, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t := time.NewTimer(time.Millisecond)
		defer t.Stop()
		select {
		case <-t.C:
		case <-r.Context().Done():
		}
		switch r.URL.Path {
		case "/write":
			io.WriteString(w, "whole")
		case "/panic":
			panic("x")
		case "/deny":
			app.FromContext(r.Context()).Deny(app.Denied{Control: "app/body", Status: 413, Detail: "d"})
		}
	}), app.Deps{}, false)
	for i := range 300 {
		path := []string{"/write", "/nothing", "/panic", "/deny"}[i%4]
		res, body, err := s.do(t, "GET", path, nil)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		want := map[string][]int{"/write": {200, 503}, "/nothing": {200, 503}, "/panic": {500, 503}, "/deny": {413, 503}}[path]
		if res.StatusCode != want[0] && res.StatusCode != want[1] || res.StatusCode == 200 && path == "/write" && body != "whole" ||
			res.StatusCode >= 400 && !strings.HasSuffix(body, "}") {
			t.Errorf("%s: %d %q", path, res.StatusCode, body)
		}
	}
}

func TestTimeoutRefusesNone(t *testing.T) {
	p := answerPolicy()
	p.App.Timeout = 0
	if _, err := app.New(p, http.NotFoundHandler(), app.Deps{}); err == nil {
		t.Error("a ring without a timeout was built")
	}
}
