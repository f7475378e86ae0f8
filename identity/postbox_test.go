package identity

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/policy"
)

var update = flag.Bool("update", false, "write the golden files")

// postOffice is a mailer that answers as it is told, and a sink.
type postOffice struct {
	mu     sync.Mutex
	answer func(Mail) error
	sent   []Mail
	at     []time.Time
	events []audit.Event
}

func (o *postOffice) Send(ctx context.Context, m Mail) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.at = append(o.at, time.Now())
	if o.answer != nil {
		if err := o.answer(m); err != nil {
			return err
		}
	}
	o.sent = append(o.sent, m)
	return nil
}

func (o *postOffice) Record(e audit.Event) {
	o.mu.Lock()
	o.events = append(o.events, e)
	o.mu.Unlock()
}

func letterTo(n int) func(context.Context) (Mail, error) {
	return func(context.Context) (Mail, error) {
		return Mail{To: fmt.Sprintf("%d@example.com", n), Subject: "x", Text: "canary"}, nil
	}
}

func TestPostboxTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &postOffice{}
		down := errors.New("connection refused")
		o.answer = func(Mail) error {
			if len(o.at) <= 3 {
				return down
			}
			return nil
		}
		b := newPostbox(o, o, time.Now)
		ctx, stop := context.WithCancel(t.Context())
		go b.run(ctx)
		written := 0
		b.put("reset", func(context.Context) (Mail, error) { written++; return letterTo(1)(ctx) })
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(o.sent) != 1 || written != 1 { // one ticket, however often it is sent
			t.Fatalf("%d sent, %d written", len(o.sent), written)
		}
		for i, want := range []time.Duration{5 * time.Second, 30 * time.Second, 2 * time.Minute} {
			if got := o.at[i+1].Sub(o.at[i]); got < want || got > want+2*time.Second {
				t.Errorf("the %d. pause is %v, want %v", i+1, got, want)
			}
		}
		if len(o.events) != 3 || o.events[0].Kind != audit.MailFailed || !strings.Contains(o.events[0].Detail, "connection refused") {
			t.Errorf("events %+v", o.events)
		}
		for _, e := range o.events {
			if strings.Contains(fmt.Sprint(e), "canary") || strings.Contains(fmt.Sprint(e), "1@example.com") {
				t.Errorf("an event tells of the mail: %+v", e)
			}
		}
		stop()
		synctest.Wait()
	})
}

func TestPostboxGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &postOffice{answer: func(m Mail) error {
			if m.To == "1@example.com" {
				return fmt.Errorf("550: %w", ErrUndeliverable)
			}
			return errors.New("down")
		}}
		b := newPostbox(o, o, time.Now)
		ctx, stop := context.WithCancel(t.Context())
		go b.run(ctx)
		b.put("verify", letterTo(1))
		b.put("verify", letterTo(2))
		b.put("verify", func(context.Context) (Mail, error) { return Mail{}, errNoMail })
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		if len(o.at) != 1+1+len(mailPauses) || len(o.sent) != 0 || b.held.Load() != 0 {
			t.Errorf("%d tries, %d sent, %d held", len(o.at), len(o.sent), b.held.Load())
		}
		stop()
		synctest.Wait()
	})
}

// A mail server that is down, or that hangs, blocks nobody, and memory is
// bounded.
func TestPostboxIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &postOffice{answer: func(Mail) error { return errors.New("down") }}
		b := newPostbox(o, o, time.Now)
		ctx, stop := context.WithCancel(t.Context())
		go b.run(ctx)
		began := time.Now()
		for i := range 3 * mostMails {
			b.put("verify", letterTo(i))
			if i%500 == 0 {
				synctest.Wait() // let some fail and wait for their second try
			}
		}
		if time.Since(began) > 0 {
			t.Error("put waited")
		}
		synctest.Wait()
		b.mu.Lock()
		waiting := len(b.waiting)
		b.mu.Unlock()
		if n := b.held.Load(); n != mostMails || waiting > mostMails {
			t.Errorf("%d are held, %d wait", n, waiting)
		}
		dropped := 0
		for _, e := range o.events {
			if strings.Contains(e.Detail, "dropped") {
				dropped++
			}
		}
		if dropped != 2*mostMails {
			t.Errorf("%d events of dropped mails, want %d", dropped, 2*mostMails)
		}
		// It recovers: what waits is sent.
		o.mu.Lock()
		o.answer = nil
		o.mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(o.sent) != mostMails || b.held.Load() != 0 {
			t.Errorf("%d are sent, %d held", len(o.sent), b.held.Load())
		}
		stop()
		synctest.Wait()
	})
}

// What waits when the server stops is sent, and what cannot be is counted.
func TestPostboxStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &postOffice{answer: func(m Mail) error {
			if m.To == "7@example.com" {
				return errors.New("down")
			}
			return nil
		}}
		b := newPostbox(o, o, time.Now)
		ctx, stop := context.WithCancel(t.Context())
		stop()
		for i := range 10 {
			b.put("verify", letterTo(i))
		}
		b.run(ctx)
		if last := o.events[len(o.events)-1]; len(o.sent) != 9 || !strings.Contains(last.Detail, "1 mails are lost") {
			t.Errorf("%d sent, last event %+v", len(o.sent), last)
		}
	})
}

// The texts are for people: read them in testdata when they change.
func TestMails(t *testing.T) {
	p := &policy.Policy{Site: "api.example.com"}
	secret := strings.Repeat("s", 43)
	until := time.Date(2026, 11, 24, 9, 30, 0, 0, time.UTC)
	var out strings.Builder
	for _, link := range []string{"", "https://app.example.com/account"} {
		p.Identity.Mail.Link = link
		for _, kind := range []string{"verify", "taken", "waiting", "reset", "changed", "invite"} {
			m := compose(p, kind, "ada@example.com", secret, until)
			fmt.Fprintf(&out, "== %s\nSubject: %s\n\n%s", kind, m.Subject, m.Text)
			holds := strings.Count(m.Text, secret)
			if want := letters[kind].ticket != ""; holds > 1 || (holds == 1) != want || m.To != "ada@example.com" {
				t.Errorf("%s holds the secret %d times", kind, holds)
			}
			for line := range strings.Lines(m.Text) {
				if strings.ContainsAny(line, "{}") || len(line) > 100 {
					t.Errorf("%s: %q", kind, line)
				}
			}
		}
	}
	golden := filepath.Join("testdata", "mails.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || string(want) != out.String() {
		t.Errorf("the mails are not as in %s (%v); look at them, and then run go test -update", golden, err)
	}
}
