package audit_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"testing/slogtest"
	"time"

	"github.com/ringwall/ringwall/audit"
)

// logged writes with a fresh logger and returns the lines, parsed.
func logged(t *testing.T, write func(*slog.Logger)) ([]map[string]any, string) {
	t.Helper()
	var out bytes.Buffer
	write(slog.New(audit.NewHandler(&out, slog.LevelDebug)))
	var lines []map[string]any
	for line := range strings.Lines(out.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%q is no JSON line: %v", line, err)
		}
		lines = append(lines, m)
	}
	return lines, out.String()
}

// The standard library's own conformance suite for handlers is the oracle.
func TestHandlerConforms(t *testing.T) {
	var out bytes.Buffer
	slogtest.Run(t, func(*testing.T) slog.Handler {
		out.Reset()
		return audit.NewHandler(&out, slog.LevelInfo)
	}, func(t *testing.T) map[string]any {
		var m map[string]any
		if err := json.Unmarshal(out.Bytes(), &m); err != nil {
			t.Fatalf("%q: %v", out.String(), err)
		}
		return m
	})
}

func TestHandlerGroupsInGroups(t *testing.T) {
	lines, raw := logged(t, func(l *slog.Logger) {
		l.WithGroup("a").WithGroup("b").Info("x", "c", 1)
		l.WithGroup("a").With("k", 1).WithGroup("b").Info("x", slog.Group("d", slog.Group("e", "f", 2)), slog.Group("empty"))
		l.WithGroup("a").With(slog.Group("none")).Info("x")
	})
	if len(lines) != 3 || !strings.Contains(raw, `"a":{"b":{"c":1}}}`) ||
		!strings.Contains(raw, `"a":{"k":1,"b":{"d":{"e":{"f":2}}}}}`) || strings.Contains(raw, "none") || strings.Contains(raw, "empty") {
		t.Errorf("got %s", raw)
	}
}

const canary = "c4n4ry-93b1"

type typedSecret string

func (typedSecret) LogValue() slog.Value { return slog.StringValue("****") }

type login struct {
	Email     string
	Password  string
	RefreshT  string `json:"refresh_token"`
	Inner     *login
	Typed     typedSecret
	Raw       []byte
	unwritten string
}

// TRAPS: redaction that misses nesting (pino #1708).
func TestTrapRedactionNested(t *testing.T) {
	deep := any(map[string]any{"api-key": canary})
	for range 5 {
		deep = map[string]any{"list": []any{deep}}
	}
	req := &http.Request{Method: "GET", URL: &url.URL{Path: "/p", RawQuery: "token=" + canary, User: url.UserPassword("u", canary)},
		Header: http.Header{"Authorization": {canary}}}
	for name, attr := range map[string]slog.Attr{
		"key":               slog.String("password", canary),
		"spelling":          slog.String("X-API_Key", canary),
		"camel case":        slog.String("refreshToken", canary),
		"group":             slog.Group("a", slog.Group("b", slog.String("client_secret", canary))),
		"secret group":      slog.Group("credentials", slog.String("name", canary)),
		"deep map":          slog.Any("body", deep),
		"struct":            slog.Any("login", login{Password: canary, RefreshT: canary, Inner: &login{Password: canary}, unwritten: canary}),
		"pointer":           slog.Any("login", &login{Password: canary}),
		"typed":             slog.Any("v", typedSecret(canary)),
		"typed in a struct": slog.Any("v", login{Typed: canary}),
		"typed in a slice":  slog.Any("v", []typedSecret{canary}),
		"typed in a map":    slog.Any("v", map[string]typedSecret{"k": canary}),
		"bytes":             slog.Any("v", []byte(canary)),
		"bytes in a struct": slog.Any("v", login{Raw: []byte(canary)}),
		"header":            slog.Any("h", http.Header{"Authorization": {canary}, "Cookie": {canary}, "X-Something": {canary}}),
		"request":           slog.Any("r", req),
		"url":               slog.Any("u", req.URL),
		"url value":         slog.Any("u", *req.URL),
		"form":              slog.Any("form", url.Values{"password": {canary}}),
		"json":              slog.Any("j", json.RawMessage(`{"a":[{"pwd":"`+canary+`"}]}`)),
		"string map":        slog.Any("m", map[string]string{"Set-Cookie": canary}),
	} {
		t.Run(name, func(t *testing.T) {
			_, direct := logged(t, func(l *slog.Logger) { l.LogAttrs(t.Context(), slog.LevelInfo, "x", attr) })
			_, with := logged(t, func(l *slog.Logger) { l.With(attr).Info("x") })
			_, grouped := logged(t, func(l *slog.Logger) { l.WithGroup("secret").Info("x", "y", canary) })
			for _, out := range []string{direct, with, grouped} {
				if strings.Contains(out, canary) {
					t.Errorf("the secret is in %s", out)
				}
			}
		})
	}
}

// What is not secret must stay readable, or the log is of no use.
func TestHandlerKeepsTheRest(t *testing.T) {
	lines, raw := logged(t, func(l *slog.Logger) {
		l.Info("x", "user.id", "u1", "session.id", "s1", "n", -5, "f", 0.25, "ok", true, "err", errors.New("no \"luck\""),
			"h", http.Header{"Content-Type": {"a/b"}}, "at", time.Unix(0, 0).UTC(), "addr", netip.MustParseAddr("::1"),
			"s", struct {
				A int `json:"a"`
				B *int
			}{A: 1}, "nil", nil, "ch", make(chan int), "list", []string{"a", "b"}, "author", "jane", "monkey", "m")
	})
	for _, want := range []string{`"user.id":"u1"`, `"session.id":"s1"`, `"n":-5`, `"f":0.25`, `"ok":true`, `"err":"no \"luck\""`,
		`"h":{"Content-Type":"a/b"}`, `"at":"1970-01-01T00:00:00Z"`, `"addr":"::1"`, `"s":{"a":1,"B":null}`, `"nil":null`,
		`"list":["a","b"]`, `"author":"jane"`, `"monkey":"m"`} {
		if !strings.Contains(raw, want) {
			t.Errorf("%s is not in %s", want, raw)
		}
	}
	if lines[0]["msg"] != "x" || lines[0]["level"] != "INFO" {
		t.Errorf("got %v", lines[0])
	}
}

type panics struct{}

func (*panics) LogValue() slog.Value { panic("no") }

type loop struct{ Next *loop }

func TestHandlerSurvivesOddValues(t *testing.T) {
	ring := &loop{}
	ring.Next = ring
	many := make([]int, 5000)
	lines, raw := logged(t, func(l *slog.Logger) {
		l.Info("x", "p", (*panics)(nil), "ring", ring, "many", many, "nan", func() float64 { z := 0.0; return z / z }())
	})
	if len(lines) != 1 || len(raw) > 4000 {
		t.Errorf("%d lines, %d bytes: %s", len(lines), len(raw), raw)
	}
}

// TRAPS: CRLF and log injection (fail2ban #3724, #1028).
func TestTrapLogInjection(t *testing.T) {
	hostile := "x from 192.0.2.1\r\n{\"level\":\"ERROR\"}\x1b[2J\x9b31m\x7f\x00\u009b\u2028\u202e\xff\U000e0001"
	lines, raw := logged(t, func(l *slog.Logger) {
		audit.NewLog(l).Record(audit.Event{Kind: audit.AuthFailed, Subject: hostile, Path: hostile, Detail: hostile,
			Client: netip.MustParseAddr("192.0.2.7"), Method: hostile})
		l.Info(hostile, hostile, hostile)
	})
	if len(lines) != 2 {
		t.Fatalf("%d lines: %q", len(lines), raw)
	}
	if got := lines[0]["client.address"]; got != "192.0.2.7" {
		t.Errorf("client.address is %v", got)
	}
	for _, r := range strings.ReplaceAll(raw, "\n", "") {
		if r < ' ' || r == 0x7f || 0x80 <= r && r < 0xa0 || r == 0x2028 || r == 0x202e || r == 0xe0001 || r == 0xfffd {
			t.Fatalf("%U reaches the log raw: %q", r, raw)
		}
	}
	if want := string([]rune(hostile)); lines[0]["user.id"] != want {
		t.Errorf("user.id is %q, want %q", lines[0]["user.id"], want)
	}
}

// The encoder's strings are read back by another decoder.
func FuzzString(f *testing.F) {
	f.Add("a\x1b[0m\"\\\u2028\U0001f600\xed\xa0\x80")
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 60_000 {
			return
		}
		lines, raw := logged(t, func(l *slog.Logger) { l.Info("x", "k", s) })
		if len(lines) != 1 || lines[0]["k"] != string([]rune(s)) {
			t.Errorf("%q came back as %q", s, raw)
		}
	})
}

func TestLogLevelsAndNames(t *testing.T) {
	e := audit.Event{Time: time.Unix(1, 0), Kind: audit.RateBlocked, Outcome: audit.Failure, Control: "app/rate",
		Client: netip.MustParseAddr("192.0.2.1"), Subject: "u", Session: "s", RequestID: "r", Method: "GET", Path: "/p",
		Route: "/", Status: 429, Detail: "d"}
	lines, _ := logged(t, func(l *slog.Logger) {
		audit.NewLog(l).Record(e)
		audit.NewLog(l).Record(audit.Event{Kind: audit.AuthExpired})
		audit.NewLog(l).Record(audit.Event{Kind: audit.HandlerPanicked})
	})
	for key, want := range map[string]any{"level": "WARN", "event.name": "rate.blocked", "event.outcome": "failure",
		"ringwall.control": "app/rate", "client.address": "192.0.2.1", "user.id": "u", "session.id": "s",
		"ringwall.request_id": "r", "http.request.method": "GET", "url.path": "/p", "http.route": "/",
		"http.response.status_code": 429.0, "ringwall.detail": "d", "time": "1970-01-01T00:00:01Z"} {
		if lines[0][key] != want {
			t.Errorf("%s is %v, want %v", key, lines[0][key], want)
		}
	}
	if len(lines[1]) != 3 || lines[1]["level"] != "INFO" || lines[2]["level"] != "ERROR" {
		t.Errorf("got %v and %v", lines[1], lines[2])
	}
	var out bytes.Buffer
	audit.NewLog(slog.New(audit.NewHandler(&out, slog.LevelError))).Record(e)
	if out.Len() > 0 {
		t.Errorf("a warning passed the level error: %s", out.String())
	}
}

func TestLevels(t *testing.T) {
	for kind, want := range map[audit.Kind]string{
		audit.SignedIn: "INFO", audit.TokenRefreshed: "INFO", audit.RolesChanged: "INFO", audit.AuditAnchored: "INFO",
		audit.TokenReused: "WARN", audit.AttemptDelayed: "WARN", audit.StoreRestored: "WARN",
		audit.StoreFailed: "ERROR", audit.MailFailed: "ERROR", audit.AuditBroken: "ERROR", audit.AuditLost: "ERROR",
	} {
		lines, _ := logged(t, func(l *slog.Logger) { audit.NewLog(l).Record(audit.Event{Kind: kind}) })
		if lines[0]["level"] != want {
			t.Errorf("%s has the level %v, want %s", kind, lines[0]["level"], want)
		}
	}
}

type recorder []audit.Event

func (r *recorder) Record(e audit.Event) { *r = append(*r, e) }

func TestTee(t *testing.T) {
	var a, b recorder
	audit.Tee(&a, audit.Discard, &b).Record(audit.Event{Kind: audit.ServerStarted})
	if len(a) != 1 || len(b) != 1 {
		t.Errorf("got %v and %v", a, b)
	}
}

func BenchmarkEvent(b *testing.B) {
	s := audit.NewLog(slog.New(audit.NewHandler(io.Discard, slog.LevelInfo)))
	e := audit.Event{Time: time.Now(), Kind: audit.RateBlocked, Outcome: audit.Failure, Control: "app/rate",
		Client: netip.MustParseAddr("192.0.2.1"), RequestID: "0123456789abcdef", Method: "GET", Path: "/api/notes", Route: "/", Status: 429, Detail: "d"}
	b.ReportAllocs()
	for b.Loop() {
		s.Record(e)
	}
}
