package nginx_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/edge/nginx"
)

// TRAP: trusted proxies in front, and forged addresses left of theirs.
func TestTrapTrustedProxiesThroughNginx(t *testing.T) {
	nginxBinary(t)
	s := newSite(t, "")
	s.policy.Edge.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.9.9.80/32"), netip.MustParsePrefix("198.51.100.0/24")}
	s.write(t, nil)
	s.startRing(t, mirror)
	s.startNginx(t)
	for _, tt := range []struct {
		from      byte
		forwarded string
		client    string
	}{
		{80, "203.0.113.1, 192.0.2.1", "192.0.2.1"},
		{80, "203.0.113.1, 192.0.2.1, 198.51.100.7", "192.0.2.1"},
		{80, "2001:db8::7", "2001:db8::7"},
		{80, "", "127.9.9.80"},
		{81, "192.0.2.1", "127.9.9.81"},
		{82, "192.0.2.1, 198.51.100.7", "127.9.9.82"},
	} {
		header := ""
		if tt.forwarded != "" {
			header = "X-Forwarded-For: " + tt.forwarded + "\r\n"
		}
		_, _, body, err := s.raw(t, tt.from, "GET / HTTP/1.1\r\nHost: localhost\r\n"+header+"\r\n")
		if want := fmt.Sprintf(`"from":%q`, netip.AddrPortFrom(netip.MustParseAddr(tt.client), 0)); err != nil || !strings.Contains(body, want) {
			t.Errorf("127.9.9.%d with %q: %v %s; want %s", tt.from, tt.forwarded, err, body, want)
		}
	}
	// The proxy's clients are counted each for himself.
	refused := map[string]int{}
	for _, client := range []string{"192.0.2.1", "192.0.2.2"} {
		conn, err := s.dialFrom(t, 80, "http/1.1")
		if err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(conn)
		go io.WriteString(conn, strings.Repeat("GET / HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: "+client+"\r\n\r\n", 100))
		for range 100 {
			res, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, res.Body)
			if res.StatusCode == 429 {
				refused[client]++
			}
		}
	}
	if refused["192.0.2.1"] == 0 || refused["192.0.2.2"] == 0 || refused["192.0.2.2"] > 80 { // of a burst of 20, and what is given back meanwhile
		t.Errorf("refused: %v", refused)
	}
}

// With edge.proxy_protocol the proxy's header names the client, and a stranger's
// does not.
func TestProxyProtocolThroughNginx(t *testing.T) {
	nginxBinary(t)
	s := newSite(t, "")
	s.policy.Edge.ProxyProtocol = true
	s.policy.Edge.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.9.9.80/32")}
	s.write(t, nil)
	s.startRing(t, mirror)
	s.startNginx(t)
	for _, tt := range []struct {
		from   byte
		header string
		client string // "": refused
	}{{80, "PROXY TCP4 192.0.2.1 192.0.2.2 1000 443\r\n", "192.0.2.1"}, {81, "PROXY TCP4 192.0.2.1 192.0.2.2 1000 443\r\n", "127.9.9.81"}, {80, "", ""}} {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 9, 9, tt.from)}}
		conn, err := d.Dial("tcp", s.policy.Edge.Listen)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(patience))
		io.WriteString(conn, tt.header)
		c := tls.Client(conn, &tls.Config{RootCAs: s.roots, ServerName: "localhost"})
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 203.0.113.9\r\nConnection: close\r\n\r\n")
		b, _ := io.ReadAll(c)
		if want := fmt.Sprintf(`"from":"%s:0"`, tt.client); tt.client == "" && len(b) > 0 || tt.client != "" && !strings.Contains(string(b), want) {
			t.Errorf("127.9.9.%d with %q: %s", tt.from, tt.header, b)
		}
		c.Close()
	}
}

// TRAP: IPv6 clients have a /64 each.
func TestTrapIPv6IsCountedBySlash64(t *testing.T) {
	nginxBinary(t)
	s := newSite(t, "")
	s.policy.Edge.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.9.9.0/24")}
	s.write(t, func(ds []nginx.Directive) []nginx.Directive {
		return everywhere(ds, func(in string, d *nginx.Directive) bool { // the map's own word
			if in == theSite && d.Name == "location" && d.Args[0] == "/" {
				d.Block = []nginx.Directive{{Name: "return", Args: []string{"200", "key $ringwall_client"}}}
			}
			return true
		})
	})
	s.startNginx(t)
	keys := map[string]string{}
	for i, client := range []string{"2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:a0a:a::1", "2001:db8:1:3::1", "192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"} {
		_, _, body, err := s.raw(t, byte(i+1), "GET / HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: "+client+"\r\n\r\n")
		if err != nil || !strings.HasPrefix(body, "key ") {
			t.Fatalf("%s: %v %q", client, err, body)
		}
		keys[client] = strings.TrimPrefix(body, "key ")
	}
	same := func(a, b string) bool { return keys[a] == keys[b] }
	if !same("2001:db8:1:2::1", "2001:db8:1:2:ffff::9") || same("2001:db8:1:2::1", "2001:db8:1:3::1") || !same("192.0.2.1", "::ffff:192.0.2.1") || same("192.0.2.1", "192.0.2.2") ||
		len(keys["2001:db8:a0a:a::1"]) != 8 || len(keys["192.0.2.1"]) != 4 {
		t.Errorf("%q", keys)
	}
}
