package edge_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringwall/ringwall/edge"
)

func TestListenLocalhostIsBothLoopbacks(t *testing.T) {
	ls, err := edge.Listen(t.Context(), "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(ls[0].Addr().String())
	for _, l := range ls {
		defer l.Close()
		a := l.Addr().(*net.TCPAddr)
		if !a.IP.IsLoopback() || fmt.Sprint(a.Port) != port {
			t.Errorf("listens on %v, want loopback and port %s", a, port)
		}
	}
	if _, err := edge.Listen(t.Context(), "localhost:"+port); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("the same port again: %v, want EADDRINUSE", err)
	}
	if len(ls) == 2 { // someone else's ::1 would answer in our place
		ls[0].Close()
		if _, err := edge.Listen(t.Context(), "localhost:"+port); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("only ::1 taken: %v, want EADDRINUSE", err)
		}
	}
	if _, err := edge.Listen(t.Context(), "8443"); err == nil {
		t.Error("an address without a colon is taken")
	}
}

func TestServerBoundsTheHeader(t *testing.T) {
	addr := serveTLS(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	for size, want := range map[int]string{1 << 10: "HTTP/1.1 204", 80 << 10: "HTTP/1.1 431"} {
		c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\nX: "+strings.Repeat("x", size)+"\r\n\r\n")
		}()
		got := make([]byte, len(want))
		_, _ = io.ReadFull(c, got)
		c.Close()
		if string(got) != want {
			t.Errorf("a header of %d bytes: %q, want %q", size, got, want)
		}
	}
}

func TestServerLog(t *testing.T) {
	var b bytes.Buffer
	srv := edge.NewServer(nil, slog.New(slog.NewJSONHandler(&b, nil)))
	srv.ErrorLog.Print("http: TLS handshake error from 192.0.2.1:1: EOF")
	if b.Len() != 0 {
		t.Errorf("a failed handshake is logged above debug: %s", b.String())
	}
	srv.ErrorLog.Print("http: panic serving\nlevel=ERROR forged")
	if got := b.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `"level":"WARN"`) {
		t.Errorf("logged %q, want one line at level warn", got)
	}
}

func TestRefusalArrivesWhileTheBodyIsStillSent(t *testing.T) {
	addr := serveTLS(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	}))
	for _, size := range []int{100 << 10, 300 << 10, 3 << 20} {
		for _, once := range []bool{true, false} {
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: once}}
			lost := 0
			for range 50 {
				began := time.Now()
				res, err := client.Post("https://"+addr, "text/plain", strings.NewReader(strings.Repeat("x", size)))
				if err != nil && time.Since(began) >= 500*time.Millisecond {
					continue // a client that had no time to read is waited for no longer
				}
				if err != nil {
					lost++
					continue
				}
				res.Body.Close()
				if res.StatusCode != http.StatusRequestEntityTooLarge {
					t.Fatalf("%d bytes: %d", size, res.StatusCode)
				}
			}
			client.CloseIdleConnections()
			if lost > 0 {
				t.Errorf("%d bytes, Connection: close %v: %d of 50 answers were lost", size, once, lost)
			}
		}
	}
}

func TestClosedConnectionIsLetGo(t *testing.T) {
	ls, err := edge.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ls[0].Close()
	client, err := net.Dial("tcp", ls[0].Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	c, err := ls[0].Accept()
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan error, 1)
	go func() {
		_, err := c.Read(make([]byte, 1))
		read <- err
	}()
	if err := c.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := c.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a second Close: %v", err)
	}
	if n, err := client.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("the client reads %d, %v; want the end", n, err)
	}
	if err := <-read; err == nil { // though the client never closes
		t.Error("a read of a closed connection succeeded")
	}
}

// A client that still sends when the server has answered and closed, as nginx
// does with a body, gets the answer: its next write does not fail.
func TestAnswerArrivesBeforeTheEnd(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "unix:" + filepath.Join(t.TempDir(), "s")} {
		ls, err := edge.Listen(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		defer ls[0].Close()
		client, err := net.Dial(ls[0].Addr().Network(), ls[0].Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if _, err := client.Write(make([]byte, 4096)); err != nil {
			t.Fatal(err)
		}
		c, err := ls[0].Accept()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, "answer"); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		for range 3 {
			if _, err := client.Write(make([]byte, 4096)); err != nil {
				t.Errorf("%s: a write after the answer: %v", address, err)
			}
		}
		if got, err := io.ReadAll(client); string(got) != "answer" || err != nil {
			t.Errorf("%s: read %q, %v", address, got, err)
		}
	}
}
