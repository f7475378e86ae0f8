package http1_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringwall/ringwall/edge/internal/framing"
	"github.com/ringwall/ringwall/edge/internal/http1"
)

// A script is a connection on which all has been sent already.
type script struct {
	mu     sync.Mutex
	in     *bytes.Reader
	most   int // bytes that a read gives
	out    bytes.Buffer
	closed chan struct{}
	once   sync.Once
}

func newScript(in string, most int) *script {
	return &script{in: bytes.NewReader([]byte(in)), most: most, closed: make(chan struct{})}
}

func (s *script) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.in.Read(p[:min(len(p), s.most)])
}

func (s *script) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Write(p)
}

func (s *script) Close() error                     { s.once.Do(func() { close(s.closed) }); return nil }
func (s *script) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }
func (s *script) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2), Port: 2} }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// wait waits until the server has closed the connection.
func (s *script) wait(server, in string) {
	select {
	case <-s.closed:
	case <-time.After(patience):
		panic(fmt.Sprintf("%s does not end: %q", server, in))
	}
}

// one is a listener for one connection.
type one struct{ c chan net.Conn }

func (o one) Accept() (net.Conn, error) {
	if c, ok := <-o.c; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (o one) Close() error   { return nil }
func (o one) Addr() net.Addr { return &net.TCPAddr{} }

// theirs is what net/http answers, and ours what http1 does.
func theirs(in string, most int, h http.Handler) string {
	c, l := newScript(in, most), one{make(chan net.Conn, 1)}
	srv := &http.Server{Handler: h, DisableGeneralOptionsHandler: true, MaxHeaderBytes: 64<<10 - 4096, ErrorLog: log.New(io.Discard, "", 0)}
	l.c <- c
	close(l.c)
	_ = srv.Serve(l)
	c.wait("net/http", in)
	return c.out.String()
}

func ours(in string, most int, h http.Handler) string {
	c := newScript(in, most)
	srv := &http1.Server{Handler: h, MaxHead: 64 << 10, Base: context.Background(), Refuse: func(_ net.Conn, status int, _ error) []byte {
		return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nConnection: close\r\n\r\n", status, http.StatusText(status))
	}}
	go srv.Serve(c)
	c.wait("http1", in)
	return c.out.String()
}

// answers reads a connection's answers, one line for each, without their dates
// and what a refusal says.
func answers(stream string, methods []string) (out []string) {
	r := bufio.NewReader(strings.NewReader(stream))
	for i := 0; ; {
		var req *http.Request
		if i < len(methods) {
			req = &http.Request{Method: methods[i]}
		}
		res, err := http.ReadResponse(r, req)
		if err != nil {
			if !errors.Is(err, io.ErrUnexpectedEOF) || r.Buffered() > 0 {
				out = append(out, "not HTTP: "+err.Error())
			}
			return out
		}
		body, err := io.ReadAll(res.Body)
		if res.StatusCode >= 200 {
			i++
		}
		if res.StatusCode >= 400 && i > len(methods) || res.StatusCode >= 400 && res.Header.Get("X-Handler") == "" {
			out = append(out, fmt.Sprint(res.StatusCode, " refused"))
			continue
		}
		delete(res.Header, "Date")
		out = append(out, fmt.Sprintf("%s %s %v length %d %v close %v %q trailer %v %v", res.Proto, res.Status, sorted(res.Header), res.ContentLength, res.TransferEncoding, res.Close, body, sorted(res.Trailer), err))
	}
}

func sorted(h http.Header) (out []string) {
	for _, name := range slices.Sorted(maps.Keys(h)) {
		out = append(out, fmt.Sprintf("%s=%q", name, h[name]))
	}
	return out
}

// teller answers with all that a handler can see of its request.
type teller struct {
	seen    []string
	cut     bool // the last body had no end
	methods []string
}

func (t *teller) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	t.methods, t.cut = append(t.methods, r.Method), err != nil
	u := *r.URL
	t.seen = append(t.seen, fmt.Sprintf("%s %s %s %d.%d host %q url %#v header %v length %d %v close %v body %q %v trailer %v from %s tls %v",
		r.Method, r.RequestURI, r.Proto, r.ProtoMajor, r.ProtoMinor, r.Host, u, sorted(r.Header), r.ContentLength, r.TransferEncoding, r.Close,
		body, err != nil, sorted(r.Trailer), r.RemoteAddr, r.TLS != nil))
	w.Header().Set("X-Handler", "1")
	fmt.Fprintf(w, "%s %d", r.Method, len(body))
}

var requests = []string{
	"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /a/b?x=1&y=%20 HTTP/1.1\r\nHost: a:80\r\nX: 1\r\nx: 2\r\nAccept: \t b \t\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
	"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n",
	"POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-T, y\r\n\r\n5;a=b\r\nhello\r\n00A\r\n0123456789\r\n0\r\nX-T: 1\r\nOther: 2\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
	"POST /p HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"HEAD / HTTP/1.1\r\nHost: a\r\n\r\nHEAD / HTTP/1.0\r\n\r\n",
	"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\nHost: b\r\n\r\n",
	"GET / HTTP/1.0\r\nConnection: Keep-Alive, close\r\nPragma: no-cache\r\n\r\n",
	"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\nCONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET http://b/c?d HTTP/1.1\r\nHost: a\r\n\r\nGET /%41%2f?? HTTP/1.1\r\nHost: a\r\n\r\nGET /a? HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET //a//b HTTP/1.1\r\nHost:\r\n\r\nGET /a#b HTTP/1.1\r\nHost: a\r\n\r\nGET /!(a)* HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "GET /\xff?\xff HTTP/1.1\r\nHost: a\r\nX: \xff\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nTrailer: Content-Length\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: Content-Length\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "GET / HT",
	"GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("a", 5000) + "\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("a", 70_000) + "\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: upgrade, HTTP2-Settings\r\n\r\n",
}

// FuzzRequests: a well-framed stream of requests is understood as net/http does:
// its handlers see the same requests, and the client gets the same answers.
func FuzzRequests(f *testing.F) {
	for _, r := range requests {
		f.Add(r, uint16(1000))
		f.Add(r, uint16(1))
	}
	f.Fuzz(func(t *testing.T, in string, most uint16) {
		var fr framing.Framer
		if _, breach := fr.Follow([]byte(in)); breach != framing.None || strings.Count(in, "\r\n") > http1.MaxFields {
			return
		}
		n := max(1, int(most))
		var us, them teller
		got, want := ours(in, n, &us), theirs(in, n, &them)
		if !slices.Equal(us.seen, them.seen) {
			t.Errorf("%q: the handler saw\n%s\nand behind net/http\n%s", in, strings.Join(us.seen, "\n"), strings.Join(them.seen, "\n"))
		}
		g, w := answers(got, us.methods), answers(want, them.methods)
		if us.cut { // net/http would wait for more; there is none
			for _, a := range [][]string{g, w} {
				a[len(a)-1] = strings.Replace(a[len(a)-1], " close true ", " close false ", 1)
			}
		}
		if !slices.Equal(g, w) {
			t.Errorf("%q is answered\n%q\nand by net/http\n%q", in, g, w)
		}
	})
}

// player answers as a program says, byte by byte.
type player struct {
	program []byte
	errs    []string
	methods []string
}

var (
	statuses = []int{200, 200, 204, 304, 404, 500, 201, 206, 299, 599}
	values   = [][]string{{"1"}, {"a", "b"}, {" x\r\ny: z "}, {""}, nil, {"close"}, {"keep-alive"}, {"text/plain"}, {"10"}, {"3000"}, {"chunked"}, {"identity"}, {"X-T"}, {"gzip"}, {"0"}, {"Content-Length, X-U"}}
	names    = []string{"X-A", "Connection", "Content-Length", "Content-Type", "Trailer", "Content-Encoding", "X-T", "Trailer:X-P", "Date", "Bad Name", "Etag"}
	sizes    = []int{0, 1, 10, 600, 2048, 2049, 3000, 5000, 40_000}
)

func (p *player) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.methods = append(p.methods, r.Method)
	w.Header().Set("X-Handler", "1")
	prog := p.program
	next := func(n int) int {
		if len(prog) == 0 {
			return 0
		}
		b := prog[0]
		prog = prog[1:]
		return int(b) % n
	}
	begun := false
	for len(prog) > 0 {
		switch next(8) {
		case 0, 1:
			name, v := names[next(len(names))], values[next(len(values))]
			if _, err := strconv.Atoi(strings.Join(v, ",")); name == "Content-Length" && err != nil {
				continue // net/http may send what is no number
			}
			w.Header()[name] = v
		case 2:
			if !begun {
				begun = true
				w.WriteHeader(statuses[next(len(statuses))])
			}
		case 3:
			begun = true
			n, err := w.Write(bytes.Repeat([]byte("<b>x"), sizes[next(len(sizes))])[:])
			p.errs = append(p.errs, fmt.Sprint(n, err))
		case 4:
			begun = true
			n, err := io.WriteString(w, strings.Repeat("y", sizes[next(len(sizes))]))
			p.errs = append(p.errs, fmt.Sprint(n, err))
		case 5:
			begun = true
			_ = http.NewResponseController(w).Flush()
		case 6:
			n, err := io.CopyN(io.Discard, r.Body, int64(sizes[next(len(sizes))]))
			p.errs = append(p.errs, fmt.Sprint(n, err))
		case 7:
			switch next(4) {
			case 0:
				_ = r.Body.Close()
			case 1:
				if !begun {
					w.WriteHeader(http.StatusEarlyHints)
				}
			case 2:
				begun = true
				n, err := w.(io.ReaderFrom).ReadFrom(strings.NewReader(strings.Repeat("z", sizes[next(len(sizes))])))
				p.errs = append(p.errs, fmt.Sprint(n, err))
			case 3: // net/http loses the next request when a body was left unread
				if r.Body == http.NoBody {
					_ = http.NewResponseController(w).EnableFullDuplex()
				}
			}
		}
	}
}

// FuzzAnswers: whatever a handler does, the client gets what net/http would have
// sent.
func FuzzAnswers(f *testing.F) {
	for _, p := range []string{"", "\x03\x02", "\x03\x07\x03\x07", "\x00\x02\x08\x03\x02", "\x00\x02\x08\x03\x01", "\x02\x02", "\x02\x03\x03\x01", "\x05\x03\x02", "\x00\x04\x0c\x03\x05\x00\x06\x00",
		"\x03\x07\x00\x07\x00", "\x00\x01\x05\x03\x01", "\x07\x01\x03\x01", "\x07\x02\x06", "\x07\x00\x03\x01", "\x06\x02\x03\x03", "\x00\x03\x04\x03\x02", "\x01\x05\x0d\x03\x02"} {
		for i := range 6 {
			f.Add([]byte(p), uint8(i))
		}
	}
	f.Add([]byte("\x03\x02"), uint8(6)) // net/http waits for half a second
	f.Add([]byte("\x06\x08\x03\x02"), uint8(6))
	f.Fuzz(func(t *testing.T, program []byte, which uint8) {
		if len(program) > 24 {
			return
		}
		in := []string{
			"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
			"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
			"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
			"GET / HTTP/1.0\r\n\r\n",
			"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000\r\n\r\n" + strings.Repeat("b", 3000),
			"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
			"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n" + strings.Repeat("b", 300_000),
		}[which%7]
		in += "GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
		us, them := player{program: program}, player{program: program}
		got, want := ours(in, 1<<20, &us), theirs(in, 1<<20, &them)
		g, w := answers(got, us.methods), answers(want, them.methods)
		w = slices.DeleteFunc(w, func(a string) bool { return strings.HasPrefix(a, "HTTP/1.0 1") }) // RFC 9110, 15.2
		if !slices.Equal(g, w) {
			t.Errorf("%q with %d is answered\n%.1500q\nand by net/http\n%.1500q", program, which%7, g, w)
		}
		if !slices.Equal(us.errs, them.errs) {
			t.Errorf("%q with %d: the handler got %q, and of net/http %q", program, which%7, us.errs, them.errs)
		}
	})
}
