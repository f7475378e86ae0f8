package app_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringwall/ringwall/app"
)

// TestTrapBodyThatNeverComes announces a body, keeps it back, and wants to be
// answered and let go of all the same, whatever refuses or answers.
func TestTrapBodyThatNeverComes(t *testing.T) {
	if testing.Short() {
		t.Skip("each body is waited for")
	}
	long := strings.Repeat("All work and no play. ", 1000)
	upstream := bodyServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.NewResponseController(w).EnableFullDuplex() // answers without a look at the body
		io.WriteString(w, long)
	}), false)
	to, err := url.Parse(upstream.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/long":
			io.WriteString(w, long)
		case "/copied":
			io.Copy(w, strings.NewReader(long))
		case "/flushed":
			http.NewResponseController(w).Flush()
		case "/closed":
			r.Body.Close()
		case "/proxied":
			proxy.ServeHTTP(w, r)
		}
	})
	p := inputPolicy()
	s := bodyServer(t, inputRing(t, p, app.Deps{Open: map[string]http.Handler{"/healthz": h}}, h), false)
	const form = "Content-Type: application/x-www-form-urlencoded\r\n"
	var all sync.WaitGroup
	for name, head := range map[string]string{
		"a refused path":       "POST //x HTTP/1.1\r\nContent-Length: 100\r\n",
		"an unknown method":    "BREW / HTTP/1.1\r\nContent-Length: 100\r\n",
		"a refused type":       "POST / HTTP/1.1\r\nContent-Type: text/x\r\nContent-Length: 100\r\n",
		"chunked":              "POST //x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n",
		"expecting":            "POST //x HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 100\r\n",
		"asked to close":       "POST //x HTTP/1.1\r\nConnection: close\r\nContent-Length: 100\r\n",
		"somewhat too long":    "POST / HTTP/1.1\r\n" + form + fmt.Sprintf("Content-Length: %d\r\n", int64(p.App.Body)+1),
		"much too long":        "POST / HTTP/1.1\r\n" + form + "Content-Length: 100000000\r\n",
		"health":               "POST /healthz HTTP/1.1\r\nContent-Length: 100\r\n",
		"a handler":            "POST /short HTTP/1.1\r\n" + form + "Content-Length: 100\r\n",
		"a handler that talks": "POST /long HTTP/1.1\r\n" + form + "Content-Length: 100\r\n",
		"one that copies":      "POST /copied HTTP/1.1\r\n" + form + "Content-Length: 100\r\n",
		"one that flushes":     "POST /flushed HTTP/1.1\r\n" + form + "Content-Length: 100\r\n",
		"one that closes":      "POST /closed HTTP/1.1\r\n" + form + "Content-Length: 100\r\n",
		"an upstream":          "POST /proxied HTTP/1.1\r\n" + form + "Content-Length: 100\r\n",
	} {
		all.Go(func() {
			conn, err := net.Dial("tcp", s.Listener.Addr().String())
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(time.Minute)) // only a failure, or a machine with other work, waits so long
			fmt.Fprint(conn, head+"Host: localhost\r\n\r\n")
			answer, err := io.ReadAll(conn) // until the server closes
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: the connection was kept open after %d bytes of an answer", name, len(answer))
			}
			if !strings.HasPrefix(string(answer), "HTTP/1.1 ") {
				t.Errorf("%s: no answer", name)
			}
		})
	}
	all.Wait()
}

// Nothing of that is seen by a client whose body does come: the connection is
// kept, and an answer that goes on is not cut.
func TestBodyThatComesLate(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits longer than for a body")
	}
	goOn := make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/events" {
			return
		}
		http.NewResponseController(w).Flush()
		select {
		case <-goOn:
			io.WriteString(w, "done")
		case <-r.Context().Done():
		}
	})
	s := bodyServer(t, inputRing(t, inputPolicy(), app.Deps{}, h), false)
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute)) // only a failure, or a machine with other work, waits so long
	br := bufio.NewReader(conn)
	for range 3 {
		fmt.Fprint(conn, "POST /x//y HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n")
		fmt.Fprint(conn, "body")
		res, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
		if res.StatusCode != 400 || res.Close {
			t.Fatalf("%d, closed %t; want 400 and the connection kept", res.StatusCode, res.Close)
		}
	}
	fmt.Fprint(conn, "POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 4\r\n\r\nbo")
	fmt.Fprint(conn, "dy")
	res, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(app.BodyPatience+time.Second, func() { close(goOn) })
	if body, err := io.ReadAll(res.Body); err != nil || string(body) != "done" {
		t.Errorf("%q, %v: the answer was cut", body, err)
	}
}
