package outside

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
)

// framing sends requests whose length is told in two ways, each with a second
// request hidden behind it. It judges only what the standard forbids: that a
// lone LF ends a line, a server may allow.
var framing = Check{
	Meta: check.Meta{
		ID:     "outside/framing",
		Most:   6,
		Points: 12,
		Title:  "A request whose length is told in two ways is refused",
		Why:    "Where proxy and API disagree about where a request ends, one client's request becomes part of another's (smuggling).",
		Ref:    "RFC 9112, 6.1 to 6.3; ASVS 5.0 V4.2.1; OWASP API8 2023; CWE-444; blueprint E4, T8, checklist 3",
		Layer:  "edge",
	},
	Manner: Active,
	Verify: func(ctx context.Context, t *Target) check.Finding {
		const want = "400 or 501 and the connection closed"
		const fix = "bring the proxy up to date: nginx 1.21.1 and newer refuse these"
		ok, err := t.Client.Do(ctx, probe.Request{Target: t.base()})
		if err != nil {
			return unanswered("GET "+t.base(), err)
		}
		if ok.Status == http.StatusBadRequest {
			return check.Unseen("GET %s itself is answered 400", t.base())
		}
		hidden := "GET /ringwall-hidden HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n"
		head := "POST " + t.base() + " HTTP/1.1\r\nHost: HOST\r\nUser-Agent: ringwall-check\r\nContent-Type: application/json\r\n"
		tries := []struct{ what, raw string }{
			{"Content-Length beside Transfer-Encoding", head + "Content-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"},
			{"two Content-Lengths that differ", head + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"},
			{"Transfer-Encoding: xchunked", head + "Transfer-Encoding: xchunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"},
			{"Content-Length: +2", head + "Content-Length: +2\r\n\r\n{}"},
			{"a space before the colon of Transfer-Encoding", head + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"},
		}
		for _, try := range tries {
			status, more, err := t.raw(ctx, strings.ReplaceAll(try.raw+hidden, "HOST", t.Client.Base().Host))
			switch {
			case err != nil && (ctx.Err() != nil || probe.IsTimeout(err)):
				return unanswered(try.what, err)
			case err != nil: // closed without an answer
				continue
			case more:
				return check.Shown("what stood behind "+try.what+" was answered, too", want, fix)
			case (&probe.Response{Status: status}).InItsPlace():
				return check.Unseen("%s was answered %d, by a limit or in the API's place", try.what, status)
			case status < 400 || status == http.StatusNotFound && ok.Status != http.StatusNotFound && t.base() != "/":
				return check.Failed(try.what+" was answered "+(&probe.Response{Status: status}).Line(), want, fix)
			}
		}
		return check.Passed("%d requests of doubtful length were refused, GET %s was answered %d", len(tries), t.base(), ok.Status)
	},
}

// raw sends bytes and reads the first answer; more tells whether another follows.
func (t *Target) raw(ctx context.Context, request string) (status int, more bool, err error) {
	conn, err := t.Client.Dial(ctx)
	if err != nil {
		return 0, false, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if _, err := io.WriteString(conn, request); err != nil {
		return 0, false, err
	}
	r := bufio.NewReader(io.LimitReader(conn, 1<<20))
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		return 0, false, err
	}
	probe.Answered(ctx, res.StatusCode)
	_, err = io.Copy(io.Discard, res.Body)
	if err != nil || res.Close {
		return res.StatusCode, false, nil
	}
	_ = conn.SetReadDeadline(time.Now().Add(time.Second))
	_, err = http.ReadResponse(r, nil)
	return res.StatusCode, err == nil, nil
}
