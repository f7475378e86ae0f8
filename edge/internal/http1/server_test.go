package http1_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringwall/ringwall/edge/internal/http1"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// serve runs a server on loopback until the test ends, and sees that nothing of
// it is left running then.
func serve(t *testing.T, h http.HandlerFunc) (*http1.Server, string) {
	t.Helper()
	before := runtime.NumGoroutine()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http1.Server{Handler: h, HeaderTime: patience, IdleTime: patience, MaxHead: 64 << 10, Base: context.Background()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go srv.Serve(c)
		}
	}()
	t.Cleanup(func() {
		l.Close()
		srv.Close()
		<-done
		for start := time.Now(); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
			if time.Since(start) > patience {
				stacks := make([]byte, 1<<20)
				t.Fatalf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(), stacks[:runtime.Stack(stacks, true)])
			}
		}
	})
	return srv, l.Addr().String()
}

func dial(t *testing.T, address, send string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, send); err != nil {
		t.Fatal(err)
	}
	return c, bufio.NewReader(c)
}

const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

// waited returns what c gives, or fails the test when nothing comes.
func waited[T any](t *testing.T, c <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatal("waited in vain: " + what)
	}
	return v
}

// A handler that was given up on closes the body while the refusal is written; the
// race detector watches.
func TestBodyClosedBesideTheAnswer(t *testing.T) {
	_, address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		closed := make(chan struct{})
		go func() { r.Body.Close(); close(closed) }()
		w.Header().Set("Connection", "close")
		_, _ = io.WriteString(w, "too late")
		_ = http.NewResponseController(w).Flush()
		<-closed
	})
	for range 50 {
		_, br := dial(t, address, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 400000\r\n\r\nabc")
		res, err := http.ReadResponse(br, nil)
		if err != nil || res.StatusCode != 200 {
			t.Fatal(res, err)
		}
	}
}

func TestNoInformationToHTTP10(t *testing.T) {
	_, address := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusNoContent)
	})
	for version, want := range map[string]string{"1.0": "HTTP/1.0 204 No Content\r\n", "1.1": "HTTP/1.1 103 Early Hints\r\n"} {
		_, br := dial(t, address, "GET / HTTP/"+version+"\r\nHost: a\r\n\r\n")
		if line, err := br.ReadString('\n'); line != want {
			t.Errorf("HTTP/%s: %q, %v, want %q", version, line, err, want)
		}
	}
}

func TestClientThatLeavesCancels(t *testing.T) {
	for _, wait := range []string{"Done", "AfterFunc", "WithCancel"} {
		for _, send := range []string{get, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"} {
			began, ended := make(chan struct{}), make(chan error, 1)
			_, address := serve(t, func(_ http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				close(began)
				done := make(chan struct{})
				switch wait {
				case "AfterFunc":
					context.AfterFunc(r.Context(), func() { close(done) })
					<-done
				case "WithCancel":
					ctx, cancel := context.WithCancel(r.Context())
					defer cancel()
					<-ctx.Done()
				default:
					<-r.Context().Done()
				}
				ended <- r.Context().Err()
			})
			c, _ := dial(t, address, send)
			waited(t, began, "the handler")
			c.Close()
			if err := waited(t, ended, wait); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", wait, err)
			}
		}
	}
}

// TestNextRequestDoesNotCancel: what comes while a handler runs for long is the
// next request, not the end.
func TestNextRequestDoesNotCancel(t *testing.T) {
	var n atomic.Int32
	_, address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n.Add(1)
		time.Sleep(300 * time.Millisecond) // it is read ahead by then
		if err := r.Context().Err(); err != nil {
			t.Error(err)
		}
		io.WriteString(w, r.URL.Path)
	})
	c, in := dial(t, address, "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
	for i := 2; i < 5; i++ {
		time.Sleep(250 * time.Millisecond) // it is being read, or is already
		fmt.Fprintf(c, "GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", i)
	}
	for i := 1; i < 5; i++ {
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if b, _ := io.ReadAll(res.Body); string(b) != fmt.Sprint("/", i) {
			t.Errorf("answer %d is to %q", i, b)
		}
	}
}

func TestContextEndsWithTheHandler(t *testing.T) {
	ctxs := make(chan context.Context, 1)
	_, address := serve(t, func(_ http.ResponseWriter, r *http.Request) { ctxs <- r.Context() })
	_, in := dial(t, address, get)
	if _, err := http.ReadResponse(in, nil); err != nil {
		t.Fatal(err)
	}
	ctx := waited(t, ctxs, "the context")
	waited(t, ctx.Done(), "its end")
	late := make(chan struct{})
	if stop := context.AfterFunc(ctx, func() { close(late) }); stop() {
		t.Error("a function that waits for a context that is over was stopped")
	}
	waited(t, late, "a function that waits for a context that is over")
}

func TestContinueIsAskedForByReading(t *testing.T) {
	for _, reads := range []bool{true, false} {
		_, address := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if reads {
				_, _ = io.Copy(io.Discard, r.Body)
			}
			w.WriteHeader(http.StatusTeapot)
		})
		c, in := dial(t, address, "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
		first, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(first, " 100 "); got != reads {
			t.Errorf("reads %v: the first line is %q", reads, first)
		}
		if !reads {
			if _, err := io.ReadAll(in); err != nil {
				t.Errorf("a body that nobody asked for may follow: the connection must end, got %v", err)
			}
			continue
		}
		io.WriteString(c, "abc")
		in.ReadString('\n')
		if res, err := http.ReadResponse(in, nil); err != nil || res.StatusCode != http.StatusTeapot || res.Close {
			t.Errorf("after the body: %v, %v", res, err)
		}
	}
}

func TestFlushedPartsComeAtOnce(t *testing.T) {
	next := make(chan struct{})
	_, address := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		c := http.NewResponseController(w)
		for range 3 {
			io.WriteString(w, "data: x\n\n")
			if err := c.Flush(); err != nil {
				t.Error(err)
			}
			<-next
		}
	})
	_, in := dial(t, address, get)
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	event := make([]byte, len("data: x\n\n"))
	for range 3 {
		if _, err := io.ReadFull(res.Body, event); err != nil {
			t.Fatal(err)
		}
		next <- struct{}{}
	}
}

func TestHijackedConnection(t *testing.T) {
	_, address := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(250 * time.Millisecond) // what follows is read ahead
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		if _, err := w.Write([]byte("x")); !errors.Is(err, http.ErrHijacked) {
			t.Errorf("Write after Hijack: %v", err)
		}
		io.WriteString(rw, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
		rw.Flush()
		b := make([]byte, 5)
		if _, err := io.ReadFull(rw, b); err != nil {
			t.Error(err)
		}
		rw.Write(b)
		rw.Flush()
		io.Copy(c, rw) // until the client has ended
	})
	c, in := dial(t, address, get+"early")
	for _, want := range []string{"HTTP/1.1 101 Switching Protocols\r\n\r\n", "early"} {
		got := make([]byte, len(want))
		if _, err := io.ReadFull(in, got); err != nil || string(got) != want {
			t.Fatalf("%q, %v, want %q", got, err, want)
		}
	}
	io.WriteString(c, "echo")
	c.(*net.TCPConn).CloseWrite()
	if b, err := io.ReadAll(in); err != nil || string(b) != "echo" {
		t.Errorf("%q, %v", b, err)
	}
}

// TestPanicEndsTheConnection: half an answer never looks like a whole one.
func TestPanicEndsTheConnection(t *testing.T) {
	for _, size := range []int{0, 100, 100_000} {
		_, address := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			if size > 0 {
				w.Write(make([]byte, size))
			}
			panic(http.ErrAbortHandler)
		})
		_, in := dial(t, address, get)
		res, err := http.ReadResponse(in, nil)
		if err == nil {
			_, err = io.ReadAll(res.Body)
		}
		if err == nil {
			t.Errorf("%d bytes, then a panic: a whole answer", size)
		}
	}
}

func TestShutdown(t *testing.T) {
	began, end := make(chan struct{}), make(chan struct{})
	srv, address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(began)
			<-end
		}
	})
	_, idle := dial(t, address, get)
	if _, err := http.ReadResponse(idle, nil); err != nil {
		t.Fatal(err)
	}
	_, slow := dial(t, address, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
	waited(t, began, "the slow request")
	done := make(chan error, 1)
	go func() { done <- srv.Shutdown(context.Background()) }()
	if _, err := idle.ReadByte(); err != io.EOF {
		t.Errorf("an idle connection: %v, want its end", err)
	}
	select {
	case err := <-done:
		t.Fatalf("shut down with a request under way: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(end)
	res, err := http.ReadResponse(slow, nil)
	if err != nil || !res.Close {
		t.Errorf("the slow request: %v, %v; want an answer that ends its connection", res, err)
	}
	if err := waited(t, done, "Shutdown"); err != nil {
		t.Error(err)
	}
	_, late := dial(t, address, get)
	if _, err := late.ReadByte(); err == nil {
		t.Error("a connection was served after Shutdown")
	}
}

func TestCloseCancels(t *testing.T) {
	began, ended := make(chan struct{}), make(chan struct{})
	srv, address := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		close(began)
		<-r.Context().Done()
		close(ended)
	})
	dial(t, address, get)
	waited(t, began, "the request")
	srv.Close()
	waited(t, ended, "its cancellation")
}

// TestDeadlinesOfHandlers: one that a handler set holds for its request alone.
func TestDeadlinesOfHandlers(t *testing.T) {
	tried := make(chan struct{}, 1)
	_, address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		if err := errors.Join(c.SetReadDeadline(time.Unix(1, 0)), c.SetWriteDeadline(time.Now().Add(time.Hour))); err != nil {
			t.Error(err)
		}
		if r.ContentLength > 0 {
			if _, err := io.ReadAll(r.Body); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("a read past its deadline: %v", err)
			}
			_ = c.SetReadDeadline(time.Time{})
			tried <- struct{}{}
		}
	})
	c, in := dial(t, address, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n")
	answered := make(chan error, 1)
	go func() {
		_, err := http.ReadResponse(in, nil)
		answered <- err
	}()
	waited(t, tried, "a read past its deadline")
	io.WriteString(c, "abc"+get)
	if err := waited(t, answered, "the first answer"); err != nil {
		t.Fatal(err)
	}
	if _, err := http.ReadResponse(in, nil); err != nil {
		t.Errorf("the next request: %v", err)
	}
}

// TestBigBodies: they are streamed in both directions, in whatever pieces.
func TestBigBodies(t *testing.T) {
	const size = 20 << 20
	_, address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		if r.ContentLength > 0 {
			w.Header().Set("Content-Length", fmt.Sprint(r.ContentLength))
		}
		if _, err := io.Copy(w, r.Body); err != nil {
			t.Error(err)
		}
	})
	for _, length := range []int64{size, -1} {
		client := &http.Client{Transport: &http.Transport{}}
		req, _ := http.NewRequest(http.MethodPost, "http://"+address, io.LimitReader(counter{}, size))
		req.ContentLength = length
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(&compared{t: t}, res.Body)
		if n != size || err != nil {
			t.Errorf("length %d: %d bytes came back, %v", length, n, err)
		}
		res.Body.Close()
		client.CloseIdleConnections()
	}
}

// counter gives bytes that are all known.
type counter struct{}

func (counter) Read(p []byte) (int, error) {
	p = p[:min(len(p), 251)]
	for i := range p {
		p[i] = byte(i)
	}
	return len(p), nil
}

type compared struct {
	t *testing.T
	n int
}

func (c *compared) Write(p []byte) (int, error) {
	for _, b := range p {
		if int(b) != c.n%251 {
			c.t.Fatalf("byte %d is %d", c.n, b)
		}
		c.n++
	}
	return len(p), nil
}
