package app

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// framing ends the connection after a request whose end two programs could see
// in two places. What the sender placed behind it is then never read.
//
// net/http already refuses differing Content-Lengths, codings other than
// chunked and chunked twice. It lets two through: Content-Length beside
// Transfer-Encoding, where it follows the latter and hides the former, and
// Transfer-Encoding in an HTTP/1.0 request, which it ignores. RFC 9112, 6.1 has
// a server close the connection after either. Since neither can be told from
// its harmless form here, every chunked HTTP/1.1 request and every HTTP/1.0
// request is answered with Connection: close; a body of known length, the
// usual case, keeps its connection. HTTP/2 and 3 have frames of their own.
var framing = Control{
	Meta: check.Meta{
		ID:     "app/framing",
		Most:   3,
		Points: 4,
		Title:  "Nothing is read behind a request of doubtful length",
		Why:    "A second request hidden in the body of a first one is answered to the next client of the connection.",
		Ref:    "RFC 9112, 6.1 and 11.2; ASVS 5.0 V4.2.1; blueprint E4, T8, checklist 3",
	},
	Wrap: func(*policy.Policy, Deps) (Middleware, error) {
		closes := []string{"close"}
		return func(next Handler) Handler {
			return func(x *Exchange) {
				if r := x.R; r.ProtoMajor < 2 && (len(r.TransferEncoding) > 0 || r.ProtoMinor < 1) {
					x.Answer.Set("Connection", closes)
				}
				next(x)
			}
		}, nil
	},
	Value:  func(*policy.Policy, *Route) string { return "the connection ends after chunked and HTTP/1.0 requests" },
	Verify: verifyFraming,
}

// verifyFraming hides a request behind one that has both a length and a
// coding, and counts the answers.
func verifyFraming(ctx context.Context, _ *policy.Policy, c *probe.Client) check.Finding {
	fix := "put the app ring in front of the API, or have the proxy refuse Content-Length beside Transfer-Encoding"
	ok, err := c.Do(ctx, probe.Request{Target: "/"})
	if err != nil {
		return check.Unseen("no answer to GET /: %v", err)
	}
	conn, err := c.Dial(ctx)
	if err != nil {
		return check.Unseen("no connection: %v", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	conn.SetDeadline(time.Now().Add(10 * time.Second))

	host := c.Base().Host
	_, err = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: "+host+"\r\nUser-Agent: ringwall-check\r\n"+
		"Content-Type: application/json\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"+
		"GET /ringwall-hidden HTTP/1.1\r\nHost: "+host+"\r\nUser-Agent: ringwall-check\r\nConnection: close\r\n\r\n")
	if err != nil {
		return check.Unseen("the doubtful request could not be sent: %v", err)
	}
	br := bufio.NewReader(io.LimitReader(conn, 1<<20))
	first, err := http.ReadResponse(br, &http.Request{Method: http.MethodPost})
	if err == nil {
		_, err = io.Copy(io.Discard, first.Body)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return check.Unseen("no answer to the doubtful request: %v", err)
	}
	if err != nil { // hung up without a word
		return check.Passed("Content-Length beside Transfer-Encoding: the connection was closed; GET / was answered %d", ok.Status)
	}
	probe.Answered(ctx, first.StatusCode)
	second, err := http.ReadResponse(br, nil)
	if err == nil {
		second.Body.Close()
		return check.Shown("a request behind one with Content-Length and Transfer-Encoding was answered too, "+strings.TrimSpace(second.Status),
			"one answer, then the connection closed", fix)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return check.Unseen("the connection stayed open behind the doubtful request, without an answer")
	}
	return check.Passed("Content-Length beside Transfer-Encoding: one answer, %d, then the connection was closed; GET / was answered %d",
		first.StatusCode, ok.Status)
}
