package app_test

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/ringwall/ringwall/app"
)

// headerNamesSent sends header lines through the ring over a real connection
// and returns what the handler got, without what the ring itself adds.
func headerNamesSent(t *testing.T, l *protocolLog, lines ...string) http.Header {
	t.Helper()
	s := protocolServer(t, l)
	got := protocolSend(t, s, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"+strings.Join(lines, "\r\n")+"\r\n\r\n")
	if !slices.Equal(got, []int{200}) {
		t.Fatalf("answered %v", got)
	}
	h := l.seen[0].Header
	delete(h, "X-Request-Id")
	if slices.Equal(h["Connection"], []string{"close"}) {
		delete(h, "Connection")
	}
	return h
}

// A handler in Go sees them all; what it passes on may go to one that does not.
func TestTrapManyHeaderLines(t *testing.T) {
	for lines, want := range map[int]int{98: 200, 99: 431, 1000: 431} {
		var l protocolLog
		s := protocolServer(t, &l)
		got := protocolSend(t, s, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-A: 1\r\n"+strings.Repeat("x-b:\r\n", lines)+"\r\n")
		if !slices.Equal(got, []int{want}) || (len(l.seen) == 1) != (want == 200) {
			t.Errorf("%d lines more: answered %v", lines, got)
		}
	}
}

// TRAPS: aliases with _ and . (CVE-2025-64484, CVE-2026-39858, CVE-2026-54763).
func TestTrapHeaderAliases(t *testing.T) {
	const forged = "header.forged app/header-names"
	for line, event := range map[string]string{
		"X-Ringwall-User: root":       forged,
		"x-ringwall-user: root":       forged,
		"X_Ringwall_User: root":       forged,
		"X.Ringwall.User: root":       forged,
		"X-Ringwall_User: root":       forged,
		"XRingwallUser: root":         forged,
		"X--Ringwall-User: root":      forged,
		"-X-Ringwall-User: root":      forged,
		"X-Ringwall-User-: root":      forged,
		"X~Ringwall!User: root":       forged,
		"X-Ringwall-Roles: admin":     forged,
		"X_RINGWALL_ROLES: admin":     forged,
		"X-Ringwall-Session: 1":       forged,
		"X-Ringwall-Anything: 1":      forged,
		"X_Auth_User: root":           forged,
		"X.Auth.User: root":           forged,
		"X-Auth-User: root":           forged,
		"Remote-User: root":           forged,
		"Remote_User: root":           forged,
		"X_Forwarded_For: 192.0.2.1":  forged,
		"X.Forwarded.For: 192.0.2.1":  forged,
		"X-Forwarded_Host: evil":      forged,
		"X_Real_IP: 192.0.2.1":        forged,
		"X_Request_Id: 1":             forged,
		"X-Original-URL: /admin":      forged,
		"X-Rewrite-Url: /admin":       forged,
		"Proxy: evil.example:80":      forged,
		"Authorization_: Bearer x":    forged,
		"Content_Type: text/html":     forged,
		"Content.Length: 3":           forged,
		"Transfer_Encoding: chunked":  forged,
		"Coo_kie: a=b":                forged,
		"Ho_st: evil":                 forged,
		"O.rigin: https://evil":       forged,
		"X_HTTP_Method_Override: GET": forged,

		// In good faith, by proxies on the client's side.
		"X-Forwarded-For: 192.0.2.1":   "",
		"X-Forwarded-Proto: https":     "",
		"X-Forwarded-Host: evil":       "",
		"X-Forwarded-User: root":       "",
		"X-Real-IP: 192.0.2.1":         "",
		"Forwarded: for=192.0.2.1":     "",
		"True-Client-IP: 192.0.2.1":    "",
		"CF-Connecting-IP: 192.0.2.1":  "",
		"Ssl-Client-Cert: x":           "",
		"Incap-Client-IP: 192.0.2.1":   "",
		"Ssl_Client_Cert: x":           forged,
		"Trailer: X-Ringwall-User":     "",
		"Upgrade: h2c":                 "",
		"Upgrade: websocket, H2C":      "",
		"Upgrade: HTTP/2.0":            "",
		"Upgrade: TLS/1.2":             "",
		"HTTP2-Settings: AAMAAABkAAQA": "",
		"X-Request-Id: mine":           "",
	} {
		l := &protocolLog{}
		if h := headerNamesSent(t, l, line); len(h) > 0 {
			t.Errorf("%s: the handler saw %v", line, h)
		}
		if got := strings.Join(l.kinds(), ", "); got != event {
			t.Errorf("%s: event %q, want %q", line, got, event)
		}
	}
}

func TestHeaderNamesPass(t *testing.T) {
	lines := []string{
		"Accept: a", "Accept-Encoding: a", "User-Agent: a", "Authorization: Bearer a", "Cookie: a=b", "Cookie: c=d",
		"Content-Type: application/json", "Origin: https://localhost", "Sec-Fetch-Site: same-origin", "X-Api-Key: a", "X_Api_Key: a",
		"X.Custom: a", "Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "If-Match: a", "X-Forward: a",
		"X-Ring: a", "Xforward: a", "X-A-Very-Long-Name-That-Is-Longer-Than-Any-Rule: a", "Upgrade: WebSocket", "Content-Encoding: identity", "Proxy-Status: a", "_: a",
	}
	l := &protocolLog{}
	got := headerNamesSent(t, l, lines...)
	want := http.Header{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		want.Add(name, value)
	}
	if !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("the handler saw %v, want %v", got, want)
	}
	if len(l.kinds()) > 0 {
		t.Errorf("events %v", l.kinds())
	}
}

func TestHeaderNamesOneEventForARequest(t *testing.T) {
	l := &protocolLog{}
	headerNamesSent(t, l, "X_Ringwall_User: a", "X.Ringwall.User: b", "X_Ringwall_Roles: c", strings.Repeat("X-Ringwall-", 20)+": d")
	if len(l.events) != 1 {
		t.Fatalf("%d events", len(l.events))
	}
	if e := l.events[0]; e.Status != 0 || len(e.Detail) > 120 || !strings.HasPrefix(e.Detail, "dropped X") {
		t.Errorf("event %+v", e)
	}
}

// TRAPS: Connection must not strip ours.
func TestTrapHopByHop(t *testing.T) {
	for options, want := range map[string]string{
		"X-Real-IP, X-Auth-User":                 "",
		"close, X-Ringwall-User":                 "close",
		"X-Forwarded-For,close, x_ringwall_user": "close",
		"keep-alive, Authorization":              "keep-alive",
		"Content-Length, X-Hop":                  "X-Hop",
		"X-Request-Id":                           "",
		"cookie":                                 "",
		"close, X-Hop":                           "close, X-Hop",
		"keep-alive":                             "keep-alive",
		"Upgrade, HTTP2-Settings":                "Upgrade, HTTP2-Settings",
		"TE, close":                              "TE, close",
	} {
		l := &protocolLog{}
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "http://localhost/", nil)
		r.Header.Set("Connection", options)
		r.Header.Add("Connection", "close")
		protocolRing(t, l).ServeHTTP(w, r)
		got := strings.Join(l.seen[0].Header["Connection"], ", ")
		want = strings.TrimPrefix(want+", close", ", ")
		if got != want {
			t.Errorf("%s: the handler saw %q, want %q", options, got, want)
		}
		if forged := want != options+", close"; forged != (len(l.events) == 1) {
			t.Errorf("%s: events %v", options, l.kinds())
		}
	}
}

// Trailers of any name reach nobody, announced or not.
func TestTrapHeaderTrailers(t *testing.T) {
	for announced, events := range map[string]int{"X-Ok, X-Ringwall-User": 1, "X_Ringwall_User": 1, "X-Ok": 0, "": 0} {
		var during, after http.Header
		l := &protocolLog{answer: func(_ http.ResponseWriter, r *http.Request) {
			during = r.Trailer.Clone()
			io.Copy(io.Discard, r.Body)
			after = r.Trailer
		}}
		s := protocolServer(t, l)
		head := "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
		if announced != "" {
			head += "Trailer: " + announced + "\r\n"
		}
		got := protocolSend(t, s, head+"\r\n2\r\n{}\r\n0\r\nX-Ok: 1\r\nX-Ringwall-User: root\r\nX_Ringwall_User: root\r\nAuthorization: Bearer x\r\n\r\n")
		if !slices.Equal(got, []int{200}) {
			t.Errorf("announced %q: answered %v", announced, got)
		}
		if len(during)+len(after)+len(l.seen[0].Header["Trailer"]) > 0 {
			t.Errorf("announced %q: the handler saw %v, then %v", announced, during, after)
		}
		if len(l.events) != events {
			t.Errorf("announced %q: events %v", announced, l.kinds())
		}
	}
}

func TestHeaderNamesTwice(t *testing.T) {
	for _, name := range []string{"Authorization", "authorization", "Content-Type", "Origin"} {
		l := &protocolLog{}
		s := protocolServer(t, l)
		got := protocolSend(t, s, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"+name+": a\r\n"+strings.ToUpper(name)+": a\r\n\r\n")
		if !slices.Equal(got, []int{400}) || len(l.seen) > 0 {
			t.Errorf("%s: answered %v, the handler saw %q", name, got, l.requests())
		}
		if want := []string{"protocol.refused app/header-names"}; !slices.Equal(l.kinds(), want) {
			t.Errorf("%s: events %q", name, l.kinds())
		}
	}
}

// cgiName is the variable that a CGI program gets a header in (RFC 3875,
// 4.1.18); the programs that are meant here map all but letters and digits.
func cgiName(header string) string {
	return strings.Map(func(c rune) rune {
		if 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' {
			return c
		}
		return '_'
	}, strings.ToUpper(header))
}

// No header of a client may end in the variable of one that only the ring
// writes, or of another one that is judged.
func FuzzHeaderNames(f *testing.F) {
	for _, name := range []string{"X-Ringwall-User", "x_ringwall_user", "X.Forwarded.For", "Content_type", "Accept", "Host", "Proxy", "_", "Ssl-Client-Cert", "incap_client.ip", "X-Envoy-External-Address"} {
		f.Add(name, "close, "+name)
	}
	owned := []string{
		"X-Ringwall-User", "X-Ringwall-Roles", "X-Ringwall-Session", "X-Request-Id", "Forwarded", "Proxy",
		"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Real-Ip", "Ssl-Client-Cert", "Incap-Client-Ip", "X-Envoy-External-Address",
	}
	judged := []string{"Authorization", "Cookie", "Content-Type", "Content-Length", "Transfer-Encoding", "Origin", "Host"}
	l := &protocolLog{}
	ring := protocolRing(f, l)
	f.Fuzz(func(t *testing.T, name, options string) {
		l.seen, l.events = nil, nil
		r := httptest.NewRequest("GET", "http://localhost/", nil)
		r.Header.Set(name, "client")
		r.Header.Add("Connection", options)
		ring.ServeHTTP(httptest.NewRecorder(), r)
		if len(l.seen) == 0 {
			return
		}
		for got, values := range l.seen[0].Header {
			if !slices.Contains(values, "client") {
				continue
			}
			for _, o := range owned {
				if cgiName(got) == cgiName(o) {
					t.Fatalf("%q reached the handler as %q", name, got)
				}
			}
			for _, j := range judged {
				if cgiName(got) == cgiName(j) && got != j {
					t.Fatalf("%q reached the handler as %q", name, got)
				}
			}
		}
		for _, v := range l.seen[0].Header["Connection"] {
			for option := range strings.SplitSeq(v, ",") {
				option = http.CanonicalHeaderKey(strings.Trim(option, " \t"))
				if slices.Contains(owned, option) || slices.Contains(judged, option) {
					t.Fatalf("Connection %q still names %s", v, option)
				}
			}
		}
	})
}

// headerNamesBrowser is what a browser sends with fetch.
func headerNamesBrowser() http.Header {
	browser := http.Header{}
	for line := range strings.SplitSeq(`Accept: */*
Accept-Encoding: gzip, deflate, br, zstd
Accept-Language: en-US,en;q=0.9
Authorization: Bearer x
Connection: keep-alive
Origin: https://localhost
Referer: https://localhost/
Sec-Ch-Ua: "Chromium"
Sec-Ch-Ua-Mobile: ?0
Sec-Ch-Ua-Platform: "Linux"
Sec-Fetch-Dest: empty
Sec-Fetch-Mode: cors
Sec-Fetch-Site: same-origin
User-Agent: Mozilla/5.0
X-Api-Version: 2`, "\n") {
		name, value, _ := strings.Cut(line, ": ")
		browser.Set(name, value)
	}
	return browser
}

func TestHeaderNamesAllocates(t *testing.T) {
	browser := headerNamesBrowser()
	if n := testing.AllocsPerRun(100, func() { app.CleanHeaders(browser, true, false) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkHeaderNames(b *testing.B) {
	browser := headerNamesBrowser()
	b.ReportAllocs()
	for b.Loop() {
		app.CleanHeaders(browser, true, false)
	}
}
