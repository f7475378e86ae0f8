package framing_test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/ringwall/ringwall/edge/internal/framing"
)

const head = "GET /api/notes?page=2 HTTP/1.1\r\nHost: api.example.com\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n" +
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-GB,en;q=0.5\r\n" +
	"Accept-Encoding: gzip, deflate, br, zstd\r\n"

// streams are seeds for the tests below: whole requests, and what goes wrong in
// them.
var streams = []string{
	head + "\r\n",
	head + "Content-Length: 3\r\n\r\nabc" + head + "\r\n",
	head + "Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nA: b\r\n\r\n" + head + "\r\n",
	"POST / HTTP/1.0\r\ncontent-length: 1\r\n\r\nx",
	head + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
	head + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	head + "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
	head + "X: 1\r\n 2\r\n\r\n",
	"GET / HTTP/1.1\n\n",
	"\r\n\r\n",
}

// TestPiecesDoNotMatter: a stream is read alike however it is cut.
func TestPiecesDoNotMatter(t *testing.T) {
	for _, s := range streams {
		var whole framing.Framer
		want, wantBreach := whole.Follow([]byte(s))
		for size := 1; size < 40; size++ {
			var f framing.Framer
			n, breach := 0, framing.None
			for n < len(s) && breach == framing.None {
				var k int
				k, breach = f.Follow([]byte(s[n:min(n+size, len(s))]))
				n += k
			}
			if n != want || breach != wantBreach {
				t.Errorf("%q in pieces of %d: %d, %v; whole: %d, %v", s, size, n, breach, want, wantBreach)
			}
		}
	}
}

// TestValues: each byte, at each place of a long value and of a short one, is
// judged as RFC 9110, 5.5 does.
func TestValues(t *testing.T) {
	for c := range 256 {
		allowed := c == '\t' || c >= ' ' && c != 0x7f
		for _, length := range []int{1, 7, 8, 9, 24} {
			for at := range length {
				for _, other := range []byte{'a', 0xff} {
					value := bytes.Repeat([]byte{other}, length)
					value[at] = byte(c)
					var f framing.Framer
					p := append(append([]byte("GET / HTTP/1.1\r\nX: "), value...), "\r\n\r\n"...)
					if _, breach := f.Follow(p); (breach == framing.None) != allowed {
						t.Fatalf("byte %#x at %d of %d among %#x: %q, want allowed %v", c, at, length, other, breach.Error(), allowed)
					}
				}
			}
		}
	}
}

// FuzzAgreesWithNetHTTP: whatever is let through, net/http sees the same
// requests in it.
func FuzzAgreesWithNetHTTP(f *testing.F) {
	for _, s := range streams {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		var fr framing.Framer
		ends := []int{}
		n := 0
		for n < len(p) {
			k, breach := fr.Follow(p[n : n+1])
			if breach != framing.None {
				break
			}
			n += k
			if fr.AtStart() {
				ends = append(ends, n)
			}
		}
		r := bufio.NewReader(bytes.NewReader(p[:n]))
		read := 0
		for i, end := range ends {
			req, err := http.ReadRequest(r)
			if err != nil {
				return // net/http is stricter: nothing behind is read
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return
			}
			read = end
			if left := r.Buffered(); left != 0 && n < 4096 && n-left != end {
				t.Fatalf("request %d ends at %d, and for net/http at %d: %q", i, end, n-left, p[:n])
			}
		}
		if req, err := http.ReadRequest(r); err == nil {
			if _, err := io.Copy(io.Discard, req.Body); err == nil {
				t.Fatalf("net/http sees a whole request behind %d: %q", read, p[:n])
			}
		}
	})
}

func BenchmarkHead(b *testing.B) {
	p := []byte(head + "Authorization: Bearer " + strings.Repeat("x", 200) + "\r\nConnection: keep-alive\r\n\r\n")
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	var f framing.Framer
	for b.Loop() {
		if n, breach := f.Follow(p); n != len(p) || breach != framing.None || !f.AtStart() {
			b.Fatal(n, breach)
		}
	}
}
