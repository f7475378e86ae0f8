package password_test

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

	"github.com/ringwall/ringwall/identity/password"
)

// The SHA-1 of "password" is 5BAA6 1E4C9B93F3F0682250B6CF8331B7EE68FD8, the
// example of the documentation of the range API.
const (
	knownPrefix = "5BAA6"
	knownSuffix = "1E4C9B93F3F0682250B6CF8331B7EE68FD8"
	otherSuffix = "1E4C9B93F3F0682250B6CF8331B7EE68FD9"
)

// breaches answers as the range API does; it fails the test when it is asked
// in another way than documented.
func breaches(t *testing.T, answer http.HandlerFunc) *password.Passwords {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Path != "/range/"+knownPrefix || r.URL.RawQuery != "" || r.Header.Get("Add-Padding") != "true" || r.Header.Get("User-Agent") == "" || r.ContentLength > 0 {
			t.Errorf("asked %s %s with %v", r.Method, r.URL, r.Header)
		}
		answer(w, r)
	}))
	t.Cleanup(srv.Close)
	return password.New(password.Options{BreachURL: srv.URL + "/"})
}

func TestBreached(t *testing.T) {
	padding := strings.Repeat("0000000000000000000000000000000000A:0\r\n", 800)
	for _, tt := range []struct {
		what, body string
		want       bool
	}{
		{"in a breach", padding + knownSuffix + ":9545824\r\n" + otherSuffix + ":3\r\n", true},
		{"in lower case", strings.ToLower(knownSuffix) + ":1", true},
		{"in none", padding + otherSuffix + ":3\r\n", false},
		{"padding alone", knownSuffix + ":0\r\n" + padding, false},
		{"no lines", "", false},
	} {
		p := breaches(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, tt.body) })
		if found, err := p.Breached(t.Context(), "password"); found != tt.want || err != nil {
			t.Errorf("%s: %v, %v; want %v", tt.what, found, err, tt.want)
		}
	}
}

// TestBreachedFailsOpen: what cannot be told is false, with an error that names
// the server and nothing of the password, not even the prefix.
func TestBreachedFailsOpen(t *testing.T) {
	for what, answer := range map[string]http.HandlerFunc{
		"503":       func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "down", http.StatusServiceUnavailable) },
		"429":       func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) },
		"elsewhere": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/range/00000", http.StatusFound) },
		"a page":    func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<!doctype html><title>Hello</title>") },
		"a short sum": func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, knownSuffix[1:]+":3\r\n")
		},
		"no count": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, knownSuffix+":\r\n") },
		"a page after the hit": func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, knownSuffix+":3\r\n<!doctype html>")
		},
		"an endless answer": func(w http.ResponseWriter, _ *http.Request) {
			for _, err := io.WriteString(w, otherSuffix+":3\r\n"); err == nil; _, err = io.WriteString(w, otherSuffix+":3\r\n") {
			}
		},
		"an endless answer, cut at the end of a line": func(w http.ResponseWriter, _ *http.Request) {
			line := otherSuffix + ":" + strings.Repeat("1", (1<<20+1)/17-len(otherSuffix)-2) + "\n"
			for _, err := io.WriteString(w, line); err == nil; _, err = io.WriteString(w, line) {
			}
		},
		"an endless line": func(w http.ResponseWriter, _ *http.Request) {
			for _, err := io.WriteString(w, otherSuffix); err == nil; _, err = io.WriteString(w, otherSuffix) {
			}
		},
		"an answer cut off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100000")
			io.WriteString(w, otherSuffix+":3\r\n")
		},
		"a line dropped": func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(what, func(t *testing.T) {
			p := breaches(t, answer)
			found, err := p.Breached(t.Context(), "password")
			if found || err == nil {
				t.Fatalf("%v, %v; want false and an error", found, err)
			}
			for _, secret := range []string{knownPrefix, knownSuffix, "password:"} {
				if strings.Contains(strings.ToUpper(err.Error()), strings.ToUpper(secret)) {
					t.Errorf("the error shows %s: %v", secret, err)
				}
			}
			if !strings.Contains(err.Error(), "127.0.0.1") {
				t.Errorf("the error does not name the server: %v", err)
			}
		})
	}
}

func TestBreachedWhenNobodyAnswers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := password.New(password.Options{BreachURL: "http://" + l.Addr().String()})
	gone, cancel := context.WithCancel(t.Context())
	go func() { // a server that takes the connection and says nothing
		if c, err := l.Accept(); err == nil {
			fmt.Fprint(io.Discard, c.RemoteAddr())
			cancel()
			defer c.Close()
			io.Copy(io.Discard, c)
		}
	}()
	if found, err := p.Breached(gone, "password"); found || !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), knownPrefix) {
		t.Errorf("a client that leaves: %v, %v", found, err)
	}
	l.Close()
	if found, err := p.Breached(t.Context(), "password"); found || err == nil || strings.Contains(err.Error(), knownPrefix) {
		t.Errorf("nobody there: %v, %v", found, err)
	}
	p = password.New(password.Options{BreachURL: "http://[::1"})
	if found, err := p.Breached(t.Context(), "password"); found || err == nil || strings.Contains(err.Error(), knownPrefix) {
		t.Errorf("no URL: %v, %v", found, err)
	}
}

func TestBreachedAsksNobodyUnlessTold(t *testing.T) {
	if found, err := password.New(password.Options{}).Breached(t.Context(), "password"); found || err != nil {
		t.Errorf("%v, %v; want false without an error", found, err)
	}
}

// TestBreachedWaitsTwoSeconds, on a clock of its own, for a server that takes
// the question and is silent, and for one that sends a line now and then.
func TestBreachedWaitsTwoSeconds(t *testing.T) {
	for what, serve := range map[string]func(net.Conn){
		"silent": func(net.Conn) {},
		"slow": func(c net.Conn) {
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\n\r\n")
			for range 10 {
				fmt.Fprint(c, otherSuffix+":3\r\n")
				time.Sleep(500 * time.Millisecond)
			}
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			ours, theirs := net.Pipe()
			defer theirs.Close()
			over := make(chan struct{})
			go func() {
				defer close(over)
				if _, err := http.ReadRequest(bufio.NewReader(theirs)); err == nil {
					serve(theirs)
				}
			}()
			p := password.New(password.Options{BreachURL: "http://breaches.example"})
			p.Dial(func() net.Conn { return ours })
			start := time.Now()
			if found, err := p.Breached(t.Context(), "password"); found || err == nil || strings.Contains(err.Error(), knownPrefix) || time.Since(start) != 2*time.Second {
				t.Errorf("%s: %v, %v after %v", what, found, err, time.Since(start))
			}
			<-over
		})
	}
}
