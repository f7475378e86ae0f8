package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// bodyLimit bounds the body of every request, whatever its method and type. A
// Content-Length over the cap is refused at once: not a byte is read, no 100
// Continue is sent, and an HTTP/1 connection is closed. A body of unknown
// length is cut at the cap: who reads on gets an *http.MaxBytesError, which
// BodyDenied turns into 413, and a handler that returns without an answer is
// answered 413 in its place.
var bodyLimit = Control{
	Meta: check.Meta{
		ID:    "app/body",
		Most:  3,
		Title: "Bodies over the limit are refused before they are read",
		Why:   "Bodies without a bound fill memory and disk, and keep the API busy.",
		Ref:   "RFC 9110, 15.5.14; RFC 9110, 10.1.1; ASVS 5.0 V2.4.1; OWASP API4 2023; blueprint A7, T2, checklist 5",
	},
	Wrap: func(*policy.Policy, Deps) (Middleware, error) {
		return func(next Handler) Handler {
			return func(x *Exchange) {
				if x.R.Body == nil || x.R.Body == http.NoBody {
					next(x)
					return
				}
				limit := x.Route.Body
				if x.R.ContentLength > limit {
					x.denyBody("app/body", &http.MaxBytesError{Limit: limit})
					return
				}
				x.capped.ReadCloser, x.capped.limit, x.capped.left = x.R.Body, limit, limit
				x.R.Body = &x.capped
				next(x)
				if x.capped.over.Load() && !x.Answer.Begun() {
					x.denyBody("app/body", &http.MaxBytesError{Limit: limit})
				}
			}
		}, nil
	},
	Value: func(_ *policy.Policy, r *Route) string {
		return "at most " + strconv.FormatInt(r.Body, 10) + " bytes"
	},
	Verify: verifyBody,
}

// cappedBody passes on limit bytes of a body and fails at the next.
type cappedBody struct {
	io.ReadCloser
	limit, left int64
	over        atomic.Bool // a proxy's transport reads beside the handler
}

func (b *cappedBody) Read(p []byte) (int, error) {
	if b.over.Load() {
		return 0, &http.MaxBytesError{Limit: b.limit}
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := b.ReadCloser.Read(p)
	if int64(n) <= b.left {
		b.left -= int64(n)
		return n, err
	}
	n = int(b.left)
	b.left = 0
	b.over.Store(true)
	return n, &http.MaxBytesError{Limit: b.limit}
}

// BodyTooLong reports whether somebody read the request's body up to the cap
// and found that it goes on. A proxy whose transport does not hand the reader's
// error on asks here.
func (x *Exchange) BodyTooLong() bool { return x.capped.over.Load() }

// BodyDenied returns the refusal for an error met in reading a request's body:
// 413 when it is longer than the cap, 408 when it did not come in time. For any
// other error ok is false: whether it was the client's fault is then unknown.
func BodyDenied(err error) (d Denied, ok bool) {
	d = Denied{Control: "app/body", Kind: audit.InputRefused, Err: err}
	var long *http.MaxBytesError
	var late net.Error
	switch {
	case errors.As(err, &long):
		d.Status = http.StatusRequestEntityTooLarge
		d.Detail = "The body is longer than " + strconv.FormatInt(long.Limit, 10) + " bytes, the most that is accepted here."
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &late) && late.Timeout():
		d.Status = http.StatusRequestTimeout
		d.Detail = "The body did not arrive in time."
	default:
		return Denied{}, false
	}
	return d, true
}

// denyBody answers a request whose body the control could not read. The rest of
// the body is not read either: an HTTP/1 connection ends here (RFC 9112, 9.3).
func (x *Exchange) denyBody(control string, err error) {
	d, ok := BodyDenied(err)
	if !ok {
		d = Denied{Control: control, Kind: audit.InputRefused, Status: http.StatusBadRequest,
			Detail: "The body broke off or is not framed as HTTP asks.", Err: err}
	}
	if x.R.ProtoMajor == 1 {
		x.Answer.Set("Connection", closeConnection)
		linger(x.Answer.w)
	}
	x.Deny(d)
}

// linger has net/http wait for a moment before it closes the connection, so that
// a client that still sends reads the answer and not a reset (RFC 9112, 9.6). It
// does so for requests that an http.MaxBytesReader has cut; this one cuts none.
func linger(w http.ResponseWriter) {
	var b [1]byte
	_, _ = http.MaxBytesReader(w, io.NopCloser(strings.NewReader("x")), 0).Read(b[:])
}

var closeConnection = []string{"close"}

// verifyBody announces one byte too many and sends none: who answers 413 did not
// read. Who asks for the body, with 100 Continue, would have read it.
func verifyBody(ctx context.Context, p *policy.Policy, c *probe.Client) check.Finding {
	const want = "413 at once, and no 100 Continue"
	fix := "put the app ring in front of the API, or bound bodies in the proxy (nginx: client_max_body_size)"
	t, err := probeTarget(p, c, http.MethodPost)
	if err != nil {
		return check.Unseen("%v", err)
	}
	small, err := c.Do(ctx, t.request(http.MethodPost, t.media, t.body))
	if err != nil {
		return check.Unseen("no answer to a small POST %s: %v", t.path, err)
	}
	switch small.Status {
	case http.StatusRequestEntityTooLarge:
		return check.Failed("a POST of "+strconv.Itoa(len(t.body))+" bytes was answered "+small.Line(), "bodies up to the limit pass", fix)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return check.Unseen("a small POST was answered %s", small.Line())
	}
	over := t.request(http.MethodPost, t.media, "")
	over.Headers = append(over.Headers,
		[2]string{"Content-Length", strconv.FormatInt(t.route.Body+1, 10)}, [2]string{"Expect", "100-continue"})
	status, err := firstStatus(ctx, c, over)
	if err != nil {
		return check.Unseen("no answer to a POST %s that announces %d bytes: %v", t.path, t.route.Body+1, err)
	}
	if status != http.StatusRequestEntityTooLarge {
		return check.Failed(fmt.Sprintf("a POST that announces %d bytes was answered %d", t.route.Body+1, status), want, fix)
	}
	return check.Passed("a POST that announces %d bytes was answered 413 before it was sent, one of %d bytes %d",
		t.route.Body+1, len(t.body), small.Status)
}
