package app_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/policy"
)

// accessLines are the access log's lines of a site that is closed.
func accessLines(t *testing.T, s *answerSite) (lines []map[string]any) {
	t.Helper()
	s.Close()
	for line := range strings.Lines(s.log.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%q is no JSON line: %v", line, err)
		}
		if m["msg"] == "request" {
			lines = append(lines, m)
		}
	}
	return lines
}

func TestAccessLog(t *testing.T) {
	p := authPolicy()
	s := answerStart(t, p, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "12345") }), app.Deps{Verifier: authTokens{}}, false)
	s.do(t, "GET", "/notes/a%20b?q=1", nil, "Authorization", "Bearer alice", "User-Agent", strings.Repeat("u", 300), "Accept-Encoding", "identity")
	s.do(t, "GET", "/admin/", nil, "Authorization", "Bearer alice", "User-Agent", "x")
	s.do(t, "GET", "//", nil)
	s.do(t, "BREW", "/public/", nil)
	lines := accessLines(t, s)
	if len(lines) != 4 {
		t.Fatalf("%d lines: %s", len(lines), s.log)
	}
	for name, want := range map[string]any{
		"level": "INFO", "http.request.method": "GET", "url.path": "/notes/a b", "http.route": "/notes/", "http.response.status_code": 200.0,
		"http.response.body.size": 5.0, "client.address": "127.0.0.1", "user.id": "alice", "network.protocol.version": "1.1",
		"user_agent.original": strings.Repeat("u", 256),
	} {
		if got := lines[0][name]; got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if d, ok := lines[0]["http.server.request.duration"].(float64); !ok || d <= 0 || d > 5 {
		t.Errorf("the duration is %v seconds", lines[0]["http.server.request.duration"])
	}
	if id, _ := lines[0]["ringwall.request_id"].(string); id == "" || lines[1]["ringwall.request_id"] == id {
		t.Errorf("the request ids are %v and %v", lines[0]["ringwall.request_id"], lines[1]["ringwall.request_id"])
	}
	want := []string{"client.address", "http.request.method", "http.response.body.size", "http.response.status_code", "http.route",
		"http.server.request.duration", "level", "msg", "network.protocol.version", "ringwall.request_id", "time", "url.path", "user.id", "user_agent.original"}
	if got := slices.Sorted(maps.Keys(lines[0])); !slices.Equal(got, want) {
		t.Errorf("the line has %q", got)
	}
	for i, want := range []string{"", "app/authorization", "app/path", "app/method"} {
		if got, _ := lines[i]["ringwall.control"].(string); got != want {
			t.Errorf("line %d: ringwall.control is %q, want %q", i, got, want)
		}
	}
	if _, has := lines[2]["url.path"]; has {
		t.Errorf("a refused path is logged: %v", lines[2])
	}
}

func TestAccessLogLevel(t *testing.T) {
	var out answerBuffer
	ring, err := app.New(answerPolicy(), http.NotFoundHandler(), app.Deps{Log: slog.New(audit.NewHandler(&out, slog.LevelWarn))})
	if err != nil {
		t.Fatal(err)
	}
	ring.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "http://localhost/", nil))
	if out.String() != "" {
		t.Errorf("logged %s", out.String())
	}
}

// TRAPS: CRLF and log injection (fail2ban #3724, #1028). Attackers choose the
// path, the method and User-Agent; a proxy in front may pass anything.
func TestTrapLogInjectionOverHTTP(t *testing.T) {
	const hostile = "x from 192.0.2.1\r\n\x1b[2J\u009b31m\u202e"
	s := answerStart(t, answerPolicy(), http.HandlerFunc(authWho), app.Deps{}, false)
	req := httptest.NewRequest("GET", "http://localhost/", nil)
	req.RemoteAddr = "192.0.2.7:1"
	req.Header["User-Agent"] = []string{hostile}
	req.URL.Path = "/\u009b31m\u202e"
	s.ring.ServeHTTP(httptest.NewRecorder(), req)
	req = req.Clone(t.Context())
	req.Method = hostile
	s.ring.ServeHTTP(httptest.NewRecorder(), req)
	lines := accessLines(t, s)
	if len(lines) != 2 {
		t.Fatalf("%d lines", len(lines))
	}
	for _, l := range lines {
		if l["client.address"] != "192.0.2.7" || l["user_agent.original"] != hostile {
			t.Errorf("got %v", l)
		}
	}
	if strings.ContainsAny(strings.ReplaceAll(s.log.String(), "\n", ""), "\r\x1b\u009b\u202e") {
		t.Errorf("control characters reach the log raw: %q", s.log)
	}
}

// TRAPS: a canary in every input and every secret, then grep all output. What
// may be logged of a request are its path, its User-Agent and its Origin.
func TestTrapRedaction(t *testing.T) {
	const canary = "c4n4ry-7f3e"
	jwtLike := "eyJhbGciOiJFZERTQSJ9." + base64.RawURLEncoding.EncodeToString([]byte(canary)) + "." + canary
	p := authPolicy()
	p.App.Timeout = timeoutShort
	p.Identity.TokenKey = policy.NewSecret(canary)
	s := answerStart(t, p, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Set-Cookie", "sid="+canary)
		switch r.URL.Path {
		case "/public/error":
			http.Error(w, canary, 500)
		case "/public/panic":
			var list []string
			_ = list[len(r.URL.Path)]
		case "/public/half":
			io.WriteString(w, canary)
			panic(http.ErrAbortHandler)
		case "/public/slow":
			<-r.Context().Done()
		default:
			io.WriteString(w, canary)
		}
	}), app.Deps{Verifier: authTokens{}}, false)
	statuses := map[int]bool{}
	for _, path := range []string{"/public/", "/public/error", "/public/panic", "/public/half", "/public/slow", "/admin/", "//", "/x%00", "/anything"} {
		for _, auth := range []string{"", "Bearer alice", "Bearer " + jwtLike, "Bearer down", "Bearer old", "Basic " + base64.StdEncoding.EncodeToString([]byte("u:"+canary)), canary} {
			for _, body := range [][2]string{
				{"application/json", `{"password":"` + canary + `"}`}, {"application/json", `{"password":"` + canary}, {"application/json", `{"` + canary + `":1,"` + canary + `":2}`},
				{"application/x-www-form-urlencoded", "password=" + canary}, {"text/" + canary, canary}, {"application/json", strings.Repeat(canary, 30_000)},
			} {
				kv := []string{"Content-Type", body[0], "Cookie", "sid=" + canary, "X-Canary", canary, "X_Forwarded_For", canary,
					"Referer", "https://x/?" + canary, "X-Request-Id", canary + "<>"}
				if auth != "" {
					kv = append(kv, "Authorization", auth)
				}
				res, _, err := s.do(t, "POST", path+"?token="+canary+"&"+canary+"=1", strings.NewReader(body[1]), kv...)
				if err != nil {
					statuses[0] = true // broken off
				} else {
					statuses[res.StatusCode] = true
				}
			}
		}
	}
	for _, status := range []int{0, 200, 400, 401, 403, 413, 415, 500, 503} {
		if !statuses[status] {
			t.Errorf("no answer was %d: the test saw too little", status)
		}
	}
	s.Close()
	var found []string
	for name, out := range map[string]string{"the log": s.log.String(), "net/http's log": s.server.String()} {
		for line := range strings.Lines(out) {
			if strings.Contains(line, canary) || strings.Contains(line, base64.RawURLEncoding.EncodeToString([]byte(canary))) {
				found = append(found, name+": "+line)
			}
		}
	}
	if len(found) > 0 {
		t.Errorf("%d lines hold the canary, such as\n%s", len(found), strings.Join(found[:min(5, len(found))], ""))
	}
	if n := strings.Count(s.log.String(), `"msg":"request"`); n < 300 {
		t.Errorf("%d requests were logged: the test saw nothing", n)
	}
}

func BenchmarkAccessLog(b *testing.B) {
	var done func(*app.Exchange)
	for _, c := range app.Controls() {
		if c.ID == "app/access-log" {
			done = c.Done
		}
	}
	var x *app.Exchange
	ring, err := app.New(authPolicy(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "ok")
		x = app.FromContext(r.Context())
	}), app.Deps{Verifier: authTokens{}, Log: slog.New(audit.NewHandler(io.Discard, slog.LevelInfo))})
	if err != nil {
		b.Fatal(err)
	}
	req := httptest.NewRequest("GET", "http://localhost/notes/1", nil)
	req.Header.Set("Authorization", "Bearer alice")
	req.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	ring.ServeHTTP(httptest.NewRecorder(), req)
	b.ReportAllocs()
	for b.Loop() {
		done(x)
	}
}
