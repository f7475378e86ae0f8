package app

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/netip"
	"time"

	"github.com/ringwall/ringwall/audit"
)

// An Exchange is one request on its way through the ring and the answer to it.
// Controls read what earlier ones established and fill in their own part. It
// lives as long as the request and is used by one goroutine at a time.
type Exchange struct {
	R *http.Request       // as the next control sees it
	W http.ResponseWriter // where the handler writes; Answer unless a control wrapped it

	ID     string     // request id, by app/request-id
	Client netip.Addr // the client's address, v4-mapped folded, by app/client-address
	Secure bool       // the client speaks HTTPS, to us or to a trusted proxy, by app/client-address
	Path   string     // canonical path, decoded, by app/path; "" before
	Route  *Route     // what the policy says of this method and path, by app/path; nil before
	Caller *Caller    // by app/authentication; nil: nobody signed in
	Answer Answer     // the response writer at the bottom

	// What the request said, as it came in: app/timeout answers in a goroutine of
	// its own, while the handler may write to R.Header.
	host    string   // Host
	origin  []string // Origin
	fetched []string // Sec-Fetch-Site
	bears   bool     // it had an Authorization

	ring     *Ring
	start    time.Time
	took     time.Duration // set when the exchange is over
	method   string        // as it came in
	returned bool          // the handler returned; false after a panic that broke the answer off
	classes  uint64        // rate classes of the path, by app/path
	rate     rateRoom      // by app/rate
	denied   *Denied
	body     []byte
	hasBody  bool
	sent     sentBody   // R.Body as it came
	capped   cappedBody // R.Body with its cap, by app/body
	media    mediaKind  // of the body, by app/content-type
	scanned  bool       // the body is well-formed JSON, by app/json
	id       [2]string  // ID as header values: the request's, the answer's
	ctx      exchangeContext
}

// FromContext returns the exchange that a handler's request belongs to, or nil
// when the request did not come through the ring.
func FromContext(ctx context.Context) *Exchange {
	x, _ := ctx.Value(exchangeKey{}).(*Exchange)
	return x
}

// Now is the time at which the request came in.
func (x *Exchange) Now() time.Time { return x.start }

// Denied is the refusal that answered the request, or nil.
func (x *Exchange) Denied() *Denied { return x.denied }

// ReadBody reads the whole request body once, and leaves R.Body readable from
// its start again. The size is bounded by app/body, which comes before. The
// slice is shared: callers must not change it.
func (x *Exchange) ReadBody() ([]byte, error) {
	if x.hasBody {
		return x.body, nil
	}
	if x.R.Body == nil || x.R.Body == http.NoBody {
		x.hasBody = true
		return nil, nil
	}
	var buf bytes.Buffer
	if n := x.R.ContentLength; n > 0 && n <= 1<<20 {
		buf.Grow(int(n) + bytes.MinRead)
	}
	if _, err := buf.ReadFrom(x.R.Body); err != nil {
		return nil, err
	}
	x.body, x.hasBody = buf.Bytes(), true
	x.R.Body = &replay{Reader: bytes.NewReader(x.body), Closer: x.R.Body}
	x.R.ContentLength = int64(len(x.body))
	x.R.TransferEncoding = nil
	return x.body, nil
}

type replay struct {
	io.Reader
	io.Closer
}

// Event records a security event with what is known of the request.
func (x *Exchange) Event(kind audit.Kind, outcome audit.Outcome, control string, status int, detail string) {
	e := audit.Event{
		Time: x.ring.deps.Now(), Kind: kind, Outcome: outcome, Control: control,
		Client: x.Client, RequestID: x.ID, Method: x.method, Path: x.Path,
		Status: status, Detail: detail, Elsewhere: x.elsewhere(),
	}
	if x.Route != nil {
		e.Route = x.Route.Pattern
	}
	if x.Caller != nil {
		e.Subject, e.Session = x.Caller.Subject, x.Caller.Session
	}
	x.ring.deps.Audit.Record(e)
}

// elsewhere reports whether the request says of itself that a page of another
// site had a browser send it. Browsers write both headers, pages cannot
// (Fetch standard, "forbidden request-header"); Origin alone is there with a
// WebSocket's handshake. Who is no browser can write them too: nothing may be
// allowed because of them.
func (x *Exchange) elsewhere() bool {
	for _, v := range x.fetched {
		if v == "cross-site" || v == "same-site" {
			return true
		}
	}
	for _, v := range x.origin {
		if o, ok := parseOrigin(v); !ok || !o.ours(x, x.ring.site) {
			return true
		}
	}
	return false
}

// Deny answers the request with a refusal: problem+json for the client, an
// event and a counter for the operator. Nothing after it may write. Once the
// handler's answer has begun it only records; once app/timeout has answered it
// does nothing, for that is the refusal.
func (x *Exchange) Deny(d Denied) {
	first := x.Answer.begin()
	if !first && x.Answer.state.expired() {
		return
	}
	x.refuse(&d, first)
}

// refuse records a refusal and, when the answer is still to be given, gives
// it. The caller has claimed the answer.
func (x *Exchange) refuse(d *Denied, answer bool) {
	x.denied = d
	x.ring.count(d.Control)
	if d.Kind != "" {
		detail := d.Detail
		if d.Err != nil {
			detail = d.Err.Error()
		}
		x.Event(d.Kind, audit.Failure, d.Control, d.Status, detail)
	}
	if answer {
		if x.ring.cors != nil {
			x.ring.cors.readable(x)
		}
		d.send(&x.Answer)
	}
}
