package nginx_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/edge/nginx"
)

// TestThroughNginx is HTTP/1.1 and HTTP/2, over TCP and over a unix socket.
func TestThroughNginx(t *testing.T) {
	for _, at := range []string{"tcp", "unix"} {
		t.Run(at, func(t *testing.T) {
			nginxBinary(t)
			s := newSite(t, "")
			if at == "unix" {
				s.policy.Edge.Nginx.Listen = "unix:" + s.dir + "/run/n.sock"
			}
			s.write(t, nil)
			s.startRing(t, mirror)
			s.startNginx(t)
			for i, protocol := range []string{"http/1.1", "h2"} {
				conn, err := s.dialFrom(t, byte(i+1), protocol)
				if err != nil {
					t.Fatal(err)
				}
				req, _ := http.NewRequest("GET", "https://localhost/x", nil)
				var res *http.Response
				if protocol == "h2" {
					//lint:ignore SA1019 a client over one connection that is there already
					cc, err := (&http2.Transport{}).NewClientConn(conn)
					if err != nil {
						t.Fatal(err)
					}
					res, err = cc.RoundTrip(req)
					if err != nil {
						t.Fatal(err)
					}
				} else {
					req.Write(conn)
					if res, err = http.ReadResponse(bufio.NewReader(conn), req); err != nil {
						t.Fatal(err)
					}
				}
				b, _ := io.ReadAll(res.Body)
				if res.StatusCode != 200 || !strings.Contains(string(b), fmt.Sprintf(`"from":"127.9.9.%d:0"`, i+1)) {
					t.Errorf("%s: %s %s", protocol, res.Status, b)
				}
			}
			if f := s.find(t, "edge/behind"); f.Verdict.String() != "pass" {
				t.Errorf("%+v", f)
			}
		})
	}
}

// TestNginxsOwnAnswers are those that the ring never sees.
func TestNginxsOwnAnswers(t *testing.T) {
	nginxBinary(t)
	s := newSite(t, "")
	s.write(t, nil)
	_, stop := s.startRing(t, echo)
	s.startNginx(t)
	host := "Host: localhost\r\n"
	see := func(from byte, name, request string, want int) {
		t.Helper()
		status, h, body, err := s.raw(t, from, request)
		if status != want {
			t.Errorf("%s: %d %v, want %d", name, status, err, want)
			return
		}
		for n, v := range headers(s.policy, true) {
			if h.Get(n) != v {
				t.Errorf("%s: %s: %q", name, n, h.Get(n))
			}
		}
		var p struct {
			Type, Title, Detail string
			Status              int
		}
		if h.Get("Content-Type") != "application/problem+json" || json.Unmarshal([]byte(body), &p) != nil || p.Status != want || p.Type == "" || p.Title == "" || p.Detail == "" ||
			h.Get("Cache-Control") != "no-store" || strings.Contains(body, "nginx") {
			t.Errorf("%s: %v %s", name, h, body)
		}
	}
	see(1, "a NUL", "GET /a%00 HTTP/1.1\r\n"+host+"\r\n", 400)
	see(2, "TRACE", "TRACE / HTTP/1.1\r\n"+host+"\r\n", 405)
	see(3, "a body that is too large", "POST / HTTP/1.1\r\n"+host+"Content-Type: application/json\r\nContent-Length: 200001\r\n\r\n", 413)
	see(4, "a line that is too long", "GET /"+strings.Repeat("a", 20000)+" HTTP/1.1\r\n"+host+"\r\n", 414)
	see(5, "a header that is too large", "GET / HTTP/1.1\r\n"+host+"X-A: "+strings.Repeat("a", 20000)+"\r\n\r\n", 431)
	see(6, "an unknown coding", "POST / HTTP/1.1\r\n"+host+"Transfer-Encoding: gzip\r\n\r\n", 501)
	see(7, "another host", "GET / HTTP/1.1\r\nHost: other.example\r\n\r\n", 421)
	see(8, "another version", "GET / HTTP/3.1\r\n"+host+"\r\n", 505)
	stop()
	see(9, "the ring is down", "GET / HTTP/1.1\r\n"+host+"\r\n", 502)
}

// TestBansReachNginx follows a ban from the list to nginx, and back.
func TestBansReachNginx(t *testing.T) {
	nginxBinary(t)
	s := newSite(t, "")
	s.write(t, nil)
	s.startRing(t, echo)
	s.startNginx(t)
	host := nginx.Host{Binary: nginxBinary(t), Conf: filepath.Join(s.dir, "nginx.conf"), Prefix: s.dir}
	files, err := host.Files(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pid, err := host.Running(t.Context(), files)
	if err != nil || pid == 0 {
		t.Fatal(pid, err)
	}
	reloads := 0
	b := nginx.NewBanner(s.policy, func() error { reloads++; return host.Reload(t.Context(), pid) }, s)
	ask := func(from byte) int {
		status, _, _, _ := s.raw(t, from, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
		return status
	}
	ok := func(from byte) bool { return ask(from) == 200 }
	until := func(what string, is func() bool) {
		t.Helper()
		if !await(is) {
			t.Errorf("%s: not within %v", what, patience)
		}
	}
	b.Replace([]edge.Ban{{Prefix: netip.MustParsePrefix("127.9.9.6/31")}}, []netip.Prefix{netip.MustParsePrefix("127.9.9.6/32"), netip.MustParsePrefix("::1/128")})
	for i := range 1000 {
		b.Ban(edge.Ban{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)}), 32)})
	}
	b.Ban(edge.Ban{Prefix: netip.MustParsePrefix("2001:db8:1:2::/64")})
	done := make(chan struct{})
	ctx, stop := contextOf(t)
	go func() { b.Run(ctx, 50*time.Millisecond); close(done) }()
	until("the ban", func() bool { return ask(7) == 0 }) // 429 is for asking so often
	if !ok(8) || !ok(6) {
		t.Error("another one is banned, too, or one that is spared")
	}
	until("what was told", func() bool { return b.Check() == nil })
	if err := os.WriteFile(s.policy.Edge.Nginx.State+"/bans.conf", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := b.Check(); err == nil {
		t.Error("a list that somebody emptied is not noticed")
	}
	b.Unban(netip.MustParsePrefix("127.9.9.6/31"))
	until("its end", func() bool { return ok(7) })
	stop()
	<-done
	if reloads > 4 {
		t.Errorf("%d reloads for 1,003 changes", reloads)
	}
}

// TestLog reads what nginx logs.
func TestLog(t *testing.T) {
	s := mirrored(t, "")
	s.raw(t, 1, "GET /x?token=canary HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer canary\r\nUser-Agent: a\"b\\c"+strings.Repeat("d", 400)+"\r\n\r\n")
	s.raw(t, 2, "BREW /.env HTTP/1.1\r\nHost: localhost\r\n\r\n")
	s.raw(t, 3, "GET /a%00 HTTP/1.1\r\nHost: localhost\r\nUser-Agent: \x1b[31m\r\n\r\n")
	var lines []map[string]any
	if !await(func() bool {
		b, _ := os.ReadFile(s.dir + "/ringwall.json")
		lines = nil
		for line := range bytes.Lines(b) {
			m := map[string]any{}
			if err := json.Unmarshal(line, &m); err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			lines = append(lines, m)
		}
		if bytes.Contains(b, []byte("canary")) || bytes.Contains(b, []byte("Bearer")) {
			t.Fatalf("a secret is in the log: %s", b)
		}
		return len(lines) == 3
	}) {
		t.Fatalf("%d lines", len(lines))
	}
	slices.SortFunc(lines, func(a, b map[string]any) int { // each worker writes when it has time
		return strings.Compare(fmt.Sprint(a["client.address"]), fmt.Sprint(b["client.address"]))
	})
	for i, want := range []struct {
		method, path string
		status       float64
	}{{"GET", "/x", 401}, {"BREW", "/.env", 444}, {"GET", "", 400}} {
		m := lines[i]
		if m["http.request.method"] != want.method || m["url.path"] != want.path || m["http.response.status_code"] != want.status || m["client.address"] != fmt.Sprintf("127.9.9.%d", i+1) || m["msg"] != "request" {
			t.Errorf("%v, want %v", m, want)
		}
	}
	if a, _ := lines[0]["user_agent.original"].(string); len(a) != 256 || lines[0]["ringwall.request_id"] == "" {
		t.Errorf("%v", lines[0])
	}
	// nginx's refusal is an event of the client's.
	if !await(func() bool {
		return s.count(func(e audit.Event) bool {
			return e.Kind == audit.ScannerRefused && e.Client == netip.MustParseAddr("127.9.9.2") && strings.Contains(e.Detail, "/.env")
		}) == 1
	}) {
		t.Errorf("no event of the scanner: %+v", s.events)
	}
}

// TestTrapPageThatHasItsVisitorBannedByNginx: nginx refuses before the ring sees who
// sent a request, and tells it what the browser said of that. What says nothing of
// it, since it was refused before or came over plain HTTP, is not held against
// anybody.
func TestTrapPageThatHasItsVisitorBannedByNginx(t *testing.T) {
	s := mirrored(t, "")
	own := s.url()
	for i, tt := range []struct {
		request   string
		kind      audit.Kind
		elsewhere bool
	}{
		{"GET /.env HTTP/1.1\r\nHost: localhost\r\n", audit.ScannerRefused, false},
		{"GET /.env HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: none\r\n", audit.ScannerRefused, false},
		{"GET /.env HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: same-origin\r\nOrigin: " + own + "\r\n", audit.ScannerRefused, false},
		{"GET /.env HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: cross-site\r\n", audit.ScannerRefused, true},
		{"GET /.env HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\n", audit.ScannerRefused, true},
		{"GET /.env HTTP/1.1\r\nHost: localhost\r\nOrigin: null\r\n", audit.ScannerRefused, true},
		{"GET /../../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n", audit.ProtocolRefused, true},
		{"GET /a%00 HTTP/1.1\r\nHost: localhost\r\n", audit.ProtocolRefused, true},
		{"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n", audit.ProtocolRefused, false},
		{"GET /" + strings.Repeat("a", 20_000) + " HTTP/1.1\r\nHost: localhost\r\n", audit.InputRefused, true},
		{"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: " + strings.Repeat("a", 20_000) + "\r\n", audit.InputRefused, false},
	} {
		client := netip.AddrFrom4([4]byte{127, 9, 9, byte(20 + i)})
		s.raw(t, byte(20+i), tt.request+"\r\n")
		mine := func(e audit.Event) bool { return e.Client == client && e.Control != "edge/behind" }
		await(func() bool { return s.count(mine) > 0 })
		if s.count(mine) != 1 || s.count(func(e audit.Event) bool { return mine(e) && e.Kind == tt.kind && e.Elsewhere == tt.elsewhere }) != 1 {
			t.Errorf("%.90q: %+v, want one %s, elsewhere %v", tt.request, s.events, tt.kind, tt.elsewhere)
		}
	}
}
