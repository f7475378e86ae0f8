package nginx_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// behind is nginx with something in the ring's place that shows what reached it. The
// http block around the site says the opposite of what the site says.
func behind(t *testing.T, h http.HandlerFunc) (s *site, connections *atomic.Int64) {
	nginxBinary(t)
	s, connections = newSite(t, "app: {body: 1GB, limits: {global: {requests: 100000, per: 1m}}, routes: [{path: /, allow: [anyone]}]}\n"), new(atomic.Int64)
	s.write(t, nil)
	l, err := net.Listen("tcp", s.policy.Edge.Nginx.Listen)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h, ConnState: func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close() })
	s.startNginx(t)
	return s, connections
}

// ask sends a request over a connection and reads the answer's header.
func ask(t *testing.T, conn net.Conn, r *bufio.Reader, request string) *http.Response {
	t.Helper()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatalf("%.40q: %v", request, err)
	}
	return res
}

// TestAnswersPassOn: what the ring answers reaches clients as it was, as it comes,
// and over connections that are kept on both sides.
func TestAnswersPassOn(t *testing.T) {
	first := make(chan struct{})
	var gone atomic.Int64
	var sent atomic.Bool // the second part of an answer
	s, connections := behind(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/headers":
			w.Header().Set("X-Frame-Options", "SAMEORIGIN")
			w.Header().Set("Location", "http://ringwall/x")
			w.Header().Set("X-Long", strings.Repeat("a", 20<<10))
			w.WriteHeader(http.StatusNotFound)
			io.WriteString(w, "the ring's own")
		case "/compressible":
			io.WriteString(w, strings.Repeat("a", 10<<10))
		case "/parts":
			io.WriteString(w, "1\n")
			http.NewResponseController(w).Flush()
			select {
			case <-first: // sent only once the client has the first
			case <-time.After(patience / 3):
			}
			sent.Store(true)
			io.WriteString(w, "2\n")
		case "/body":
			b := make([]byte, 1)
			if _, err := io.ReadFull(r.Body, b); err != nil {
				t.Error(err)
			}
			close(first)
			_, _ = io.Copy(io.Discard, r.Body)
		case "/late":
			time.Sleep(2500 * time.Millisecond)
			n, err := io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, n, err)
		case "/gone":
			gone.Add(1)
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				conn.Close()
			}
		}
	})
	dial := func(from byte) (net.Conn, *bufio.Reader) {
		conn, err := s.dialFrom(t, from, "http/1.1")
		if err != nil {
			t.Fatal(err)
		}
		return conn, bufio.NewReader(conn)
	}
	const host = " HTTP/1.1\r\nHost: localhost\r\n"
	conn, r := dial(1)
	for range 8 {
		res := ask(t, conn, r, "GET /"+host+"\r\n")
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			t.Fatal(err)
		}
	}
	if n := connections.Load(); n > 2 { // two workers
		t.Errorf("8 requests of a client made %d connections to the ring", n)
	}
	res := ask(t, conn, r, "GET /headers"+host+"\r\n")
	b, _ := io.ReadAll(res.Body)
	if got := res.Header.Values("X-Frame-Options"); res.StatusCode != 404 || string(b) != "the ring's own" || len(got) != 1 || got[0] != "DENY" || res.Header.Get("Location") != "http://ringwall/x" {
		t.Errorf("%s %q %v %s", res.Status, b, got, res.Header.Get("Location"))
	}
	conn, r = dial(2)
	res = ask(t, conn, r, "GET /compressible"+host+"Accept-Encoding: gzip\r\n\r\n")
	if b, _ := io.ReadAll(res.Body); res.Header.Get("Content-Encoding") != "" || len(b) != 10<<10 {
		t.Errorf("%v, %d bytes", res.Header, len(b))
	}

	// A body reaches the ring before it is whole, an answer the client.
	conn, _ = dial(3)
	io.WriteString(conn, "POST /body"+host+"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n1")
	select {
	case <-first:
	case <-time.After(patience):
		t.Errorf("half a body did not reach the ring within %v", patience)
	}
	first = make(chan struct{})
	conn, r = dial(4)
	res = ask(t, conn, r, "GET /parts"+host+"\r\n")
	line := make([]byte, 2)
	if _, err := io.ReadFull(res.Body, line); err != nil || sent.Load() {
		t.Errorf("half an answer: %q %v; sent whole: %v", line, err, sent.Load())
	}
	close(first)

	conn, r = dial(5)
	const large = 16 << 20 // more than sockets hold
	go io.Copy(conn, io.MultiReader(strings.NewReader(fmt.Sprintf("POST /late"+host+"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n", large)), io.LimitReader(zeros{}, large)))
	res = ask(t, conn, r, "")
	if b, _ := io.ReadAll(res.Body); res.StatusCode != 200 || string(b) != fmt.Sprint(large, " <nil>") {
		t.Errorf("a body that is read after 2.5 s: %s %s", res.Status, b)
	}
	res = ask(t, conn, r, "GET /late"+host+"\r\n")
	if b, _ := io.ReadAll(res.Body); res.StatusCode != 200 || string(b) != "0 <nil>" {
		t.Errorf("an answer after 2.5 s: %s %s", res.Status, b)
	}

	conn, r = dial(6)
	ask(t, conn, r, "GET /"+host+"\r\n") // a connection that is kept
	res = ask(t, conn, r, "POST /gone"+host+"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
	if n := gone.Load(); n != 1 || res.StatusCode != 502 {
		t.Errorf("what changes something was sent %d times: %s", n, res.Status)
	}
}

// TestRequestsPassOn: of what a client says about itself nothing reaches the ring.
func TestRequestsPassOn(t *testing.T) {
	var seen http.Header
	s, _ := behind(t, func(w http.ResponseWriter, r *http.Request) { seen = r.Header })
	request := "GET / HTTP/1.1\r\nHost: localhost\r\n"
	forged := []string{"Forwarded", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Server", "Proxy", "X_Forwarded_For", "X.Forwarded.For"}
	for _, name := range forged {
		request += name + ": forged\r\n"
	}
	if status, _, _, err := s.raw(t, 1, request+"Upgrade: h2c\r\nConnection: Upgrade, X-Real-IP\r\n\r\n"); status != 200 {
		t.Fatal(status, err)
	}
	for _, name := range append(forged, "Upgrade", "Connection") {
		for got, value := range seen {
			if strings.EqualFold(got, name) {
				t.Errorf("%s: %q reaches the ring", got, value)
			}
		}
	}
}

// TestMoreAtOnceAreClosed: whoever has as many requests under way as edge.connections
// gets no answer to one more, which would cost one.
func TestMoreAtOnceAreClosed(t *testing.T) {
	until, under := make(chan struct{}), make(chan struct{}, 100)
	s, _ := behind(t, func(http.ResponseWriter, *http.Request) { under <- struct{}{}; <-until })
	defer close(until)
	for range s.policy.Edge.Connections {
		conn, err := s.dialFrom(t, 1, "http/1.1")
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	}
	for range s.policy.Edge.Connections {
		<-under
	}
	status, _, _, err := s.raw(t, 1, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if status != 0 || !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("one more is answered %d, %v", status, err)
	}
}

// TestAnswersThatNobodyReads are given up after the pause between two writes, and
// the client's connection is reset, so that nothing is kept for it.
func TestAnswersThatNobodyReads(t *testing.T) {
	ended := make(chan struct{})
	s, _ := behind(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.Copy(w, zeros{}) // until somebody stops it
		if r.URL.Path == "/" {
			close(ended)
		}
	})
	conn, err := s.dialFrom(t, 1, "http/1.1")
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	select {
	case <-ended:
	case <-time.After(25 * time.Second):
		t.Fatal("an answer that nobody reads is held for longer than 25 s")
	}
	if _, err := io.Copy(io.Discard, conn); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the connection ends with %v", err)
	}
}

// TestHandshakes: what clients choose from, whatever other sites would have.
func TestHandshakes(t *testing.T) {
	s, _ := behind(t, func(http.ResponseWriter, *http.Request) {})
	_, port, _ := net.SplitHostPort(s.policy.Edge.Listen)
	at := "127.0.0.1:" + port
	dial := func(c *tls.Config) (*tls.Conn, error) {
		c.RootCAs, c.ServerName = s.roots, "localhost"
		conn, err := tls.Dial("tcp", at, c)
		if err == nil {
			t.Cleanup(func() { conn.Close() })
			_ = conn.SetDeadline(time.Now().Add(patience))
		}
		return conn, err
	}
	if _, err := dial(&tls.Config{CurvePreferences: []tls.CurveID{tls.X25519}}); err != nil {
		t.Errorf("X25519: %v", err)
	}
	if _, err := dial(&tls.Config{CurvePreferences: []tls.CurveID{tls.CurveP521}}); err == nil {
		t.Error("P-521, which is not ours, is taken")
	}

	conn, err := dial(&tls.Config{NextProtos: []string{"h2"}})
	if err != nil || conn.ConnectionState().NegotiatedProtocol != "h2" {
		t.Fatalf("h2: %v", err)
	}
	io.WriteString(conn, http2.ClientPreface)
	framer := http2.NewFramer(conn, conn)
	_ = framer.WriteSettings()
	frame, err := framer.ReadFrame()
	settings, ok := frame.(*http2.SettingsFrame)
	if err != nil || !ok {
		t.Fatalf("%v %v", frame, err)
	}
	if n, _ := settings.Value(http2.SettingMaxConcurrentStreams); n != 100 {
		t.Errorf("%d streams at once", n)
	}

	// An old nginx never changes the key of its tickets, so it gives none.
	cache := tls.NewLRUClientSessionCache(4)
	resumed := false
	for range 2 {
		conn, err := dial(&tls.Config{MaxVersion: tls.VersionTLS12, ClientSessionCache: cache})
		if err != nil {
			t.Fatal(err)
		}
		resumed = conn.ConnectionState().DidResume
	}
	v, err := installed()
	if err != nil {
		t.Fatal(err)
	}
	if rotates := v.Major > 1 || v.Minor > 23 || v.Minor == 23 && v.Patch >= 2; resumed != rotates {
		t.Errorf("a ticket is taken: %v", resumed)
	}

	// The client knows whether it has AES in hardware.
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("the order of suites: ", err)
	}
	for _, first := range []string{"ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-GCM-SHA256"} {
		cmd := exec.Command(openssl, "s_client", "-connect", at, "-servername", "localhost", "-tls1_2", "-cipher", first+":ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305")
		cmd.Stdin = bytes.NewReader(nil)
		if out, _ := cmd.CombinedOutput(); !strings.Contains(string(out), "Cipher is "+first) {
			t.Errorf("a client that prefers %s: %s", first, out)
		}
	}
}
