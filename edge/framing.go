package edge

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// strictFraming refuses HTTP/1 requests whose end two programs could see in two
// places, before any server sees them: framing.Framer says
// which. They are answered with the status that RFC 9112 gives them and with
// the headers of every answer, nothing behind them is read, and the connection
// ends. A chunked body that goes wrong later ends as one that was broken off.
//
// Pipelined requests are served one after the other; what waits is in the
// kernel's buffers and 4 kB of the server's. Where this control is waived,
// net/http serves HTTP/1, forgives what it forgives, and refuses the rest without
// our headers.
//
// It is applied by State.Accept. HTTP/2 and 3 have frames of their own.
var strictFraming = Control{
	Meta: check.Meta{
		ID:     "edge/framing",
		Most:   8,
		Points: 14,
		Title:  "A request of doubtful framing is refused unread",
		Why:    "A second request hidden in the body or the header of a first one passes whoever read the first one differently.",
		Ref:    "RFC 9112, 2.2, 5, 6 and 7; CVE-2025-22871; CWE-444; ASVS 5.0 V4.2.1; blueprint E4, T8, checklist 3",
	},
	Verify: verifyFraming,
}

// doubtful are requests that must be refused. HOST stands for the target's, and
// SIZE for the length of the request that is hidden behind.
//
// One of them may also be answered, if then the hidden one is not: RFC 9112, 2.2
// lets a recipient take a lone LF for the end of a line. What follows it is then
// a header line, and the hidden request is a body. Who answers both has read the
// line in one way and passed it on in another.
var doubtful = []struct {
	what, request string
	lenient       bool
}{
	{"LF without CR", "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\nX-A: 1\nContent-Length: SIZE\r\n\r\n", true},
	{"a folded line", "GET / HTTP/1.1\r\nHost: HOST\r\nX-A: 1\r\n 2\r\n\r\n", false},
	{"a space before the colon", "GET / HTTP/1.1\r\nHost: HOST\r\nX-A : 1\r\n\r\n", false},
	{"Content-Length twice", "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}", false},
	{"Content-Length beside Transfer-Encoding", "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", false},
	{"Transfer-Encoding: chunked, identity", "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", false},
}

// verifyFraming sends each, with a request hidden behind it.
func verifyFraming(ctx context.Context, _ *policy.Policy, c *probe.Client) check.Finding {
	const fix = "put Ringwall's edge in front of the API, or a proxy that refuses such requests"
	host := c.Base().Host
	ok, err := c.Do(ctx, probe.Request{Target: "/"})
	if err != nil {
		return check.Unseen("no answer to GET /: %v", err)
	}
	if ok.Status == http.StatusBadRequest {
		return check.Unseen("GET / itself is answered 400")
	}
	follow := func(path, more string) string {
		return "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\n" + more + "\r\n"
	}
	const last = "Connection: close\r\n"
	body := follow("/ringwall-hidden", "")
	fill := strings.NewReplacer("HOST", host, "SIZE", strconv.Itoa(len(body)))
	how := "refused"
	for _, d := range doubtful {
		raw := fill.Replace(d.request) + follow("/ringwall-hidden", last)
		if d.lenient {
			raw = fill.Replace(d.request) + body + follow("/ringwall-after", last)
		}
		first, more, err := rawExchange(ctx, c, raw)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.Canceled), errors.Is(err, probe.ErrNoRequests):
			return check.Unseen("%s: %v", d.what, err)
		case err != nil: // closed without an answer
			continue
		case d.lenient && more < 2:
			if more > 0 || first != http.StatusBadRequest {
				how = "refused, or read in one way"
			}
			continue
		case first != http.StatusBadRequest && first != http.StatusNotImplemented:
			return check.Failed(d.what+" was answered "+(&probe.Response{Status: first}).Line(), "400 or 501, and the connection closed", fix)
		case more > 0:
			return check.Shown("what stood behind "+d.what+" was read", "the connection closed", fix)
		}
	}
	return check.Passed("%d doubtful requests were %s, among them %s and %s; GET / was answered %d",
		len(doubtful), how, doubtful[0].what, doubtful[3].what, ok.Status)
}

// rawExchange sends raw bytes and reads the first answer; more is how many
// others follow, counted up to 2.
func rawExchange(ctx context.Context, c *probe.Client, raw string) (status, more int, err error) {
	conn, err := c.Dial(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	go func() { _, _ = io.WriteString(conn, raw) }() // a failure shows in the answer
	r := bufio.NewReader(io.LimitReader(conn, 1<<20))
	for more = -1; more < 2; more++ {
		res, err := http.ReadResponse(r, nil)
		if err == nil {
			_, err = io.Copy(io.Discard, res.Body)
		}
		switch {
		case err != nil && (more < 0 || errors.Is(err, os.ErrDeadlineExceeded)):
			return status, max(more, 0), err
		case err != nil:
			return status, more, nil
		case more < 0:
			status = res.StatusCode
			probe.Answered(ctx, status)
		}
	}
	return status, more, nil
}
