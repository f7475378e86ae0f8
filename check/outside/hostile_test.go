package outside_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/outside"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/check/report"
	"github.com/ringwall/ringwall/internal/porttest"
)

// TestHostileTargets: whatever answers, a run ends in bounded time and memory, its
// text is plain, and what could not be seen is no pass.
func TestHostileTargets(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for targets that say nothing")
	}
	const ok = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	signer, _ := issue(t, 0)
	garbage := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{bytes.Repeat([]byte("no certificate "), 40)}, PrivateKey: signer.PrivateKey}}}
	for name, h := range map[string]struct {
		answer func(net.Conn)
		blind  bool // nothing at all can be seen
		tls    bool // it should speak TLS
	}{
		"endless body": {answer: func(c net.Conn) {
			_, _ = io.WriteString(c, ok+"\r\n")
			endless(c, []byte(strings.Repeat("a", 1<<14)))
		}},
		"endless head": {blind: true, answer: func(c net.Conn) {
			_, _ = io.WriteString(c, ok)
			endless(c, []byte("X-A: "+strings.Repeat("a", 1<<12)+"\r\n"))
		}},
		"endless line":    {blind: true, answer: func(c net.Conn) { endless(c, []byte(strings.Repeat("a", 1<<14))) }},
		"endless interim": {blind: true, answer: func(c net.Conn) { endless(c, []byte("HTTP/1.1 102 Processing\r\n\r\n")) }},
		"redirects for ever": {answer: func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n")
		}},
		"a byte now and then": {blind: true, answer: func(c net.Conn) {
			for _, b := range []byte(ok + strings.Repeat("X: y\r\n", 1000)) {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		}},
		"silence":         {blind: true, answer: func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }},
		"no HTTP":         {blind: true, answer: func(c net.Conn) { _, _ = io.WriteString(c, "220 mail.example ESMTP\r\n") }},
		"TLS in plain":    {blind: true, answer: func(c net.Conn) { _, _ = c.Write([]byte{22, 3, 3, 0, 2, 2, 40}) }},
		"length too long": {blind: true, answer: func(c net.Conn) { _, _ = io.WriteString(c, ok+"Content-Length: 1000\r\n\r\n{}") }},
		"two lengths":     {blind: true, answer: func(c net.Conn) { _, _ = io.WriteString(c, ok+"Content-Length: 2\r\nContent-Length: 7\r\n\r\n{}") }},
		"bad chunks":      {blind: true, answer: func(c net.Conn) { _, _ = io.WriteString(c, ok+"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}") }},
		"escapes": {answer: func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 500 \x1b[2J\x1b]0;owned\x07\r\nServer: \x1b[31mnginx/1.2.3\u202e\r\nSet-Cookie: \x1b[2Ja=b\r\nLocation: https://x/\x1b[0m\r\nContent-Length: 60\r\nContent-Type: text/html\r\n\r\n\x1b[2J<script>alert(1)</script>Traceback (most recent call last)")
		}},
		"cut handshake": {blind: true, tls: true, answer: func(c net.Conn) { _, _ = c.Write([]byte{22, 3, 3, 0, 90, 2, 0, 0, 86, 3, 3}) }},
		"alert":         {blind: true, tls: true, answer: func(c net.Conn) { _, _ = c.Write([]byte{21, 3, 3, 0, 2, 2, 40}) }},
		"endless handshake": {blind: true, tls: true, answer: func(c net.Conn) {
			endless(c, append([]byte{22, 3, 3, 0x3f, 0xff, 2, 0xff, 0xff, 0xff}, make([]byte, 0x3ffb)...))
		}},
		"garbage certificate": {blind: true, tls: true, answer: func(c net.Conn) { _ = tls.Server(c, garbage).HandshakeContext(t.Context()) }},
		"gzip bomb": {answer: func(c net.Conn) {
			_, _ = io.WriteString(c, ok+"Content-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03")
			endless(c, make([]byte, 1<<14))
		}},
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			address := porttest.Serve(t, func(c net.Conn) {
				if !h.tls { // as a server that reads the request first
					go func() { _, _ = io.Copy(io.Discard, c) }()
				}
				h.answer(c)
			})
			scheme := "http://"
			if h.tls {
				scheme = "https://"
			}
			client, err := probe.New(scheme+address, probe.Options{Timeout: 300 * time.Millisecond, MaxRequests: 400})
			if err != nil {
				t.Fatal(err)
			}
			target := outside.NewTarget(client)
			var checks []check.Check
			for _, c := range outside.Checks() {
				if c.Afar || c.Manner == outside.Intrusive {
					continue
				}
				checks = append(checks, check.Check{Meta: c.Meta, Verify: func(ctx context.Context) check.Finding {
					log := new(probe.Log)
					f := c.Verify(probe.WithLog(ctx, log), target)
					for _, e := range log.Exchanges() {
						f.Evidence = append(f.Evidence, check.Exchange(e))
					}
					return f
				}})
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			began := time.Now()
			r := check.Run(t.Context(), checks, check.Options{PerCheck: 20 * time.Second})
			took := time.Since(began)
			runtime.GC()
			runtime.ReadMemStats(&after)
			// 400 connections of 300 ms, and what a loaded machine adds.
			if took > 3*time.Minute {
				t.Errorf("it took %v", took)
			}
			if after.HeapAlloc > before.HeapAlloc+64<<20 {
				t.Errorf("%d MB are held", (after.HeapAlloc-before.HeapAlloc)>>20)
			}
			for _, res := range r.Results {
				if h.blind && res.Verdict == check.Pass {
					t.Errorf("%s passes: %s", res.ID, res.Got)
				}
			}
			var b bytes.Buffer
			if err := errors.Join(r.WriteText(&b, check.Text{Long: true}), r.WriteJSON(&b), report.HTML(&b, r), report.JUnit(&b, r), report.SARIF(&b, r)); err != nil {
				t.Fatal(err)
			}
			for _, c := range []string{"\x1b", "\x07", "\u202e", "<script>alert"} {
				text := b.String()
				if c == "<script>alert" { // text and JSON may have it, pages not
					var page bytes.Buffer
					if err := report.HTML(&page, r); err != nil {
						t.Fatal(err)
					}
					text = page.String()
				}
				if strings.Contains(text, c) {
					t.Errorf("%q is in the report", c)
				}
			}
			t.Logf("%v in %v, %d connections", r.Summary(), took.Round(time.Millisecond), client.Sent())
		})
	}
}

func endless(c net.Conn, b []byte) {
	for {
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}
