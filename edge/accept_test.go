package edge_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/policy"
)

// dialFrom connects from a loopback address; nil: it was closed at once.
func dialFrom(t *testing.T, source, address string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	c, err := d.Dial("tcp", address)
	if errors.Is(err, syscall.ECONNRESET) { // closed before connect has returned
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(10 * time.Second))
	return c
}

// served reports whether a connection is answered; its end is no answer.
func served(t *testing.T, c net.Conn) bool {
	t.Helper()
	if c == nil {
		return false
	}
	_, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if err == nil {
		_, err = http.ReadResponse(bufio.NewReader(c), nil)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("neither answered nor closed")
	}
	return err == nil
}

func TestTrapConnectionsOfOneClient(t *testing.T) {
	f := newDoor(t, doorPolicy(func(p *policy.Policy) { p.Edge.Connections = 3 }), nil, nil)
	var open []net.Conn
	for range 3 {
		c := dialFrom(t, "127.0.0.2", f.address)
		if !served(t, c) {
			t.Fatal("refused below the cap")
		}
		open = append(open, c)
	}
	began := time.Now()
	for range 2 {
		if served(t, dialFrom(t, "127.0.0.2", f.address)) {
			t.Error("served over the cap")
		}
	}
	once := time.Since(began) < time.Second // one event a second
	if !served(t, dialFrom(t, "127.0.0.3", f.address)) {
		t.Error("another client pays for the first one's connections")
	}
	if _, events := f.take(); len(events) == 0 || once && len(events) > 1 || events[0].Kind != audit.ConnectionRefused || events[0].Client != netip.MustParseAddr("127.0.0.2") {
		t.Errorf("events %v, want one of %s", events, audit.ConnectionRefused)
	}
	open[0].Close()
	for start := time.Now(); !served(t, dialFrom(t, "127.0.0.2", f.address)); {
		if time.Since(start) > 10*time.Second {
			t.Fatal("a closed connection still counts")
		}
	}
}

// TestConnectionsAreCountedExactly: who comes and goes is forgotten.
func TestConnectionsAreCountedExactly(t *testing.T) {
	now := func() time.Time { return time.Unix(1e9, 0) }
	var counts edge.ConnectionCounts
	for i := range 1000 {
		var a [16]byte
		a[0], a[7], a[15] = 0x20, byte(i%7), byte(i) // 7 networks
		release, _ := counts.Take(netip.AddrFrom16(a), 1, now)
		again, _ := counts.Take(netip.AddrFrom16(a).Next(), 1, now)
		if release == nil || again != nil {
			t.Fatalf("client %d: admitted %v, and its /64 again %v", i, release != nil, again != nil)
		}
		release()
	}
	if n := counts.Len(); n != 0 {
		t.Errorf("%d clients are remembered", n)
	}
}

func TestTrapConnectionsInAll(t *testing.T) {
	f := newDoor(t, doorPolicy(func(p *policy.Policy) { p.Edge.MaxConnections = 2 }), nil, nil)
	a, b := dialFrom(t, "127.0.0.2", f.address), dialFrom(t, "127.0.0.3", f.address)
	if !served(t, a) || !served(t, b) {
		t.Fatal("refused below the cap")
	}
	if served(t, dialFrom(t, "127.0.0.4", f.address)) {
		t.Error("served over the cap")
	}
	if _, events := f.take(); len(events) != 1 || events[0].Kind != audit.ConnectionRefused {
		t.Errorf("events %v, want one of %s", events, audit.ConnectionRefused)
	}
}

func TestTrapProxyProtocol(t *testing.T) {
	f := newDoor(t, doorPolicy(func(p *policy.Policy) {
		p.Edge.ProxyProtocol = true
		p.Edge.Connections = 2
		p.Edge.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}
	}), nil, nil)
	v2 := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\x7f\x00\x00\x01\x1f\x90\x01\xbb"
	const request = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
	for _, tt := range []struct{ name, source, header, seen string }{
		{"version 1", "127.0.0.2", "PROXY TCP4 192.0.2.1 127.0.0.1 4711 443\r\n", "192.0.2.1:4711"},
		{"version 1, IPv6", "127.0.0.2", "PROXY TCP6 2001:db8::1 ::1 4711 443\r\n", "[2001:db8::1]:4711"},
		{"version 2", "127.0.0.2", v2, "192.0.2.7:8080"},
		{"the proxy's own", "127.0.0.2", "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00", "127.0.0.2:"},
		{"unknown", "127.0.0.2", "PROXY UNKNOWN\r\n", "127.0.0.2:"},
		{"not trusted", "127.0.0.3", "PROXY TCP4 192.0.2.1 127.0.0.1 4711 443\r\n", ""},
		{"no header", "127.0.0.2", "", ""},
		{"not trusted, no header", "127.0.0.3", "", ""},
		{"family and address differ", "127.0.0.2", "PROXY TCP4 2001:db8::1 ::1 4711 443\r\n", ""},
		{"octal", "127.0.0.2", "PROXY TCP4 192.0.2.010 127.0.0.1 4711 443\r\n", ""},
		{"port", "127.0.0.2", "PROXY TCP4 192.0.2.1 127.0.0.1 65536 443\r\n", ""},
		{"LF", "127.0.0.2", "PROXY TCP4 192.0.2.1 127.0.0.1 4711 443\n", ""},
		{"too long", "127.0.0.2", "PROXY UNKNOWN " + strings.Repeat("x", 200) + "\r\n", ""},
		{"two", "127.0.0.2", "PROXY TCP4 192.0.2.1 127.0.0.1 4711 443\r\nPROXY TCP4 192.0.2.2 127.0.0.1 4711 443\r\n", ""},
	} {
		c := dialFrom(t, tt.source, f.address)
		_, _ = io.WriteString(c, tt.header+request) // a refusal shows in the answer
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		got := ""
		if err == nil && res.StatusCode == 200 {
			b, _ := io.ReadAll(res.Body)
			got = string(b)
		} else if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: neither answered nor closed", tt.name)
		}
		if !strings.HasPrefix(got, tt.seen) || tt.seen == "" && got != "" {
			t.Errorf("%s: the request came from %q, want %q", tt.name, got, tt.seen)
		}
		c.Close()
	}
	for i := range 3 { // of one client, through the proxy
		c := dialFrom(t, "127.0.0.2", f.address)
		_, _ = io.WriteString(c, "PROXY TCP4 198.51.100.1 127.0.0.1 4711 443\r\n")
		if ok := served(t, c); ok != (i < 2) {
			t.Errorf("connection %d of a client behind the proxy: served %v", i+1, ok)
		}
	}
}

// TestTrapSilentClientsHoldNobodyUp: handshakes run side by side.
func TestTrapSilentClientsHoldNobodyUp(t *testing.T) {
	f := newDoor(t, doorPolicy(nil), nil, doorTLS(t))
	for range 10 {
		dialFrom(t, "127.0.0.2", f.address)
	}
	for _, proto := range []string{"http/1.1", "h2"} {
		c := tls.Client(dialFrom(t, "127.0.0.3", f.address), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{proto}})
		if err := c.Handshake(); err != nil || c.ConnectionState().NegotiatedProtocol != proto {
			t.Errorf("%s: %v", proto, err)
		}
		c.Close()
	}
}

func TestPlainHTTPOnTheHTTPSPort(t *testing.T) {
	f := newDoor(t, doorPolicy(nil), nil, doorTLS(t))
	c := dialFrom(t, "127.0.0.2", f.address)
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || res.StatusCode != 400 || res.Header.Get("X-Secure") != "false" {
		t.Errorf("%v, %v, want 400 with the headers of answers over plain HTTP", res, err)
	}
}

// TestSecureRequestsAreKnown: what stands between TLS and net/http hides
// nothing from the handler.
func TestSecureRequestsAreKnown(t *testing.T) {
	f := newDoor(t, doorPolicy(nil), nil, doorTLS(t))
	for _, http2 := range []bool{false, true} {
		tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: http2}
		res, err := (&http.Client{Transport: tr}).Get("https://" + f.address)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		tr.CloseIdleConnections()
		if (res.ProtoMajor == 2) != http2 || res.Header.Get("X-Secure") != "true" {
			t.Errorf("HTTP/2 wanted %v: %s, TLS seen: %s", http2, res.Proto, res.Header.Get("X-Secure"))
		}
	}
}

// TestUpgrade: after 101 the connection is the handler's, whatever is sent.
func TestUpgrade(t *testing.T) {
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_ = rw.Flush()
		_, _ = io.Copy(c, rw)
	})
	for _, early := range []string{"", "\x81\x00\n"} {
		f := newDoor(t, doorPolicy(nil), echo, doorTLS(t))
		c := tls.Client(dialFrom(t, "127.0.0.2", f.address), &tls.Config{InsecureSkipVerify: true})
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"+early)
		r := bufio.NewReader(c)
		res, err := http.ReadResponse(r, nil)
		if err != nil || res.StatusCode != 101 {
			t.Fatal(res, err)
		}
		const sent = "\x81\x00\n\nGET\r\r\nTransfer-Encoding: x"
		_, _ = io.WriteString(c, sent)
		got := make([]byte, len(sent))
		_, err = io.ReadFull(r, got)
		if early == "" && string(got) != sent {
			t.Errorf("echoed %q, %v", got, err)
		}
		if early != "" && err == nil { // RFC 6455, 4.1: wait for the 101
			t.Errorf("what was sent before the 101 was taken: %q", got)
		}
		c.Close()
	}
}

func TestListenerClosedDuringAHandshake(t *testing.T) {
	f := newDoor(t, doorPolicy(nil), nil, doorTLS(t))
	c := dialFrom(t, "127.0.0.2", f.address)
	_, _ = io.WriteString(c, "\x16")
	f.close()
	if _, err := c.Read(make([]byte, 1)); err != io.EOF && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a handshake outlives the listener: %v", err)
	}
}
