package identity

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringwall/ringwall/audit"
)

// Bounds of the postbox.
const (
	mostMails    = 1000 // that wait, those to be sent again included
	mailWorkers  = 4
	mailWait     = 30 * time.Second // for one mail to be taken
	mailFarewell = 5 * time.Second  // for mails that wait when the server stops
)

// mailPauses are how long to wait after each failure; after the last the mail
// is given up.
var mailPauses = []time.Duration{5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, 20 * time.Minute}

// errNoMail says that there is nothing to send after all.
var errNoMail = errors.New("nothing to send")

// An errand is a mail on its way. write looks up what it needs and makes the
// ticket, so that no request waits for it, nor shows by its time whether there
// was an account.
type errand struct {
	kind  string
	write func(context.Context) (Mail, error)
	mail  Mail // once written
	tries int
	due   time.Time
}

// postbox sends mails in the background, from a queue in bounded memory. put
// never waits: a server that is down, or a flood, costs mails and nothing else.
// Each failure is an event, mail.failed. What was not sent when the process
// ends is lost; who misses a mail asks for another.
type postbox struct {
	mailer Mailer
	sink   audit.Sink
	now    func() time.Time
	queue  chan *errand

	mu      sync.Mutex
	waiting []*errand // for their due time
	held    atomic.Int64
}

func newPostbox(m Mailer, sink audit.Sink, now func() time.Time) *postbox {
	return &postbox{mailer: m, sink: sink, now: now, queue: make(chan *errand, mostMails)}
}

func (b *postbox) put(kind string, write func(context.Context) (Mail, error)) {
	if b.held.Add(1) > mostMails {
		b.held.Add(-1)
		b.failed(kind, "it was dropped: "+strconv.Itoa(mostMails)+" mails wait already")
		return
	}
	b.queue <- &errand{kind: kind, write: write} // there is room for all that are held
}

// run sends until ctx ends, and then what waits to be sent for the first time,
// for a few seconds.
func (b *postbox) run(ctx context.Context) {
	var workers sync.WaitGroup
	for range mailWorkers {
		workers.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case e := <-b.queue:
					b.deliver(ctx, e)
				}
			}
		})
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			b.wake()
			continue
		case <-ctx.Done():
		}
		break
	}
	workers.Wait()
	farewell, cancel := context.WithTimeout(context.WithoutCancel(ctx), mailFarewell)
	defer cancel()
	for farewell.Err() == nil {
		select {
		case e := <-b.queue:
			b.deliver(farewell, e)
			continue
		default:
		}
		break
	}
	if n := b.held.Load(); n > 0 {
		b.failed("any", strconv.FormatInt(n, 10)+" mails are lost: the server stops")
	}
}

// wake queues the mails whose time has come.
func (b *postbox) wake() {
	now := b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	rest := b.waiting[:0]
	for _, e := range b.waiting {
		if now.Before(e.due) {
			rest = append(rest, e)
			continue
		}
		b.queue <- e // there is room for all that are held
	}
	clear(b.waiting[len(rest):])
	b.waiting = rest
}

func (b *postbox) deliver(ctx context.Context, e *errand) {
	sending, cancel := context.WithTimeout(ctx, mailWait)
	defer cancel()
	err := b.send(sending, e)
	switch {
	case err == nil || errors.Is(err, errNoMail):
		b.held.Add(-1)
		return
	case errors.Is(err, ErrUndeliverable) || e.tries >= len(mailPauses):
		b.failed(e.kind, fmt.Sprintf("it is given up after %d tries: %.300s", e.tries+1, err))
		b.held.Add(-1)
		return
	}
	pause := mailPauses[e.tries]
	e.tries++
	e.due = b.now().Add(pause)
	b.failed(e.kind, fmt.Sprintf("it is tried again in %v: %.300s", pause, err))
	b.mu.Lock()
	b.waiting = append(b.waiting, e)
	b.mu.Unlock()
}

func (b *postbox) send(ctx context.Context, e *errand) (err error) {
	if e.mail.To == "" {
		if e.mail, err = e.write(ctx); err != nil {
			return err
		}
	}
	if b.mailer == nil {
		return fmt.Errorf("%w: the policy names no way to send it", ErrUndeliverable)
	}
	return b.mailer.Send(ctx, e.mail)
}

func (b *postbox) failed(kind, detail string) {
	b.sink.Record(audit.Event{Time: b.now(), Kind: audit.MailFailed, Outcome: audit.Failure, Detail: "mail of kind " + kind + ": " + detail})
}
