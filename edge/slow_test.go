package edge_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/policy"
)

// pipes is a listener without a network: time can be made up.
type pipes struct{ c chan net.Conn }

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p.c
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p pipes) Close() error   { close(p.c); return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{} }

// slowly runs play against h in made-up time, and returns how long the
// connection lived.
func slowly(t *testing.T, p *policy.Policy, cfg *tls.Config, h http.HandlerFunc, play func(net.Conn)) (lived time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		st := &edge.State{}
		guard, err := edge.NewGuard(p, st)
		if err != nil {
			t.Fatal(err)
		}
		of := func() *edge.Guard { return guard }
		l := pipes{make(chan net.Conn)}
		srv := edge.NewServer(edge.Unstuck(h, of), slog.New(slog.DiscardHandler))
		go func() { _ = srv.Serve(st.Accept(l, cfg, of)) }()
		client, server := net.Pipe()
		l.c <- server
		began := time.Now()
		play(client)
		lived = time.Since(began)
		client.Close()
		srv.Close()
		synctest.Wait()
	})
	return lived
}

func TestTrapSlowClients(t *testing.T) {
	const head = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300000\r\n\r\n"
	drip := func(c net.Conn, s string, n int, pause time.Duration) {
		go func() { _, _ = io.Copy(io.Discard, c) }()
		for range n {
			if _, err := io.WriteString(c, s); err != nil {
				return
			}
			time.Sleep(pause)
		}
	}
	read := func(c net.Conn, n int, pause time.Duration) {
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
		b := make([]byte, n)
		for {
			if _, err := io.ReadFull(c, b); err != nil {
				return
			}
			time.Sleep(pause)
		}
	}
	big := func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		if err == nil {
			_, _ = w.Write(make([]byte, 300_000))
		}
		panic(http.ErrAbortHandler) // ends the connection
	}
	silent := func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).Flush()
		time.Sleep(10 * time.Minute)
		_, _ = io.WriteString(w, "event")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	for _, tt := range []struct {
		name     string
		handler  http.HandlerFunc
		play     func(net.Conn)
		from, to time.Duration
	}{
		{"header", big, func(c net.Conn) { drip(c, "GET / HTTP/1.1\r\nX: ", 1, 0); drip(c, "x", 1000, time.Second) }, 9 * time.Second, 11 * time.Second},
		{"nothing", big, func(c net.Conn) { _, _ = c.Read(make([]byte, 1)) }, 9 * time.Second, 11 * time.Second},
		{"idle", silentNot, func(c net.Conn) {
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
			_, _ = io.Copy(io.Discard, c)
		}, 59 * time.Second, 61 * time.Second},
		{"body that stops", big, func(c net.Conn) { drip(c, head, 1, 0); _, _ = c.Read(make([]byte, 1)) }, 9 * time.Second, 11 * time.Second},
		{"body of 10 bytes a second", big, func(c net.Conn) { drip(c, head, 1, 0); drip(c, "0123456789", 1000, time.Second) }, 9 * time.Second, 12 * time.Second},
		{"body of 1200 bytes a second", big, func(c net.Conn) { drip(c, head, 1, 0); drip(c, strings.Repeat("x", 1200), 250, time.Second) }, 250 * time.Second, 252 * time.Second},
		{"body of 30 kB a second", big, func(c net.Conn) { drip(c, head, 1, 0); drip(c, strings.Repeat("x", 3000), 100, time.Second/10) }, 10 * time.Second, 11 * time.Second},
		{"answer that is not read", big, func(c net.Conn) {
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
			time.Sleep(15 * time.Second)
			if n, _ := io.Copy(io.Discard, c); n > 0 {
				t.Errorf("after 15 s %d bytes could be read", n)
			}
		}, 15 * time.Second, 15 * time.Second},
		{"answer at 10 bytes a second", big, func(c net.Conn) { read(c, 10, time.Second) }, 9 * time.Second, 45 * time.Second},
		{"answer at 1200 bytes a second", big, func(c net.Conn) { read(c, 1200, time.Second) }, 250 * time.Second, 260 * time.Second},
		{"event stream with nothing to say", silent, func(c net.Conn) {
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
			b, _ := io.ReadAll(c)
			if !bytes.Contains(b, []byte("event")) {
				t.Errorf("the event did not come: %q", b)
			}
		}, 10 * time.Minute, 10*time.Minute + time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if lived := slowly(t, doorPolicy(nil), nil, tt.handler, tt.play); lived < tt.from || lived > tt.to {
				t.Errorf("it took %v, want %v to %v", lived, tt.from, tt.to)
			}
		})
	}
	t.Run("waived", func(t *testing.T) {
		p := doorPolicy(func(p *policy.Policy) {
			p.Waivers = []policy.Waiver{{Control: "edge/slow-clients", Reason: "to see the difference", Until: time.Now()}}
		})
		lived := slowly(t, p, nil, big, func(c net.Conn) { drip(c, head, 1, 0); drip(c, "x", 100, time.Second) })
		if lived < 100*time.Second {
			t.Errorf("a slow body was cut after %v", lived)
		}
	})
}

// silentNot answers at once.
func silentNot(http.ResponseWriter, *http.Request) {}

// TestTrapStreamHeldStill: an HTTP/2 client that opens no window (CVE-2019-9517)
// loses the stream, and not the connection.
func TestTrapStreamHeldStill(t *testing.T) {
	for _, size := range []int{10, 100_000} {
		s := httptest.NewUnstartedServer(nil)
		s.EnableHTTP2 = true
		s.StartTLS()
		cfg := &tls.Config{Certificates: s.TLS.Certificates, NextProtos: []string{"h2"}, Time: func() time.Time { return time.Now() }}
		s.Close()
		reset := false
		lived := slowly(t, doorPolicy(nil), cfg, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, size)) }, func(c net.Conn) {
			conn := tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
			_, _ = io.WriteString(conn, http2.ClientPreface)
			fr := http2.NewFramer(conn, bufio.NewReader(conn))
			_ = fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
			_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: headerBlock(), EndStream: true, EndHeaders: true})
			for {
				f, err := fr.ReadFrame()
				if err != nil {
					return
				}
				switch f := f.(type) {
				case *http2.SettingsFrame:
					if !f.IsAck() {
						_ = fr.WriteSettingsAck()
					}
				case *http2.RSTStreamFrame:
					reset = true
					return
				}
			}
		})
		if !reset || lived < 29*time.Second || lived > 31*time.Second {
			t.Errorf("an answer of %d bytes: reset %v, after %v", size, reset, lived)
		}
	}
}

func headerBlock() []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "localhost"}, {":path", "/"}} {
		_ = e.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	return b.Bytes()
}

// TestTrapSlowBodyOfAStream: over HTTP/2 a body that drips is given up like one
// over HTTP/1, and one that is slow but honest is not. A gRPC call, and one whose
// answer has begun, may be silent.
func TestTrapSlowBodyOfAStream(t *testing.T) {
	s := httptest.NewUnstartedServer(nil)
	s.EnableHTTP2 = true
	s.StartTLS()
	cfg := &tls.Config{Certificates: s.TLS.Certificates, NextProtos: []string{"h2"}, Time: func() time.Time { return time.Now() }}
	s.Close()
	readAll := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/duplex" {
			_ = http.NewResponseController(w).Flush()
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			panic(http.ErrAbortHandler)
		}
	}
	for _, tt := range []struct {
		name, path, kind string
		bytes            int // in each second
		from, to         time.Duration
		whole            bool
	}{
		{"stops", "/", "text/plain", 0, 9 * time.Second, 11 * time.Second, false},
		{"10 bytes a second", "/", "text/plain", 10, 9 * time.Second, 12 * time.Second, false},
		{"1200 bytes a second", "/", "text/plain", 1200, 100 * time.Second, 102 * time.Second, true},
		{"30 kB a second", "/", "text/plain", 30_000, 4 * time.Second, 6 * time.Second, true},
		{"gRPC", "/", "application/grpc", 2, 100 * time.Second, 400 * time.Second, true},
		{"both ways", "/duplex", "text/plain", 2, 100 * time.Second, 400 * time.Second, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			whole, reset := false, false
			lived := slowly(t, doorPolicy(nil), cfg, readAll, func(c net.Conn) {
				conn := tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
				_, _ = io.WriteString(conn, http2.ClientPreface)
				fr := http2.NewFramer(conn, bufio.NewReader(conn))
				_ = fr.WriteSettings()
				var b bytes.Buffer
				e := hpack.NewEncoder(&b)
				for _, f := range [][2]string{{":method", "POST"}, {":scheme", "https"}, {":authority", "localhost"}, {":path", tt.path}, {"content-type", tt.kind}} {
					_ = e.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
				}
				_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b.Bytes(), EndHeaders: true})
				total := 120_000
				if tt.bytes < 100 {
					total = 100 * tt.bytes
				}
				done := make(chan struct{})
				go func() {
					for sent := 0; sent < total; sent += tt.bytes {
						_ = fr.WriteData(1, false, make([]byte, min(tt.bytes, 15_000)))
						if tt.bytes > 15_000 {
							_ = fr.WriteData(1, false, make([]byte, tt.bytes-15_000))
						}
						select {
						case <-time.After(time.Second):
						case <-done:
							return
						}
					}
					if tt.bytes > 0 {
						_ = fr.WriteData(1, true, nil)
					}
				}()
				defer close(done)
				for {
					f, err := fr.ReadFrame()
					if err != nil {
						return
					}
					switch f := f.(type) {
					case *http2.RSTStreamFrame:
						reset = true
						return
					case *http2.HeadersFrame:
						if whole = f.StreamEnded(); whole {
							return
						}
					case *http2.DataFrame:
						if whole = f.StreamEnded(); whole {
							return
						}
					}
				}
			})
			if whole != tt.whole || reset == tt.whole || lived < tt.from || lived > tt.to {
				t.Errorf("answered %v, reset %v, after %v; want %v within %v to %v", whole, reset, lived, tt.whole, tt.from, tt.to)
			}
		})
	}
}
