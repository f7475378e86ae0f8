package watch

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"log/slog"
	mrand "math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/policy"
)

const (
	webhookGap = 10 * time.Second // between two messages to the webhook

	attempts   = 8 // of one message, over about 15 minutes
	firstPause = time.Second
	mostPause  = 5 * time.Minute

	lastWait = 5 * time.Second // for the last message of a server that stops
)

// Deps is what a Notifier is given besides the policy. The zero value works for
// a policy without mail.
type Deps struct {
	Log   *slog.Logger // of what could not be told; nil: dropped
	Audit audit.Sink   // gets notice.failed; not the Notifier itself; nil: dropped

	// Mail makes the way of mail that a policy names, at New and at each Reload.
	Mail func(*policy.Policy) (SendMail, error)

	Roots *x509.CertPool // that webhooks are trusted by; nil: the system's
}

// A Notifier is an audit.Sink that takes the events that watch.events chose to
// the ways that the policy names.
//
// The first event is told within about a second, together with those that come
// with it. Then a mail comes at most once in watch.digest, and the webhook gets
// one notice of the same thing, which is one caller, or client, in that time;
// what was held back is counted and told at its end. A message that cannot be
// delivered is tried again for about a quarter of an hour, with growing pauses;
// meanwhile events are collected. Of each kind 20 callers or clients are listed
// in a message and the others counted. Counts of a message that was given up
// are told with the next one; the other way is told at once that there is
// trouble, and so are the log and the audit trail.
//
// It is safe for concurrent use, and Record never waits for a network.
type Notifier struct {
	deps     Deps
	settings atomic.Pointer[settings]
	ways     [2]*way
}

// settings are what one policy says.
type settings struct {
	site  string
	kinds map[audit.Kind]bool
	ways  [2]func(context.Context, *message) error // nil: off
	hook  *webhook
	mails *mails
}

// The ways, by index.
const (
	byWebhook = iota
	byMail
)

var wayNames = [2]string{"webhook", "mail"}

// A way is what waits to be told by it.
type way struct {
	index   int
	wake    chan struct{}
	failing bool // of the goroutine that delivers

	mu     sync.Mutex
	digest digest
	flying int // events of the message that is being sent
	gone   int // events given up since the start; under mu
}

// final is an error that trying again does not mend.
type final struct{ error }

func (f final) Unwrap() error { return f.error }

// NewNotifier makes a notifier of a policy. One that names no way tells nobody,
// until a Reload. It keeps events; Run delivers them.
func NewNotifier(p *policy.Policy, deps Deps) (*Notifier, error) {
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	if deps.Audit == nil {
		deps.Audit = audit.Discard
	}
	n := &Notifier{deps: deps}
	for i := range n.ways {
		n.ways[i] = &way{index: i, wake: make(chan struct{}, 1)}
	}
	return n, n.Reload(p)
}

// Reload takes another policy. What waits is told as that says. On an error
// nothing changes.
func (n *Notifier) Reload(p *policy.Policy) error {
	s := &settings{site: p.Site, kinds: map[audit.Kind]bool{}}
	for _, kind := range p.Watch.Events {
		s.kinds[audit.Kind(kind)] = true
	}
	var errHook, errMail error
	if s.hook, errHook = newWebhook(p, n.deps.Roots); s.hook != nil {
		s.ways[byWebhook] = s.hook.send
	}
	if s.mails, errMail = newMails(p, n.deps.Mail); s.mails != nil {
		s.ways[byMail] = s.mails.post
	}
	if err := errors.Join(errHook, errMail); err != nil {
		return err
	}
	for i, gap := range [2]time.Duration{webhookGap, p.Watch.Digest} {
		w := n.ways[i]
		w.mu.Lock()
		w.digest.gap, w.digest.window = gap, p.Watch.Digest
		w.mu.Unlock()
	}
	n.settings.Store(s)
	return nil
}

// Record takes an event.
func (n *Notifier) Record(e audit.Event) {
	if s := n.settings.Load(); s.kinds[e.Kind] {
		n.add(s, e, -1)
	}
}

// add has every way but one tell e.
func (n *Notifier) add(s *settings, e audit.Event, but int) {
	for i, w := range n.ways {
		if s.ways[i] == nil || i == but {
			continue
		}
		w.mu.Lock()
		w.digest.add(e, time.Now())
		w.mu.Unlock()
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// Untold counts what waits to be told, by all ways together, where an event that is
// told by two counts as two; and how many events have been given up since the start
// by that way which gave up the fewest. While it does not grow, somebody was told.
func (n *Notifier) Untold() (waiting, lost int) {
	s, first := n.settings.Load(), true
	for _, w := range n.ways {
		w.mu.Lock()
		waiting += w.digest.waiting() + w.flying
		if s.ways[w.index] != nil && (first || w.gone < lost) {
			first, lost = false, w.gone
		}
		w.mu.Unlock()
	}
	return waiting, lost
}

// Run delivers until ctx ends, and then for at most 5 seconds what waits. It may
// be called once.
func (n *Notifier) Run(ctx context.Context) {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	context.AfterFunc(ctx, func() { time.AfterFunc(lastWait, cancel) })
	var wg sync.WaitGroup
	for _, w := range n.ways {
		wg.Go(func() { n.run(ctx, late, w) })
	}
	wg.Wait()
}

// run delivers by one way: it waits until ctx ends, and sends until late does.
func (n *Notifier) run(ctx, late context.Context, w *way) {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		w.mu.Lock()
		at, ok := w.digest.at()
		m := w.take(false)
		w.mu.Unlock()
		if m != nil {
			n.deliver(ctx, late, w, m)
			continue
		}
		t.Stop()
		if ok {
			t.Reset(time.Until(at))
		}
		select {
		case <-ctx.Done():
			w.mu.Lock()
			m = w.take(true)
			w.mu.Unlock()
			if m != nil {
				n.deliver(ctx, late, w, m)
			}
			return
		case <-w.wake:
		case <-t.C:
		}
	}
}

// take is the digest's. The events count as flying until deliver has come to an end.
func (w *way) take(all bool) *message {
	m := w.digest.take(time.Now(), all)
	if m != nil {
		w.flying = m.events() + m.lost
	}
	return m
}

// landed says that a message was told, or that its events are lost.
func (w *way) landed(m *message, told bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flying = 0
	if !told {
		w.digest.lost += m.events() + m.lost
		w.gone += m.events()
	}
}

// attempt sends a message as the policy in force says.
func (n *Notifier) attempt(ctx context.Context, w *way, m *message) error {
	s := n.settings.Load()
	send := s.ways[w.index]
	if send == nil {
		return nil // switched off meanwhile: nobody wants it any more
	}
	if m.id == "" {
		m.id = "msg_" + rand.Text()
	}
	m.site = s.site
	ctx, cancel := context.WithTimeout(ctx, mailWait)
	defer cancel()
	return send(ctx, m)
}

// deliver sends a message, again and again if need be, and only once more when
// ctx has ended.
func (n *Notifier) deliver(ctx, late context.Context, w *way, m *message) {
	pause := firstPause
	for i := 1; ; i++ {
		stopping := ctx.Err() != nil
		err := n.attempt(late, w, m)
		if err == nil {
			w.landed(m, true)
			w.failing = false
			return
		}
		var f final
		if i == attempts || stopping || errors.As(err, &f) {
			n.giveUp(w, m, err)
			return
		}
		if i > 1 { // not of a hiccup
			n.trouble(w, err)
		}
		half := int64(pause / 2)
		select {
		case <-time.After(time.Duration(half + mrand.Int64N(2*half))):
		case <-ctx.Done():
		}
		pause = min(4*pause, mostPause)
	}
}

// giveUp counts what is lost, for the next message.
func (n *Notifier) giveUp(w *way, m *message, err error) {
	w.landed(m, false)
	n.deps.Log.Error("events could not be told", "way", wayNames[w.index], "events", m.events(), "error", err)
	n.trouble(w, err)
}

// trouble says once that a way does not work: to the audit trail and by the
// other way.
func (n *Notifier) trouble(w *way, err error) {
	if w.failing {
		return
	}
	w.failing = true
	e := audit.Event{Time: time.Now(), Kind: audit.NoticeFailed, Outcome: audit.Failure, Detail: wayNames[w.index] + ": " + err.Error()}
	n.deps.Audit.Record(e)
	n.add(n.settings.Load(), e, w.index)
}

// A Trial is how a test of one way went.
type Trial struct {
	Way string // "webhook" or "mail"
	To  string // the receiver's host, or the addresses
	Err error  // nil: the receiver took it
}

// Test sends a test by every way that the policy names, once, and says what
// came of it. None: the policy names no way.
func (n *Notifier) Test(ctx context.Context) (out []Trial) {
	s := n.settings.Load()
	for i, w := range n.ways {
		if s.ways[i] == nil {
			continue
		}
		t := Trial{Way: wayNames[i]}
		if i == byWebhook {
			t.To = s.hook.host
		} else {
			t.To = strings.Join(s.mails.to, ", ")
		}
		t.Err = n.attempt(ctx, w, &message{time: time.Now(), test: true})
		out = append(out, t)
	}
	return out
}
