package app_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/audit"
)

// problemStack is what Express answers when nobody catches.
const problemStack = "Error: connect ECONNREFUSED 10.0.0.5:5432\n    at TCPConnectWrap.afterConnect [as oncomplete] (node:net:1595:16)"

func TestProblemReplacesErrors(t *testing.T) {
	write := func(status int, kind, body string, kv ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if kind != "" {
				w.Header().Set("Content-Type", kind)
			}
			for i := 0; i < len(kv); i += 2 {
				w.Header().Set(kv[i], kv[i+1])
			}
			w.WriteHeader(status)
			if n, err := io.WriteString(w, body); n != len(body) || err != nil {
				t.Errorf("the handler's write: %d, %v", n, err)
			}
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /only-get", func(http.ResponseWriter, *http.Request) {})
	for name, tt := range map[string]struct {
		handler http.Handler
		method  string
		path    string
		status  int
		kept    string            // the handler's body is kept
		header  map[string]string // "": absent
	}{
		"a mux's 404":           {mux, "GET", "/no", 404, "", map[string]string{"X-Content-Type-Options": "nosniff"}},
		"a mux's 405":           {mux, "POST", "/only-get", 405, "", map[string]string{"Allow": "GET, HEAD"}},
		"http.Error 500":        {write(500, "text/plain; charset=utf-8", problemStack), "GET", "/", 500, "", nil},
		"Express in HTML":       {write(500, "text/html", "<pre>"+problemStack), "GET", "/", 500, "", nil},
		"Express in JSON":       {write(500, "application/json", `{"stack":"`+problemStack+`"}`), "GET", "/", 500, "", nil},
		"400 in HTML":           {write(400, "Text/HTML;charset=utf-8", problemStack), "GET", "/", 400, "", nil},
		"502 of no type":        {write(502, "", problemStack), "GET", "/", 502, "", nil},
		"bare 403":              {http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(403) }), "GET", "/", 403, "", nil},
		"a status of its own":   {write(599, "text/plain", problemStack), "GET", "/", 599, "", nil},
		"4xx JSON of the API":   {write(409, "application/json", `{"e":1}`), "GET", "/", 409, `{"e":1}`, nil},
		"4xx XML of the API":    {write(409, "application/xml", `<e/>`), "GET", "/", 409, `<e/>`, nil},
		"problem+json":          {write(500, "application/problem+json; charset=utf-8", `{"title":"T","status":500}`), "GET", "/", 500, `{"title":"T","status":500}`, nil},
		"success in plain text": {write(200, "text/plain", "ok"), "GET", "/", 200, "ok", nil},
		"redirect in HTML":      {write(302, "text/html", "<a>", "Location", "/x"), "GET", "/", 302, "<a>", nil},
		"HEAD":                  {write(500, "text/html", ""), "HEAD", "/", 500, "", nil},
		"headers that stay": {write(401, "text/plain", problemStack, "WWW-Authenticate", "Basic", "Retry-After", "7", "Location", "/in", "X-Own", "1"),
			"GET", "/", 401, "", map[string]string{"Www-Authenticate": "Basic", "Retry-After": "7", "Location": "/in", "X-Own": "1"}},
		"headers of the body": {write(500, "text/html", "<pre>"+problemStack, "Content-Encoding", "br", "Content-Language", "de", "ETag", `"e"`,
			"Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT", "Content-Disposition", "attachment", "Cache-Control", "public", "Content-Length", "118"),
			"GET", "/", 500, "", map[string]string{"Content-Encoding": "", "Content-Language": "", "Etag": "", "Last-Modified": "", "Content-Disposition": "", "Cache-Control": "no-store"}},
		"416 keeps its range": {write(416, "text/plain", "x", "Content-Range", "bytes */10"), "GET", "/", 416, "", map[string]string{"Content-Range": "bytes */10"}},
	} {
		t.Run(name, func(t *testing.T) {
			answerEach(t, tt.handler.ServeHTTP, func(t *testing.T, s *answerSite) {
				res, body, err := s.do(t, tt.method, tt.path, nil)
				if err != nil || res.StatusCode != tt.status {
					t.Fatalf("got %v, %v", res, err)
				}
				for name, want := range tt.header {
					if got := res.Header.Get(name); got != want {
						t.Errorf("%s is %q, want %q", name, got, want)
					}
				}
				if tt.kept != "" {
					if body != tt.kept {
						t.Errorf("got %q, want %q", body, tt.kept)
					}
					return
				}
				if strings.Contains(body, "ECONN") || strings.Contains(body, "node:") {
					t.Errorf("internals in %s", body)
				}
				if got := res.Header.Get("Content-Type"); got != "application/problem+json" {
					t.Errorf("Content-Type is %q", got)
				}
				if tt.method == "HEAD" {
					return
				}
				if res.ContentLength != int64(len(body)) {
					t.Errorf("Content-Length %d, body %d", res.ContentLength, len(body))
				}
				var got struct {
					Type, Title string
					Status      int
					RequestID   string `json:"request_id"`
				}
				if err := json.Unmarshal([]byte(body), &got); err != nil || got.Status != tt.status || got.Title == "" || got.Type != "about:blank" ||
					got.RequestID == "" || got.RequestID != res.Header.Get("X-Request-Id") {
					t.Errorf("got %s, %v", body, err)
				}
			})
		})
	}
}

func TestProblemLogsWhatItHides(t *testing.T) {
	answerEach(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(500)
		io.Copy(w, io.LimitReader(zeros{}, 1000))
		fmt.Fprint(w, problemStack)
	}, func(t *testing.T, s *answerSite) {
		s.get(t, "/")
		s.Close()
		if got := s.log.String(); !strings.Contains(got, fmt.Sprintf(`"ringwall.hidden_bytes":%d`, 1000+len(problemStack))) || strings.Contains(got, "ECONN") {
			t.Errorf("the log says %s", got)
		}
	})
}

func TestProblemPanics(t *testing.T) {
	const word = "panic-text-5a1"
	for name, tt := range map[string]struct {
		handler http.HandlerFunc
		status  int  // 0: the answer is broken off
		event   bool // and the log has the stack
	}{
		"before the answer": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Half", "1")
			panic(word)
		}, 500, true},
		"with an error": {func(http.ResponseWriter, *http.Request) { panic(errors.New(word)) }, 500, true},
		//lint:ignore SA5000 the panic is what is tested
		"with a nil map":    {func(http.ResponseWriter, *http.Request) { var m map[string]int; m[word] = 1 }, 500, true},
		"in the answer":     {func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "half"); panic(word) }, 0, true},
		"after a flush":     {func(w http.ResponseWriter, r *http.Request) { w.(http.Flusher).Flush(); panic(word) }, 0, true},
		"after its own 500": {func(w http.ResponseWriter, r *http.Request) { http.Error(w, word, 500); panic(word) }, 500, true},
		"to abort": {func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "half")
			panic(http.ErrAbortHandler)
		}, 0, false},
		"to abort at once": {func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }, 0, false},
		"to abort a 500":   {func(w http.ResponseWriter, r *http.Request) { http.Error(w, word, 500); panic(http.ErrAbortHandler) }, 500, false},
		"with a length given": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, strings.Repeat("x", 50))
			w.(http.Flusher).Flush()
			panic(word)
		}, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			answerEach(t, tt.handler, func(t *testing.T, s *answerSite) {
				res, body, err := s.do(t, "POST", "/", nil) // POST: clients do not repeat it
				if tt.status == 0 {
					if err == nil {
						t.Errorf("the client took %q for a whole answer", body)
					}
				} else if err != nil || res.StatusCode != tt.status || !strings.Contains(body, `"status":500`) || res.Header.Get("X-Half") != "" {
					t.Errorf("got %v %q, %v", res, body, err)
				}
				if strings.Contains(body, word) || strings.Contains(body, "goroutine") {
					t.Errorf("internals in %q", body)
				}
				s.Close()
				out := s.log.String()
				panicked := s.events.of(audit.HandlerPanicked)
				if len(panicked) == 1 != tt.event || strings.Contains(out, `problem_test.go`) != tt.event {
					t.Errorf("%d events; the log says %s", len(panicked), out)
				}
				for _, e := range panicked {
					if strings.Contains(e.Detail, word) {
						t.Errorf("the event holds the panic's text: %q", e.Detail)
					}
				}
				if !strings.Contains(out, `"msg":"request"`) || (tt.status == 0) != strings.Contains(out, `"ringwall.broken_off":true`) {
					t.Errorf("the access log says %s", out)
				}
				if strings.Contains(s.server.String(), "panic") {
					t.Errorf("net/http had to recover: %s", s.server)
				}
			})
		})
	}
}

// ASP.NET Core's developer page answers problem+json with the whole exception in
// it, so that of an upstream nothing passes with a 5xx.
func TestTrapStackInTheProblemOfAnUpstream(t *testing.T) {
	const theirs = `{"title":"Npgsql.NpgsqlException","status":500,"exception":{"details":"at Program.Main() in /src/Program.cs:line 12"}}`
	for name, tt := range map[string]struct {
		upstream string
		status   int
		passes   bool
	}{
		"an upstream's 500": {"http://127.0.0.1:1", 500, false},
		"an upstream's 422": {"http://127.0.0.1:1", 422, true}, // its contract with clients
		"a Go handler's":    {"", 500, true},                   // written on purpose
	} {
		t.Run(name, func(t *testing.T) {
			p := answerPolicy()
			p.Upstream = tt.upstream
			s := answerStart(t, p, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/problem+json")
				w.WriteHeader(tt.status)
				io.WriteString(w, theirs)
			}), app.Deps{}, false)
			res, body := s.get(t, "/")
			if passed := body == theirs; res.StatusCode != tt.status || passed != tt.passes || !passed && strings.Contains(body, "Program") {
				t.Errorf("%d %s", res.StatusCode, body)
			}
		})
	}
}
