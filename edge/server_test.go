package edge_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// TestTrapHTTP2Floods: a connection that only costs is ended by the server, or
// is made to wait; it never runs more than 100 handlers.
func TestTrapHTTP2Floods(t *testing.T) {
	block := headerBlock()
	for _, tt := range []struct {
		name  string
		ends  bool // the connection, else it may wait
		flood func(fr *http2.Framer, i uint32) error
	}{
		{"rapid reset (CVE-2023-44487)", false, func(fr *http2.Framer, i uint32) error {
			if err := fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: block, EndStream: true, EndHeaders: true}); err != nil {
				return err
			}
			return fr.WriteRSTStream(2*i+1, http2.ErrCodeCancel)
		}},
		{"streams beyond the cap", false, func(fr *http2.Framer, i uint32) error {
			return fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: block, EndStream: true, EndHeaders: true})
		}},
		{"CONTINUATION (CVE-2023-45288)", true, func(fr *http2.Framer, i uint32) error {
			if i == 0 {
				return fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block})
			}
			return fr.WriteContinuation(1, false, []byte("\x00\x01x\x7f\x81\x01"+strings.Repeat("y", 256)))
		}},
		{"SETTINGS (CVE-2019-9515)", false, func(fr *http2.Framer, _ uint32) error { return fr.WriteSettings() }},
		{"PING (CVE-2019-9512)", true, func(fr *http2.Framer, _ uint32) error { return fr.WritePing(false, [8]byte{}) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var running, peak atomic.Int64
			f := newDoor(t, doorPolicy(nil), http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				n := running.Add(1)
				defer running.Add(-1)
				for p := peak.Load(); n > p && !peak.CompareAndSwap(p, n); p = peak.Load() {
				}
				select {
				case <-r.Context().Done():
				case <-time.After(100 * time.Millisecond):
				}
			}), doorTLS(t))
			tcp := dialFrom(t, "127.0.0.2", f.address)
			_ = tcp.(*net.TCPConn).SetReadBuffer(128 << 10) // less, and the kernel drops acknowledgements with the data that it has no room for
			conn := tls.Client(tcp, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
			patience := 15 * time.Second
			if tt.ends { // however busy this machine is
				patience = time.Minute
			}
			conn.SetDeadline(time.Now().Add(patience))
			_, _ = io.WriteString(conn, http2.ClientPreface)
			w := bufio.NewWriterSize(conn, 64<<10)
			fr := http2.NewFramer(w, nil)
			_ = fr.WriteSettings()
			if !tt.ends { // else answers are not read: they pile up
				go func() { _, _ = io.Copy(io.Discard, conn) }()
			}
			var err error
			last := time.Now() // when a frame was taken
			for i := 0; err == nil && (tt.ends || i < 2000); i++ {
				if err = tt.flood(fr, uint32(i)); err == nil {
					last = time.Now()
				}
			}
			if err == nil {
				err = w.Flush()
			}
			if errors.Is(err, os.ErrDeadlineExceeded) && time.Since(last) < 2*time.Second {
				t.Error("neither ended nor made to wait")
			}
			if n := peak.Load(); n > 100 {
				t.Errorf("%d handlers ran at once", n)
			}
			if !served(t, tls.Client(dialFrom(t, "127.0.0.3", f.address), &tls.Config{InsecureSkipVerify: true})) {
				t.Error("another client is not served")
			}
		})
	}
}
