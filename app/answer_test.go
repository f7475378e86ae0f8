package app_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/policy"
)

// answerSite is a ring with a real server before it and a real client.
type answerSite struct {
	*httptest.Server
	client *http.Client
	ring   *app.Ring
	events *answerEvents
	log    *answerBuffer // access log and errors
	server *answerBuffer // what net/http itself complains of
}

type answerEvents struct {
	mu  sync.Mutex
	all []audit.Event
}

func (e *answerEvents) Record(ev audit.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, ev)
}

func (e *answerEvents) of(kind audit.Kind) (got []audit.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, ev := range e.all {
		if ev.Kind == kind {
			got = append(got, ev)
		}
	}
	return got
}

type answerBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *answerBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *answerBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// answerPolicy lets everybody call everything.
func answerPolicy() *policy.Policy {
	p := policy.Default()
	p.Site = "localhost"
	p.App.Limits = map[string]policy.Limit{"global": {Requests: 1_000_000, Per: time.Minute}}
	p.App.Routes = []policy.Route{{Path: "/", Allow: []string{"anyone"}}}
	return p
}

// answerStart serves h behind a ring, over HTTP/1.1 or over TLS and HTTP/2.
func answerStart(t testing.TB, p *policy.Policy, h http.Handler, deps app.Deps, http2 bool) *answerSite {
	t.Helper()
	s := &answerSite{events: &answerEvents{}, log: &answerBuffer{}, server: &answerBuffer{}}
	deps.Audit = audit.Tee(s.events, audit.NewLog(slog.New(audit.NewHandler(s.log, slog.LevelInfo))))
	deps.Log = slog.New(audit.NewHandler(s.log, slog.LevelInfo))
	var err error
	if s.ring, err = app.New(p, h, deps); err != nil {
		t.Fatal(err)
	}
	s.Server = httptest.NewUnstartedServer(s.ring)
	s.Config.ErrorLog = log.New(s.server, "", 0)
	if http2 {
		s.EnableHTTP2 = true
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	s.client = s.Client()
	addr := s.Listener.Addr().String()
	tr := s.client.Transport.(*http.Transport)
	tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}
	tr.DisableCompression = true
	s.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if http2 {
		tr.TLSClientConfig.ServerName = "127.0.0.1"
		s.URL = "https://localhost"
	} else {
		s.URL = "http://localhost"
	}
	return s
}

// answerEach runs a test over both protocols.
func answerEach(t *testing.T, h http.HandlerFunc, test func(*testing.T, *answerSite)) {
	for name, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		t.Run(name, func(t *testing.T) {
			s := answerStart(t, answerPolicy(), h, app.Deps{}, http2)
			test(t, s)
		})
	}
}

func (s *answerSite) do(t testing.TB, method, path string, body io.Reader, kv ...string) (*http.Response, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(kv); i += 2 {
		req.Header.Add(kv[i], kv[i+1])
	}
	res, err := s.client.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res, string(b), err
}

func (s *answerSite) get(t testing.TB, path string) (*http.Response, string) {
	t.Helper()
	res, body, err := s.do(t, "GET", path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return res, body
}

func TestAnswerForms(t *testing.T) {
	var informed http.Header
	for name, tt := range map[string]struct {
		handler func(w http.ResponseWriter, r *http.Request)
		status  int
		body    string
		header  map[string]string
	}{
		"nothing written": {func(w http.ResponseWriter, r *http.Request) {}, 200, "", nil},
		"header without a body": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Mine", "1")
		}, 200, "", map[string]string{"X-Mine": "1"}},
		"the first status wins": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(201)
			w.Header().Set("X-Late", "1")
			w.WriteHeader(500)
			io.WriteString(w, "ok")
		}, 201, "ok", map[string]string{"X-Late": ""}},
		"204": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(204)
			if _, err := io.WriteString(w, "x"); !errors.Is(err, http.ErrBodyNotAllowed) {
				t.Errorf("a body of 204: %v", err)
			}
		}, 204, "", nil},
		"304": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Etag", `"a"`)
			w.WriteHeader(304)
		}, 304, "", map[string]string{"Etag": `"a"`}},
		"length": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "3")
			io.WriteString(w, "abc")
		}, 200, "abc", map[string]string{"Content-Length": "3"}},
		"sniffed type": {func(w http.ResponseWriter, r *http.Request) {
			w.Write([]byte("%PDF-1.7"))
		}, 200, "%PDF-1.7", map[string]string{"Content-Type": "application/pdf"}},
		"copied": {func(w http.ResponseWriter, r *http.Request) {
			n, err := io.Copy(w, io.LimitReader(strings.NewReader(strings.Repeat("a", 100_000)), 70_000))
			if n != 70_000 || err != nil {
				t.Errorf("Copy: %d, %v", n, err)
			}
		}, 200, strings.Repeat("a", 70_000), nil},
		"copied from nothing": {func(w http.ResponseWriter, r *http.Request) {
			io.Copy(w, strings.NewReader(""))
			w.WriteHeader(202) // nothing has begun yet
		}, 202, "", nil},
		"copied from what fails": {func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.Copy(w, io.LimitReader(brokenReader{}, 9)); err == nil {
				t.Error("no error")
			}
			http.Error(w, "x", 502)
		}, 502, "", nil},
		"impossible status": {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(99) }, 500, "", nil},
		"early hints": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "</a.css>; rel=preload")
			w.Header().Set("X-Powered-By", "x")
			w.WriteHeader(103)
			w.Header().Set("X-After", "1")
			io.WriteString(w, "ok")
		}, 200, "ok", map[string]string{"Link": "</a.css>; rel=preload", "X-After": "1"}},
		"owned headers": {func(w http.ResponseWriter, r *http.Request) {
			w.Header()["X-Content-Type-Options"] = []string{"sniff", "nosniff"}
			w.Header().Set("X-Powered-By", "PHP/5")
			w.Header().Set("Server", "old")
			io.WriteString(w, "ok")
		}, 200, "ok", map[string]string{"X-Powered-By": "", "Server": ""}},
	} {
		t.Run(name, func(t *testing.T) {
			answerEach(t, tt.handler, func(t *testing.T, s *answerSite) {
				informed = nil
				ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
					informed = http.Header(h)
					return nil
				}})
				req, _ := http.NewRequestWithContext(ctx, "GET", s.URL+"/", nil)
				res, err := s.client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err != nil || res.StatusCode != tt.status || tt.body != "" && string(body) != tt.body {
					t.Errorf("got %d and %d bytes, %v", res.StatusCode, len(body), err)
				}
				for name, want := range tt.header {
					if got := res.Header.Get(name); got != want {
						t.Errorf("%s is %q, want %q", name, got, want)
					}
				}
				if got := res.Header["X-Content-Type-Options"]; len(got) != 1 || got[0] != "nosniff" {
					t.Errorf("X-Content-Type-Options is %q", got)
				}
				if name == "early hints" && (informed.Get("Link") == "" || informed.Get("X-Powered-By") != "") {
					t.Errorf("103 came with %v", informed)
				}
			})
		})
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("broken") }

func TestAnswerHEAD(t *testing.T) {
	answerEach(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", "7")
		io.WriteString(w, `{"a":1}`)
	}, func(t *testing.T, s *answerSite) {
		res, body, err := s.do(t, "HEAD", "/", nil)
		if err != nil || body != "" || res.StatusCode != 200 || res.ContentLength != 7 {
			t.Errorf("got %v, %q, %v", res, body, err)
		}
		if !strings.Contains(s.log.String(), `"http.response.body.size":0`) {
			t.Errorf("the log counts a body: %s", s.log)
		}
		res, body, err = s.do(t, "HEAD", "//", nil) // refused by the ring
		if err != nil || body != "" || res.StatusCode != 400 || res.ContentLength < 20 {
			t.Errorf("got %v, %q, %v", res, body, err)
		}
	})
}

func TestAnswerTrailers(t *testing.T) {
	answerEach(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		w.Header().Add("Trailer", "Server")
		io.WriteString(w, "body")
		w.(http.Flusher).Flush()
		w.Header().Set("X-Sum", "42")
		w.Header().Set("Server", "hidden")
		w.Header().Set(http.TrailerPrefix+"X-Unannounced", "1")
		w.Header().Set(http.TrailerPrefix+"X-Powered-By", "hidden")
		w.Header().Set("X-Too-Late", "1")
	}, func(t *testing.T, s *answerSite) {
		res, body := s.get(t, "/")
		if body != "body" || res.Trailer.Get("X-Sum") != "42" || res.Trailer.Get("X-Unannounced") != "1" {
			t.Errorf("got %q and trailers %v", body, res.Trailer)
		}
		for name, v := range res.Trailer {
			if len(v) > 0 && v[0] == "hidden" || name == "X-Too-Late" {
				t.Errorf("the trailer %s: %q passed", name, v)
			}
		}
	})
}

func TestAnswerController(t *testing.T) {
	answerEach(t, func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		if err := c.SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Errorf("SetWriteDeadline: %v", err)
		}
		if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Errorf("SetReadDeadline: %v", err)
		}
		if r.ProtoMajor == 1 {
			if err := c.EnableFullDuplex(); err != nil {
				t.Errorf("EnableFullDuplex: %v", err)
			}
		} else if _, _, err := c.Hijack(); err == nil {
			t.Error("an HTTP/2 stream was hijacked")
		}
		w.WriteHeader(202) // a failed Hijack must leave the answer open
		if err := c.Flush(); err != nil {
			t.Errorf("Flush: %v", err)
		}
	}, func(t *testing.T, s *answerSite) {
		if res, _ := s.get(t, "/"); res.StatusCode != 202 {
			t.Errorf("got %d", res.StatusCode)
		}
	})
}

// TRAPS: SSE, WebSocket, big bodies broken by wrappers. Here all go through
// httputil.ReverseProxy to a server of their own, as an API's do.
func TestTrapStreaming(t *testing.T) {
	size := int64(1 << 30)
	if testing.Short() {
		size = 64 << 20
	}
	release := make(chan struct{})
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/events":
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, "data: first\n\n")
			w.(http.Flusher).Flush()
			select {
			case <-release:
			case <-r.Context().Done():
			}
			fmt.Fprint(w, "data: last\n\n")
		case "/socket":
			if r.Header.Get("Upgrade") != "websocket" {
				t.Errorf("no upgrade reached the API: %v", r.Header)
			}
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			io.Copy(conn, rw)
		case "/download":
			w.Header().Set("Content-Type", "application/octet-stream")
			io.Copy(w, io.LimitReader(zeros{}, size))
		case "/upload":
			n, err := io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, n, err)
		}
	}))
	t.Cleanup(api.Close)
	target, _ := url.Parse(api.URL)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	p := answerPolicy()
	p.App.Body = policy.Size(size)
	p.App.ContentTypes = []string{"application/octet-stream"}
	s := answerStart(t, p, proxy, app.Deps{}, false)

	t.Run("events", func(t *testing.T) {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", s.URL+"/events", nil)
		req.Header.Set("Accept-Encoding", "gzip")
		res, err := s.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		r := bufio.NewReader(res.Body)
		// It is there while the handler waits; TestCompressionStreams has the time.
		if line, err := r.ReadString('\n'); err != nil || line != "data: first\n" {
			t.Errorf("the first event: %q, %v", line, err)
		}
		close(release)
		if rest, err := io.ReadAll(r); err != nil || !strings.Contains(string(rest), "data: last") {
			t.Errorf("the rest: %q, %v", rest, err)
		}
	})
	t.Run("upgrade", func(t *testing.T) {
		conn, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		fmt.Fprint(conn, "GET /socket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		br := bufio.NewReader(conn)
		res, err := http.ReadResponse(br, nil)
		if err != nil || res.StatusCode != 101 {
			t.Fatalf("%v, %v", res, err)
		}
		for _, word := range []string{"hello\n", "again\n"} {
			fmt.Fprint(conn, word)
			if got, err := br.ReadString('\n'); got != word {
				t.Errorf("got %q, %v", got, err)
			}
		}
	})
	t.Run("download", func(t *testing.T) {
		answerFlat(t, func() {
			res, err := s.client.Get(s.URL + "/download")
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if n, err := io.Copy(io.Discard, res.Body); n != size || err != nil {
				t.Errorf("%d bytes, %v", n, err)
			}
		})
	})
	t.Run("upload", func(t *testing.T) {
		answerFlat(t, func() {
			req, _ := http.NewRequestWithContext(t.Context(), "POST", s.URL+"/upload", io.LimitReader(zeros{}, size))
			req.ContentLength = size
			req.Header.Set("Content-Type", "application/octet-stream")
			res, err := s.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if b, _ := io.ReadAll(res.Body); string(b) != fmt.Sprint(size, " <nil>") {
				t.Errorf("the API says %s", b)
			}
		})
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// answerFlat fails when f makes the process allocate more than 32 MB in all,
// whatever the collector does.
func answerFlat(t *testing.T, f func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 32<<20 {
		t.Errorf("%d MB were allocated", grown>>20)
	}
}

// What something before the ring has set on the answer stays there.
func TestAnswerKeepsOuterHeaders(t *testing.T) {
	ring, err := app.New(answerPolicy(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(103)
		io.WriteString(w, "ok")
	}), app.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Alt-Svc", `h3=":443"`)
		r.Host = "localhost"
		ring.ServeHTTP(w, r)
	}))
	defer s.Close()
	res, err := s.Client().Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.Header.Get("Alt-Svc") == "" {
		t.Error("the outer header is gone")
	}
}

func TestStats(t *testing.T) {
	inside := make(chan app.Stats, 1)
	var ring *app.Ring
	s := answerStart(t, answerPolicy(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/look":
			inside <- ring.Stats()
		case "/abort":
			panic(http.ErrAbortHandler)
		case "/gone":
			http.NotFound(w, r)
		}
	}), app.Deps{}, false)
	ring = s.ring
	s.get(t, "/look")
	s.get(t, "/gone")
	s.get(t, "//")
	s.do(t, "GET", "/abort", nil)
	if got := <-inside; got.InFlight != 1 {
		t.Errorf("%d in flight, want 1", got.InFlight)
	}
	s.Close() // waits for the handlers
	got := ring.Stats()
	var durations uint64
	for _, n := range got.Durations.Counts {
		durations += n
	}
	if got.Requests < 4 || got.InFlight != 0 || got.Responses[2] != 1 || got.Responses[4] != 2 || got.Responses[0] < 1 ||
		got.Denials["app/path"] != 1 || durations != got.Requests || got.Durations.Sum <= 0 {
		t.Errorf("got %+v", got)
	}
}
