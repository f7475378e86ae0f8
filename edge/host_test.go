package edge_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// dialFrom opens a connection of its own address, so that rates do not add up.
func (s *edgeSite) dialFrom(t *testing.T, address, serverName, protocol string, from byte) (*tls.Conn, error) {
	t.Helper()
	_, port, err := net.SplitHostPort(strings.TrimPrefix(address, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	d := &tls.Dialer{NetDialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 9, 9, from)}, Timeout: 5 * time.Second},
		Config: &tls.Config{RootCAs: s.roots, ServerName: serverName, NextProtos: []string{protocol}}}
	conn, err := d.DialContext(t.Context(), "tcp", "127.0.0.1:"+port)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	return conn.(*tls.Conn), nil
}

// Whoever asks the server for another host gets nothing of the site's, however
// he writes it.
func TestTrapUnknownHostIsNotServed(t *testing.T) {
	s := newEdgeSite(t)
	address, _ := s.start(t)
	for i, tt := range []struct {
		request string
		status  int
	}{
		{"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 200},
		{"GET / HTTP/1.1\r\nHost: LOCALHOST:8443\r\n\r\n", 200},
		{"GET / HTTP/1.1\r\nHost: localhost.\r\n\r\n", 200},
		{"GET https://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 200},
		{"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n", 200},
		{"GET / HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n", 421},
		{"GET / HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n\r\n", 421},
		{"GET / HTTP/1.1\r\nHost: other.example\r\n\r\n", 421},
		{"GET / HTTP/1.1\r\nHost: localhost.other.example\r\n\r\n", 421},
		{"GET https://other.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 421},
		{"GET / HTTP/1.0\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: localhost\r\nHost: other.example\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: localhost, other.example\r\n\r\n", 400},
		{"GET https://user@localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
		{"GET ftp://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
	} {
		conn, err := s.dialFrom(t, address, "localhost", "http/1.1", byte(i+1))
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, tt.request)
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("%q: %v", tt.request, err)
			continue
		}
		if body, _ := io.ReadAll(io.LimitReader(res.Body, 1000)); res.StatusCode != tt.status || tt.status != 200 && strings.Contains(string(body), `"ok"`) {
			t.Errorf("%q: %d %s, want %d", tt.request, res.StatusCode, body, tt.status)
		}
	}
	for authority, status := range map[string]int{"localhost": 200, "192.0.2.1": 421, "other.example:443": 421} {
		conn, err := s.dialFrom(t, address, "localhost", "h2", 200)
		if err != nil {
			t.Fatal(err)
		}
		//lint:ignore SA1019 a client over one connection that is there already
		cc, err := (&http2.Transport{}).NewClientConn(conn)
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+authority+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := cc.RoundTrip(req)
		if err != nil {
			t.Errorf(":authority %s: %v", authority, err)
			continue
		}
		if res.Body.Close(); res.StatusCode != status {
			t.Errorf(":authority %s: %d, want %d", authority, res.StatusCode, status)
		}
	}
}
