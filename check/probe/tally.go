package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"slices"
	"sync"
)

// A Tally counts the connections of a check, and keeps the addresses that they went
// to and what was answered. Its methods may be called at any time.
type Tally struct {
	// Heard is called after each request that Do sent, with its answer, nil when there
	// was none; nil: nobody is told.
	Heard func(Request, *Response)

	mu   sync.Mutex
	sent int
	at   []string
	said []int // statuses of answers
	lost error

	untrusted error
	up        *Tally // that of who has the check made; nil: nobody
}

type tallyKey struct{}

// WithTally has what is opened under ctx told to t, and to the tally that ctx has.
func WithTally(ctx context.Context, t *Tally) context.Context {
	t.up, _ = ctx.Value(tallyKey{}).(*Tally)
	return context.WithValue(ctx, tallyKey{}, t)
}

// TalliedAt tells the tally of ctx of addresses that somebody connected to for it.
func TalliedAt(ctx context.Context, addresses ...string) {
	t, _ := ctx.Value(tallyKey{}).(*Tally)
	for ; t != nil; t = t.up {
		t.mu.Lock()
		for _, a := range addresses {
			if !slices.Contains(t.at, a) {
				t.at = append(t.at, a)
			}
		}
		t.mu.Unlock()
	}
}

// Told tells the tally of ctx what another one heard, and where: an answer that was
// asked for once, for all. It was sent by whoever asked.
func Told(ctx context.Context, of *Tally) {
	TalliedAt(ctx, of.Addresses()...)
	of.mu.Lock()
	said := slices.Clone(of.said)
	of.mu.Unlock()
	t, _ := ctx.Value(tallyKey{}).(*Tally)
	for ; t != nil; t = t.up {
		t.mu.Lock()
		t.said = append(t.said, said...)
		t.mu.Unlock()
	}
}

// Answered tells the tally of ctx of an answer to bytes that Do did not send.
func Answered(ctx context.Context, status int) {
	t, _ := ctx.Value(tallyKey{}).(*Tally)
	for ; t != nil; t = t.up {
		t.mu.Lock()
		t.said = append(t.said, status)
		t.mu.Unlock()
	}
}

// Only reports whether there were answers, and all had one status.
func (t *Tally) Only(status int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.said) > 0 && !slices.ContainsFunc(t.said, func(s int) bool { return s != status })
}

// Broken reports whether there were answers, and none was more than an error of the
// server's or of what stands before it: 429, or 500 and above. last is one of them.
func (t *Tally) Broken() (last int, broken bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.said {
		if s != http.StatusTooManyRequests && s < 500 {
			return 0, false
		}
		last = s
	}
	return last, last != 0
}

// Held reports whether an answer was that of a limit, or of a proxy in the API's place:
// 429, 502, 503 or 504. status is the first of them.
func (t *Tally) Held() (status int, held bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.IndexFunc(t.said, inItsPlace)
	if i < 0 {
		return 0, false
	}
	return t.said[i], true
}

func inItsPlace(status int) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// InItsPlace reports whether the answer is that of a limit, or of a proxy in the place
// of the API: it tells nothing of what was asked.
func (r *Response) InItsPlace() bool { return inItsPlace(r.Status) }

// Sent is how many connections were opened, or tried.
func (t *Tally) Sent() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sent
}

// Addresses are the IP addresses that connections went to, in the order in which
// they were met first.
func (t *Tally) Addresses() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.at)
}

// Lost is why the first request was not answered that the target may not have seen
// at all: no connection could be made, or nothing came in time. Nil: there was none.
func (t *Tally) Lost() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lost
}

// Untrusted is why a certificate of the target's was not believed. Nil: none was.
func (t *Tally) Untrusted() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.untrusted
}

// shaken tells of a handshake that failed.
func shaken(ctx context.Context, err error) {
	if !errors.As(err, new(*tls.CertificateVerificationError)) {
		return
	}
	t, _ := ctx.Value(tallyKey{}).(*Tally)
	for ; t != nil; t = t.up {
		t.mu.Lock()
		t.untrusted = err
		t.mu.Unlock()
	}
}

func lost(ctx context.Context, err error) {
	t, _ := ctx.Value(tallyKey{}).(*Tally)
	for ; t != nil; t = t.up {
		t.mu.Lock()
		if t.lost == nil {
			t.lost = err
		}
		t.mu.Unlock()
	}
}

func heard(ctx context.Context, req Request, res *Response) {
	t, _ := ctx.Value(tallyKey{}).(*Tally)
	for ; t != nil; t = t.up {
		if res != nil {
			t.mu.Lock()
			t.said = append(t.said, res.Status)
			t.mu.Unlock()
		}
		if t.Heard != nil {
			t.Heard(req, res)
		}
	}
}

func tallied(ctx context.Context) {
	t, _ := ctx.Value(tallyKey{}).(*Tally)
	for ; t != nil; t = t.up {
		t.mu.Lock()
		t.sent++
		t.mu.Unlock()
	}
}

// hostOf is the host of an address with a port.
func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}
