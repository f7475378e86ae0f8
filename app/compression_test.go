package app_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/app"
)

var compressionJSON = []byte(`{"notes":[` + strings.Repeat(`{"title":"a","text":"All work and no play."},`, 100) + `{}]}`)

// compressionGet asks as a browser does and does not unpack.
func compressionGet(t *testing.T, s *httptest.Server, path string, header http.Header) (*http.Response, []byte) {
	t.Helper()
	if header == nil {
		header = http.Header{}
	}
	if _, set := header["Accept-Encoding"]; !set {
		header["Accept-Encoding"] = []string{"gzip, deflate, br, zstd"}
	}
	res, body := headersGet(t, s, "GET", path, header)
	return res, []byte(body)
}

func compressionUnpack(t *testing.T, b []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// compressionServer answers as a handler registered for the path does.
func compressionServer(t *testing.T, handlers map[string]http.HandlerFunc) *httptest.Server {
	return headersRing(t, headersPolicy(), func(w http.ResponseWriter, r *http.Request) {
		if h := handlers[r.URL.Path]; h != nil {
			h(w, r)
		}
	})
}

// compressionAnswer sends the JSON with a header in one write.
func compressionAnswer(pairs ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for i := 0; i < len(pairs); i += 2 {
			w.Header().Set(pairs[i], pairs[i+1])
		}
		w.Write(compressionJSON)
	}
}

func TestCompression(t *testing.T) {
	small := bytes.Repeat([]byte("a"), 1023)
	length := strconv.Itoa(len(compressionJSON))
	pieces := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for chunk := range slices.Chunk(compressionJSON, 100) {
			w.Write(chunk)
		}
	}
	for _, c := range []struct {
		name    string
		handler http.HandlerFunc
		packed  bool
	}{
		{"json", compressionAnswer(), true},
		{"json in pieces", pieces, true},
		{"json of a known length", compressionAnswer("Content-Length", length), true},
		{"problem json", compressionAnswer("Content-Type", "application/hal+json; charset=utf-8"), true},
		{"html", compressionAnswer("Content-Type", "text/html"), true},
		{"no type, text", func(w http.ResponseWriter, _ *http.Request) { w.Write(compressionJSON) }, true},
		{"weak ETag", compressionAnswer("ETag", `W/"1"`), true},
		{"io.Copy", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			io.Copy(w, io.MultiReader(bytes.NewReader(compressionJSON)))
		}, true},
		{"small", func(w http.ResponseWriter, _ *http.Request) { w.Write(small) }, false},
		{"small of a known length", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1023")
			w.Write(small)
		}, false},
		{"image", compressionAnswer("Content-Type", "image/png"), false},
		{"image by io.Copy", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "image/png")
			io.Copy(w, bytes.NewReader(compressionJSON))
		}, false},
		{"no type, binary", func(w http.ResponseWriter, _ *http.Request) {
			w.Write(append([]byte("\x89PNG\r\n\x1a\n"), compressionJSON...))
		}, false},
		{"type suppressed", func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = nil
			w.Write(compressionJSON)
		}, false},
		{"event stream", compressionAnswer("Content-Type", "text/event-stream"), false},
		{"encoded by the upstream", compressionAnswer("Content-Encoding", "br"), false},
		{"no-transform", compressionAnswer("Cache-Control", "public, no-transform"), false},
		{"strong ETag", compressionAnswer("ETag", `"1"`), false},
		{"digest", compressionAnswer("Repr-Digest", "sha-256=:AAAA:"), false},
		{"range", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/*", len(compressionJSON)-1))
			w.WriteHeader(http.StatusPartialContent)
			w.Write(compressionJSON)
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := compressionServer(t, map[string]http.HandlerFunc{"/": c.handler})
			plain, want := headersGet(t, s, "GET", "/", http.Header{"Accept-Encoding": {"identity"}})
			res, got := compressionGet(t, s, "/", nil)
			if packed := res.Header.Get("Content-Encoding") == "gzip"; packed != c.packed {
				t.Fatalf("compressed: %t, header %v", packed, res.Header)
			}
			if !slices.Contains(res.Header["Vary"], "Accept-Encoding") || !slices.Contains(plain.Header["Vary"], "Accept-Encoding") {
				t.Errorf("Vary %q, and without compression %q", res.Header["Vary"], plain.Header["Vary"])
			}
			if c.packed {
				if len(got) > len(want)/2 || res.Header.Get("Content-Length") == strconv.Itoa(len(want)) {
					t.Errorf("%d bytes of %d, Content-Length %q", len(got), len(want), res.Header.Get("Content-Length"))
				}
				got = compressionUnpack(t, got)
			}
			if string(got) != want || res.StatusCode != plain.StatusCode || res.Header.Get("Content-Type") != plain.Header.Get("Content-Type") {
				t.Errorf("%d %q, %d bytes; as it is: %d %q, %d bytes", res.StatusCode, res.Header["Content-Type"], len(got), plain.StatusCode, plain.Header["Content-Type"], len(want))
			}
		})
	}
}

// TestCompressionIsNegotiated: RFC 9110, 12.5.3 and its examples.
func TestCompressionIsNegotiated(t *testing.T) {
	s := compressionServer(t, map[string]http.HandlerFunc{"/": compressionAnswer()})
	for _, c := range []struct {
		accept []string
		packed bool
	}{
		{nil, false},
		{[]string{""}, false},
		{[]string{"gzip"}, true},
		{[]string{"GZIP"}, true},
		{[]string{"x-gzip"}, true},
		{[]string{"*"}, true},
		{[]string{"br", "gzip"}, true},
		{[]string{"compress, gzip"}, true},
		{[]string{"compress;q=0.5, gzip;q=1.0"}, true},
		{[]string{"gzip;q=1.0, identity; q=0.5, *;q=0"}, true},
		{[]string{"gzip;q=0.001"}, true},
		{[]string{"gzip;q=0"}, false},
		{[]string{"gzip;q=0.000"}, false},
		{[]string{"gzip;q=0, *"}, false},
		{[]string{"*;q=0"}, false},
		{[]string{"gzip;q=0.5, identity"}, false},
		{[]string{"br, zstd"}, false},
		{[]string{"gzipped"}, false},
		{[]string{"gzip;q=x"}, false},
		{[]string{"gzip;q=2"}, false},
		{[]string{"gzip;level=9"}, false},
		{[]string{strings.Repeat("gzip,", 1000)}, false},
	} {
		res, body := compressionGet(t, s, "/", http.Header{"Accept-Encoding": c.accept})
		if c.accept == nil {
			// net/http's client would ask for gzip by itself.
			res, body = compressionGet(t, s, "/", http.Header{"Accept-Encoding": {"identity"}})
		}
		if packed := res.Header.Get("Content-Encoding") == "gzip"; packed != c.packed {
			t.Errorf("%q: compressed %t, %d bytes", c.accept, packed, len(body))
		}
	}
}

// TestTrapCompressionOfSecrets (BREACH): answers that carry tokens go as they
// are; what signed-in callers get has no steady length.
func TestTrapCompressionOfSecrets(t *testing.T) {
	s := compressionServer(t, map[string]http.HandlerFunc{
		"/api/auth/login": compressionAnswer(),
		"/cookie":         compressionAnswer("Set-Cookie", "__Host-refresh=secret"),
		"/secret":         compressionAnswer("Cache-Control", "private, no-store"),
		"/notes":          compressionAnswer(),
	})
	for _, path := range []string{"/api/auth/login", "/cookie", "/secret"} {
		if res, _ := compressionGet(t, s, path, nil); res.Header.Get("Content-Encoding") != "" {
			t.Errorf("%s is compressed", path)
		}
	}
	for name, c := range map[string]struct {
		header http.Header
		padded bool
	}{
		"nobody":    {http.Header{}, false},
		"signed in": {http.Header{"Authorization": {"Bearer token-of-alice"}}, true},
		"cookie":    {http.Header{"Cookie": {"session=1"}}, true},
	} {
		lengths := map[int]bool{}
		for range 40 {
			res, body := compressionGet(t, s, "/notes", c.header.Clone())
			if res.Header.Get("Content-Encoding") != "gzip" || !bytes.Equal(compressionUnpack(t, body), compressionJSON) {
				t.Fatalf("%s: %v", name, res.Header)
			}
			lengths[len(body)] = true
		}
		// 40 draws of 64 lengths give about 30; fewer than 10 do not happen.
		if padded := len(lengths) >= 10; padded != c.padded || !c.padded && len(lengths) != 1 {
			t.Errorf("%s: %d lengths in 40 answers", name, len(lengths))
		}
	}
}

// TestTrapStreamsThroughWrappers: the first event of a stream arrives at once
// though the handler goes on, ResponseController works, a connection can be
// taken over.
func TestTrapStreamsThroughWrappers(t *testing.T) {
	hold := make(chan struct{})
	t.Cleanup(func() { close(hold) })
	stream := func(mediaType, first string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", mediaType)
			rc := http.NewResponseController(w)
			if err := rc.SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
				t.Error(err)
			}
			if err := rc.EnableFullDuplex(); err != nil {
				t.Error(err)
			}
			io.WriteString(w, first)
			if err := rc.Flush(); err != nil {
				t.Error(err)
			}
			select {
			case <-hold:
			case <-r.Context().Done():
			}
		}
	}
	s := compressionServer(t, map[string]http.HandlerFunc{
		"/events": stream("text/event-stream", "data: 1\n\n"),
		"/lines":  stream("application/x-ndjson", "{\"n\":1}\n"),
		"/header": stream("application/x-ndjson", ""),
		"/socket": func(w http.ResponseWriter, _ *http.Request) {
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello")
			rw.Flush()
		},
	})
	first := func(path, want string) time.Duration {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, "GET", s.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept-Encoding", "gzip")
		start := time.Now()
		res, err := s.Client().Do(r)
		if err != nil {
			t.Fatalf("%s: no header: %v", path, err)
		}
		defer res.Body.Close()
		var body io.Reader = res.Body
		if want != "" && res.Header.Get("Content-Encoding") == "gzip" {
			if body, err = gzip.NewReader(res.Body); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(body, got); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", path, got, err)
		}
		return time.Since(start)
	}
	for path, want := range map[string]string{"/events": "data: 1\n\n", "/lines": "{\"n\":1}\n", "/header": ""} {
		took := time.Hour // the least of a few: the machine may be busy
		for range 5 {
			took = min(took, first(path, want))
		}
		if took > 100*time.Millisecond {
			t.Errorf("%s: the first event took %v", path, took)
		}
	}
	res, body := compressionGet(t, s, "/socket", http.Header{"Connection": {"Upgrade"}, "Upgrade": {"echo"}})
	if res.StatusCode != http.StatusSwitchingProtocols || string(body) != "hello" {
		t.Errorf("hijack: %d %q", res.StatusCode, body)
	}
}

// TestCompressionWithoutBody: no Content-Encoding where there is nothing to encode.
func TestCompressionWithoutBody(t *testing.T) {
	s := compressionServer(t, map[string]http.HandlerFunc{
		"/json": compressionAnswer("Content-Length", strconv.Itoa(len(compressionJSON))),
		"/204":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) },
		"/304":  func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("ETag", `W/"1"`); w.WriteHeader(304) },
		"/201":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201) },
	})
	for _, c := range []struct {
		method, path string
		status       int
		length       string
	}{
		{"HEAD", "/json", 200, strconv.Itoa(len(compressionJSON))},
		{"GET", "/204", 204, ""},
		{"GET", "/304", 304, ""},
		{"GET", "/201", 201, "0"},
		{"GET", "/", 200, "0"},
	} {
		res, body := headersGet(t, s, c.method, c.path, http.Header{"Accept-Encoding": {"gzip"}})
		if res.StatusCode != c.status || len(body) != 0 || res.Header.Get("Content-Encoding") != "" || res.Header.Get("Content-Length") != c.length {
			t.Errorf("%s %s: %d, %d bytes, %v", c.method, c.path, res.StatusCode, len(body), res.Header)
		}
	}
}

// TestCompressionAfterAPanic: what is held does not go out, so the client gets
// a 500; what has begun is broken off, so the client does not take it for whole.
func TestCompressionOfBrokenAnswers(t *testing.T) {
	s := compressionServer(t, map[string]http.HandlerFunc{
		"/early": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"half":`)
			panic("early")
		},
		"/late":  func(w http.ResponseWriter, _ *http.Request) { w.Write(compressionJSON); panic("late") },
		"/short": compressionAnswer("Content-Length", "100000"),
	})
	res, body := compressionGet(t, s, "/early", nil)
	if res.StatusCode != 500 || res.Header.Get("Content-Type") != "application/problem+json" || bytes.Contains(body, []byte("half")) {
		t.Errorf("early: %d %s", res.StatusCode, body)
	}
	for _, path := range []string{"/late", "/short"} {
		r, _ := http.NewRequest("GET", s.URL+path, nil)
		r.Header.Set("Accept-Encoding", "gzip")
		res, err := s.Client().Do(r)
		if err == nil {
			_, err = io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
		if err == nil {
			t.Errorf("%s: the client takes a part for the whole", path)
		}
	}
	// An error without a type is app/problem's to replace: it must not be given one.
	s = compressionServer(t, map[string]http.HandlerFunc{"/": func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		w.Write(bytes.Repeat([]byte{0, 1, 2}, 1000))
	}})
	if res, _ := compressionGet(t, s, "/", nil); res.StatusCode != 404 || res.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("error without a type: %d %v", res.StatusCode, res.Header)
	}
	// Longer than declared is the handler's mistake, and is told to it.
	long := make(chan error, 1)
	s = compressionServer(t, map[string]http.HandlerFunc{"/": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "2000")
		w.Header().Set("Content-Type", "text/plain")
		_, err := w.Write(bytes.Repeat([]byte("a"), 2001))
		w.Write(bytes.Repeat([]byte("a"), 2000))
		long <- err
	}})
	if _, body := compressionGet(t, s, "/", nil); len(compressionUnpack(t, body)) != 2000 || <-long != http.ErrContentLength {
		t.Errorf("longer than declared: %d bytes", len(body))
	}
}

// TestCompressionTrailers: they are set after the body, in the same header.
func TestCompressionTrailers(t *testing.T) {
	for _, size := range []int{10, 5000} {
		s := compressionServer(t, map[string]http.HandlerFunc{"/": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Trailer", "X-Checksum")
			w.Header().Set("Content-Type", "text/plain")
			w.WriteHeader(200)
			w.Write(bytes.Repeat([]byte("a"), size))
			w.Header().Set("X-Checksum", "abc")
		}})
		res, _ := compressionGet(t, s, "/", nil)
		if res.Trailer.Get("X-Checksum") != "abc" || res.Header.Get("X-Checksum") != "" {
			t.Errorf("%d bytes: trailer %v, header %v", size, res.Trailer, res.Header)
		}
	}
}

// TestCompressionBehindAProxy: the answer of an upstream that compresses by
// itself passes as it is, whatever it is; one that does not is compressed.
func TestCompressionBehindAProxy(t *testing.T) {
	var own bytes.Buffer
	zw := gzip.NewWriter(&own)
	zw.Write(compressionJSON)
	zw.Close()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/packed" {
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(own.Bytes())
			return
		}
		w.Write(compressionJSON)
	}))
	t.Cleanup(upstream.Close)
	target, _ := url.Parse(upstream.URL)
	s := headersRing(t, headersPolicy(), (&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}).ServeHTTP)
	res, body := compressionGet(t, s, "/packed", nil)
	if !bytes.Equal(body, own.Bytes()) || res.Header.Get("Content-Length") != strconv.Itoa(own.Len()) {
		t.Errorf("the upstream's own encoding was changed: %d bytes of %d", len(body), own.Len())
	}
	res, body = compressionGet(t, s, "/", nil)
	if res.Header.Get("Content-Encoding") != "gzip" || !bytes.Equal(compressionUnpack(t, body), compressionJSON) {
		t.Errorf("not compressed: %v", res.Header)
	}
}

// TestCompressionInFlatMemory streams 256 MB of text that does not shrink much.
func TestCompressionInFlatMemory(t *testing.T) {
	chunk := make([]byte, 64<<10)
	for i := range chunk {
		chunk[i] = "0123456789abcdef"[rand.IntN(16)]
	}
	const chunks = 4096
	var most uint64
	s := compressionServer(t, map[string]http.HandlerFunc{"/": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		var m runtime.MemStats
		for i := range chunks {
			w.Write(chunk)
			if i%512 == 0 {
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapAlloc)
			}
		}
	}})
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	r, _ := http.NewRequest("GET", s.URL, nil)
	r.Header.Set("Accept-Encoding", "gzip")
	res, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	n, err := io.Copy(io.Discard, res.Body)
	if err != nil || res.Header.Get("Content-Encoding") != "gzip" || n < 64<<20 {
		t.Fatalf("%d bytes, %v, %v", n, err, res.Header)
	}
	if grown := int64(most) - int64(before.HeapAlloc); grown > 32<<20 {
		t.Errorf("256 MB through a compressor: the heap grew by %d MB", grown>>20)
	}
}

// TestCompressionIsBounded: encoders hold memory as long as clients read, so
// there is a limit, and answers beyond it go uncompressed.
func TestCompressionIsBounded(t *testing.T) {
	const most = 128
	begun, hold, done := make(chan struct{}), make(chan struct{}), make(chan string)
	ring, err := app.New(headersPolicy(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.Write(compressionJSON)
		if r.URL.Path == "/held" {
			begun <- struct{}{}
			<-hold
		}
		if r.URL.RawQuery != "" {
			panic("late")
		}
	}), app.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(target string) string {
		r := httptest.NewRequest("GET", "https://127.0.0.1"+target, nil)
		r.Header.Set("Accept-Encoding", "gzip")
		w := httptest.NewRecorder()
		defer func() { recover() }() // of /late
		ring.ServeHTTP(w, r)
		return w.Header().Get("Content-Encoding")
	}
	for range 300 {
		ask("/?panic") // must give back its encoder
	}
	for range most {
		go func() { done <- ask("/held") }()
		<-begun
	}
	if got := ask("/"); got != "" {
		t.Errorf("answer %d at once has Content-Encoding %q", most+1, got)
	}
	close(hold)
	for range most {
		if got := <-done; got != "gzip" {
			t.Errorf("one of the first %d has Content-Encoding %q", most, got)
		}
	}
	if got := ask("/"); got != "gzip" {
		t.Errorf("afterwards Content-Encoding is %q", got)
	}
}

// TestCompressionWriteAfterReturn: a handler that keeps its writer reaches
// nobody's answer with it.
func TestCompressionWriteAfterReturn(t *testing.T) {
	for _, size := range []int{10, 5000} {
		var kept http.ResponseWriter
		s := compressionServer(t, map[string]http.HandlerFunc{"/": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.Write(bytes.Repeat([]byte("a"), size))
			kept = w
		}})
		compressionGet(t, s, "/", nil)
		s.Close()
		if _, err := kept.Write([]byte("late")); err == nil {
			t.Errorf("%d bytes: a late write succeeds", size)
		}
		if err := http.NewResponseController(kept).Flush(); err == nil {
			t.Errorf("%d bytes: a late flush succeeds", size)
		}
	}
}

// BenchmarkCompression is what the control adds to a small answer: the first
// client takes gzip, the second takes nothing, and the third is the ring
// without the control.
func BenchmarkCompression(b *testing.B) {
	small := []byte(`{"id":"1","title":"a","text":"All work and no play makes Jack a dull boy."}`)
	for _, c := range []struct {
		name, accept string
		body         []byte
		without      []string
	}{
		{"small/gzip", "gzip, deflate, br, zstd", small, []string{"app/rate"}},
		{"small/none", "", small, []string{"app/rate"}},
		{"small/removed", "gzip, deflate, br, zstd", small, []string{"app/rate", "app/compression"}},
		{"4kB/gzip", "gzip, deflate, br, zstd", compressionJSON, []string{"app/rate"}},
		{"4kB/removed", "gzip, deflate, br, zstd", compressionJSON, []string{"app/rate", "app/compression"}},
	} {
		b.Run(c.name, func(b *testing.B) {
			ring, err := app.NewWithout(headersPolicy(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Content-Type"] = compressionType
				w.Write(c.body)
			}), app.Deps{}, c.without...)
			if err != nil {
				b.Fatal(err)
			}
			r := httptest.NewRequest("GET", "https://127.0.0.1/", nil)
			if c.accept != "" {
				r.Header.Set("Accept-Encoding", c.accept)
			}
			sink := &headersSink{h: make(http.Header, 64)}
			b.ReportAllocs()
			for b.Loop() {
				ring.ServeHTTP(sink, r)
			}
		})
	}
}

var compressionType = []string{"application/json"}
