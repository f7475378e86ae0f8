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
	"strings"
	"syscall"
	"testing"

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
