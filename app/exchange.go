package app

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/netip"
	"sync"
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

	ring    *Ring
	start   time.Time
	classes uint64 // rate classes of the path, by app/path
	denied  *Denied
	body    []byte
	hasBody bool
	id      [2]string // ID as header values: the request's, the answer's
	ctx     exchangeContext
}

// exchangeContext carries the Exchange to handlers without a further
// allocation for each value.
type exchangeContext struct {
	context.Context
	x *Exchange
}

type exchangeKey struct{}

func (c *exchangeContext) Value(key any) any {
	if key == (exchangeKey{}) {
		return c.x
	}
	return c.Context.Value(key)
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
		Client: x.Client, RequestID: x.ID, Method: x.R.Method, Path: x.Path,
		Status: status, Detail: detail,
	}
	if x.Route != nil {
		e.Route = x.Route.Pattern
	}
	if x.Caller != nil {
		e.Subject, e.Session = x.Caller.Subject, x.Caller.Session
	}
	x.ring.deps.Audit.Record(e)
}

// Deny answers the request with a refusal: problem+json for the client, an
// event and a counter for the operator. Nothing after it may write.
func (x *Exchange) Deny(d Denied) {
	x.denied = &d
	x.ring.count(d.Control)
	detail := d.Detail
	if d.Err != nil {
		detail = d.Err.Error()
	}
	if d.Kind != "" {
		x.Event(d.Kind, audit.Failure, d.Control, d.Status, detail)
	}
	d.write(&x.Answer, x)
}

// Answer is the response writer at the bottom of the ring. The handler's
// headers are kept apart until the answer begins; then the ring's own are set
// over them, so that neither a handler nor an upstream can weaken or double a
// header that a control owns.
type Answer struct {
	Status  int   // 0 until the answer begins
	Written int64 // bytes of body
	x       *Exchange
	w       http.ResponseWriter
	h       http.Header // what the handler set
	own     [12]field   // what the controls set for this answer
	nown    int
	more    []field
	vary    []string
	state   state
	mu      sync.Mutex // held while app/timeout answers in the handler's place
	timer   *time.Timer
}

type field struct {
	name  string
	value []string
}
