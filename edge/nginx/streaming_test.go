package nginx_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ringwall/ringwall/audit"
)

// TRAP: SSE, WebSocket, big bodies.
func TestTrapStreaming(t *testing.T) {
	nginxBinary(t)
	s := newSite(t, "app: {body: 1GB, timeout: 1m, limits: {global: {requests: 100000, per: 1m}}, content_types: [application/octet-stream], routes: [{path: /, allow: [anyone]}]}\n")
	s.write(t, nil)
	const size = 64 << 20
	first := make(chan struct{})
	s.startRing(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		switch r.URL.Path {
		case "/events":
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, "data: 1\n\n")
			c.Flush()
			select {
			case <-first: // sent only once the client has the first
			case <-time.After(10 * time.Second):
			}
			io.WriteString(w, "data: 2\n\n")
		case "/socket":
			if r.Header.Get("Upgrade") != "websocket" {
				http.Error(w, "no upgrade", http.StatusUpgradeRequired)
				return
			}
			conn, rw, err := c.Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			io.WriteString(rw, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
			rw.Flush()
			line, _ := rw.ReadString('\n')
			io.WriteString(conn, "echo "+line)
		case "/up":
			n, err := io.Copy(io.Discard, r.Body)
			fmt.Fprintf(w, "%d %v", n, err)
		case "/down":
			w.Header().Set("Content-Type", "application/octet-stream")
			io.Copy(w, io.LimitReader(zeros{}, size))
		}
	}))
	s.startNginx(t)
	conn, err := s.dialFrom(t, 1, "http/1.1")
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(res.Body)
	for i, want := range []string{"data: 1\n", "\n", "data: 2\n"} {
		if line, err := lines.ReadString('\n'); line != want {
			t.Fatalf("%q %v, want %q", line, err, want)
		}
		if i == 0 {
			close(first)
		}
	}
	conn, err = s.dialFrom(t, 2, "http/1.1")
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, "GET /socket HTTP/1.1\r\nHost: localhost\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	r := bufio.NewReader(conn)
	if res, err = http.ReadResponse(r, nil); err != nil || res.StatusCode != 101 {
		t.Fatalf("%v %v", res, err)
	}
	io.WriteString(conn, "hello\n")
	if line, err := r.ReadString('\n'); line != "echo hello\n" {
		t.Errorf("%q %v", line, err)
	}
	if status, _, _, err := s.raw(t, 3, "GET /socket HTTP/1.1\r\nHost: localhost\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"); status == 101 {
		t.Errorf("an upgrade to h2c: %d %v", status, err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.roots}, ForceAttemptHTTP2: true}}
	res, err = client.Post(s.url()+"/up", "application/octet-stream", io.LimitReader(zeros{}, size)) // chunked, over HTTP/2
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(res.Body); res.ProtoMajor != 2 || string(b) != fmt.Sprintf("%d <nil>", size) {
		t.Errorf("up: %s %s", res.Proto, b)
	}
	if res, err = client.Get(s.url() + "/down"); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, res.Body); n != size {
		t.Errorf("down: %d %v", n, err)
	}
	if files, _ := filepath.Glob(s.dir + "/tmp-*/*"); len(files) > 0 {
		t.Errorf("nginx wrote to disk: %v", files)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// TRAP: slow clients: a header, a body, an answer that nobody reads.
func TestTrapSlowClients(t *testing.T) {
	nginxBinary(t)
	s := newSite(t, "")
	s.write(t, nil)
	s.startRing(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/down" {
			w.Header().Set("Content-Type", "application/json")
			io.Copy(w, zeros{}) // until somebody stops it
			return
		}
		echo(w, r)
	}), "app/timeout")
	s.startNginx(t)
	most := 40 // seconds; a slow one is given up after ten
	if os.Getenv(takenOut) != "" {
		most = 20
	}
	var all sync.WaitGroup
	for i, tt := range []struct {
		name, first, more string
	}{
		{"header", "GET / HTTP/1.1\r\nHost: localhost\r\nX-A: ", "a"},
		{"body", "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n", "1"},
		{"nothing", "", ""},
	} {
		all.Go(func() {
			conn, err := s.dialFrom(t, byte(i+1), "http/1.1")
			if err != nil {
				t.Error(err)
				return
			}
			conn.SetDeadline(time.Now().Add(50 * time.Second))
			io.WriteString(conn, tt.first)
			over := make(chan struct{})
			go func() { io.Copy(io.Discard, conn); close(over) }()
			for range most {
				select {
				case <-over:
					return
				case <-time.After(time.Second):
					io.WriteString(conn, tt.more)
				}
			}
			t.Errorf("%s: a client that sends a byte a second was waited for longer than %d s", tt.name, most)
		})
	}
	all.Go(func() { // the ring must be let go of; the client's kernel keeps what it has
		conn, err := s.dialFrom(t, 9, "http/1.1")
		if err != nil {
			t.Error(err)
			return
		}
		conn.SetDeadline(time.Now().Add(50 * time.Second))
		io.WriteString(conn, "GET /down HTTP/1.1\r\nHost: localhost\r\n\r\n")
		for range 45 {
			if s.count(func(e audit.Event) bool { return e.Kind == audit.ConnectionSlow }) > 0 {
				return
			}
			if log, _ := os.ReadFile(s.dir + "/ringwall.json"); bytes.Contains(log, []byte(`"url.path":"/down"`)) {
				return
			}
			time.Sleep(time.Second)
		}
		t.Error("a client that does not read held its answer longer than 45 s")
	})
	all.Wait()
	if err := (&server{site: s}).served(); err != nil {
		t.Errorf("others meanwhile: %v", err)
	}
}
