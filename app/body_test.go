package app_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/app"
)

// bodyServer serves the ring over HTTP/1.1 and, when h2 is asked for, HTTP/2.
func bodyServer(t *testing.T, h http.Handler, h2 bool) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = h2
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if h2 {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

// bodyRaw writes text on a connection of its own and returns the first answer
// and whether the connection ends after it.
func bodyRaw(t *testing.T, s *httptest.Server, text string) (res *http.Response, closed bool) {
	t.Helper()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReader(conn)
	if res, err = http.ReadResponse(br, nil); err != nil {
		t.Fatalf("no answer to %.80q: %v", text, err)
	}
	if _, err = io.Copy(io.Discard, res.Body); err != nil {
		t.Fatal(err)
	}
	return res, res.Close
}

const bodyHead = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"

// Not a byte of these bodies is ever sent: an answer at all shows that nobody
// waits for it. RFC 9110, 10.1.1: no 100 Continue before a final 413.
func TestBodyTooLongIsRefusedUnread(t *testing.T) {
	reached := false
	ring := inputRing(t, inputPolicy(), app.Deps{}, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	s := bodyServer(t, ring, false)
	for _, length := range []string{"200001", "250000", "1000000", "9223372036854775807"} {
		for _, expect := range []string{"", "Expect: 100-continue\r\n"} {
			res, closed := bodyRaw(t, s, bodyHead+"Content-Length: "+length+"\r\n"+expect+"\r\n")
			if res.StatusCode != 413 || res.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("length %s, %q: %d %s", length, expect, res.StatusCode, res.Header)
			}
			if !closed {
				t.Errorf("length %s, %q: the connection stays open for a body that nobody reads", length, expect)
			}
		}
	}
	if reached {
		t.Error("the handler was called")
	}
}

func TestBodyOfAnyMethodIsBounded(t *testing.T) {
	p := inputPolicy()
	p.App.Body = 1000
	ring := inputRing(t, p, app.Deps{}, inputRead)
	fits, over := strings.Repeat(" ", 998)+"{}", strings.Repeat(" ", 999)+"{}"
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
		if w := inputDo(ring, method, "/", "application/json", fits); w.Code != 200 || strings.TrimSpace(w.Body.String()) != "1000" {
			t.Errorf("%s of 1000 bytes: %d %s", method, w.Code, w.Body)
		}
		if w := inputDo(ring, method, "/", "application/json", over); w.Code != 413 {
			t.Errorf("%s of 1001 bytes: %d", method, w.Code)
		}
		if w := inputDo(ring, method, "/", "application/x-www-form-urlencoded", over); w.Code != 413 {
			t.Errorf("%s of 1001 bytes as a form: %d", method, w.Code)
		}
	}
}

// A chunked body tells its length at its end only. Whoever reads past the cap
// finds an error, and the client gets 413 all the same.
func TestBodyWithoutLength(t *testing.T) {
	chunked := func(media string, n int) string {
		return "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: " + media + "\r\nTransfer-Encoding: chunked\r\n\r\n" +
			fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", n, strings.Repeat("1", n-1)+"1")
	}
	handlers := map[string]http.HandlerFunc{
		"silent": func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) },
		"careful": func(w http.ResponseWriter, r *http.Request) {
			_, err := io.Copy(io.Discard, r.Body)
			if d, ok := app.BodyDenied(err); ok {
				app.FromContext(r.Context()).Deny(d)
			}
		},
		"asks the exchange": func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			if !app.FromContext(r.Context()).BodyTooLong() {
				w.WriteHeader(http.StatusTeapot)
			}
		},
	}
	for name, h := range handlers {
		s := bodyServer(t, inputRing(t, inputPolicy(), app.Deps{}, h), false)
		for _, media := range []string{"application/x-www-form-urlencoded", "application/json"} {
			res, closed := bodyRaw(t, s, chunked(media, 200_001))
			if res.StatusCode != 413 || res.Header.Get("Content-Type") != "application/problem+json" || !closed {
				t.Errorf("%s, %s: %d, closed %v, %s", name, media, res.StatusCode, closed, res.Header)
			}
		}
		if res, _ := bodyRaw(t, s, chunked("application/x-www-form-urlencoded", 200_000)); res.StatusCode == 413 {
			t.Errorf("%s: a chunked body that just fits was answered 413", name)
		}
	}
	// The error is the one that net/http's own MaxBytesReader gives.
	var got error
	s := bodyServer(t, inputRing(t, inputPolicy(), app.Deps{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, got = io.Copy(io.Discard, r.Body)
	})), false)
	bodyRaw(t, s, chunked("application/x-www-form-urlencoded", 300_000))
	var long *http.MaxBytesError
	if !errors.As(got, &long) || long.Limit != 200_000 {
		t.Errorf("the handler's error is %v", got)
	}
}

// The upstream sees half a body; the client is told 413, not 502.
func TestBodyWithoutLengthThroughProxy(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
	}))
	defer upstream.Close()
	u, err := url.Parse(upstream.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(u)
	proxy.ErrorLog = log.New(io.Discard, "", 0)
	proxy.ErrorHandler = func(w http.ResponseWriter, r *http.Request, err error) {
		if d, ok := app.BodyDenied(err); ok {
			app.FromContext(r.Context()).Deny(d)
			return
		}
		w.WriteHeader(http.StatusBadGateway)
	}
	for _, h2 := range []bool{false, true} {
		s := bodyServer(t, inputRing(t, inputPolicy(), app.Deps{}, proxy), h2)
		told := 0
		for range 20 {
			req, err := http.NewRequest("POST", s.URL+"/", io.MultiReader(strings.NewReader(strings.Repeat("a", 300_000))))
			if err != nil {
				t.Fatal(err)
			}
			req.Host = "localhost"
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			res, err := s.Client().Do(req)
			if err != nil {
				continue // the server closes early: a client that only writes may miss the answer
			}
			res.Body.Close()
			if res.StatusCode != 413 {
				t.Fatalf("HTTP/2 %v: %d, want 413", h2, res.StatusCode)
			}
			told++
		}
		if told == 0 {
			t.Errorf("HTTP/2 %v: no client was told", h2)
		}
	}
}

func TestBodyOverHTTP2(t *testing.T) {
	s := bodyServer(t, inputRing(t, inputPolicy(), app.Deps{}, inputRead), true)
	s.Client().Timeout = 10 * time.Second
	do := func(length int64, body io.Reader, media string) int {
		t.Helper()
		req, err := http.NewRequest("POST", s.URL+"/", body)
		if err != nil {
			t.Fatal(err)
		}
		req.ContentLength, req.Host = length, "localhost"
		req.Header.Set("Content-Type", media)
		res, err := s.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if res.ProtoMajor != 2 {
			t.Fatalf("spoke %s", res.Proto)
		}
		return res.StatusCode
	}
	never, end := io.Pipe() // a body that is announced and does not come
	defer end.Close()
	if got := do(300_000, never, "application/json"); got != 413 {
		t.Errorf("announced 300000 bytes: %d", got)
	}
	if got := do(-1, strings.NewReader(strings.Repeat(" ", 200_001)), "application/json"); got != 413 {
		t.Errorf("200001 bytes, unannounced: %d", got)
	}
	if got := do(-1, strings.NewReader(strings.Repeat(" ", 199_998)+"{}"), "application/json"); got != 200 {
		t.Errorf("200000 bytes, unannounced: %d", got)
	}
}

// Chunks may carry trailers, and need a Content-Type like any body.
func TestBodyChunkedForms(t *testing.T) {
	s := bodyServer(t, inputRing(t, inputPolicy(), app.Deps{}, inputRead), false)
	for _, test := range []struct {
		text string
		want int
	}{
		{bodyHead + "Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\n{}\r\n0\r\nX-Sum: 1\r\n\r\n", 200},
		{bodyHead + "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", 200},
		{"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 415},
		{bodyHead + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},    // JSON, and empty
		{bodyHead + "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n", 400}, // no chunk
		{bodyHead + "Content-Length: 0\r\n\r\n", 200},
		{bodyHead + "Content-Length: 2\r\n\r\n{}", 200},
	} {
		if res, _ := bodyRaw(t, s, test.text); res.StatusCode != test.want {
			t.Errorf("%q: %d, want %d", test.text, res.StatusCode, test.want)
		}
	}
}

// A body that ends before its length: the connection is half closed.
func TestBodyBrokenOff(t *testing.T) {
	s := bodyServer(t, inputRing(t, inputPolicy(), app.Deps{}, inputRead), false)
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprint(conn, bodyHead+"Content-Length: 10\r\n\r\n{\"a\"")
	conn.(*net.TCPConn).CloseWrite()
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != 400 {
		t.Errorf("%d, want 400", res.StatusCode)
	}
}

func TestBodyTooSlow(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0)); err != nil {
			t.Error(err)
		}
		_, err := io.Copy(io.Discard, r.Body)
		d, ok := app.BodyDenied(err)
		if !ok || !errors.Is(d.Err, os.ErrDeadlineExceeded) {
			t.Errorf("%v is no refusal", err)
			return
		}
		app.FromContext(r.Context()).Deny(d)
	})
	s := bodyServer(t, inputRing(t, inputPolicy(), app.Deps{}, h), false)
	res, _ := bodyRaw(t, s, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 9\r\n\r\na")
	if res.StatusCode != 408 {
		t.Errorf("%d, want 408", res.StatusCode)
	}
	if _, ok := app.BodyDenied(errors.New("broken pipe")); ok {
		t.Error("any error counts as a body's")
	}
}

// TestTrapBigBodiesStream sends 1 GB as multipart/form-data where the policy
// allows it: nothing of it is kept.
func TestTrapBigBodiesStream(t *testing.T) {
	if testing.Short() {
		t.Skip("sends 1 GB")
	}
	const size = 1_000_000_000
	var most uint64
	ring := inputRing(t, inputPolicy(), app.Deps{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		parts, err := r.MultipartReader()
		if err != nil {
			t.Error(err)
			return
		}
		part, err := parts.NextPart()
		if err != nil {
			t.Error(err)
			return
		}
		var n int64
		for done := false; !done; {
			m, err := io.CopyN(io.Discard, part, 100_000_000)
			n += m
			done = err != nil
			runtime.GC() // what is held counts, not what a busy collector has not come to
			var stats runtime.MemStats
			runtime.ReadMemStats(&stats)
			most = max(most, stats.HeapInuse)
		}
		io.WriteString(w, strconv.FormatInt(n, 10))
	}))
	s := bodyServer(t, ring, false)
	pr, pw := io.Pipe()
	form := multipart.NewWriter(pw)
	const content = size - 1000 // the rest is the form's own
	go func() {
		part, err := form.CreateFormFile("file", "big")
		block := make([]byte, 1<<20)
		for n := 0; n < content && err == nil; {
			var m int
			m, err = part.Write(block[:min(len(block), content-n)])
			n += m
		}
		if err == nil {
			err = form.Close()
		}
		pw.CloseWithError(err)
	}()
	req, err := http.NewRequest("POST", s.URL+"/upload", pr)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "localhost"
	req.Header.Set("Content-Type", form.FormDataContentType())
	res, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil || string(got) != strconv.Itoa(content) {
		t.Errorf("%d %s, %v; want %d", res.StatusCode, got, err, content)
	}
	if most > 100_000_000 {
		t.Errorf("the heap grew to %d bytes", most)
	}
}

// A request without a body costs the three body controls nothing.
func TestBodyControlsAllocateNothing(t *testing.T) {
	p := inputPolicy()
	all := []string{"app/body", "app/content-type", "app/json", "app/schema", "app/operations"}
	measure := func(without ...string) float64 {
		ring, err := app.NewWithout(p, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), app.Deps{Verifier: inputVerifier{}}, without...)
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("GET", "http://localhost/", nil)
		w := httptest.NewRecorder()
		return testing.AllocsPerRun(200, func() { ring.ServeHTTP(w, r) })
	}
	if with, without := measure(), measure(all...); with > without {
		t.Errorf("%v allocations with the body controls, %v without", with, without)
	}
}
