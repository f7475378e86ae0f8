package watch_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/netip"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/policy"
	"github.com/ringwall/ringwall/watch"
)

func policyOf(t testing.TB, text string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse("ringwall.yaml", []byte("site: api.example.com\n"+text), policy.LoadOptions{Dev: true, Environ: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// outbox is a way of mail that keeps what it is given, or fails.
type outbox struct {
	mu    sync.Mutex
	fail  error
	tries int
	mails []string // time since the start, receiver, subject and text
	start time.Time
}

func (o *outbox) way(*policy.Policy) (watch.SendMail, error) {
	o.start = time.Now()
	return func(_ context.Context, to, subject, text string) error {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.tries++
		if o.fail != nil {
			return o.fail
		}
		o.mails = append(o.mails, fmt.Sprintf("%v %s %s\n%s", time.Since(o.start).Round(time.Second), to, subject, text))
		return nil
	}, nil
}

func (o *outbox) fails(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fail = err
}

func (o *outbox) take() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := o.mails
	o.mails = nil
	return out
}

// hook is a webhook that keeps what it is given, or fails.
type hook struct {
	mu     sync.Mutex
	fail   error
	tries  []time.Time
	bodies []body
}

type body struct {
	Version int
	ID      string
	Site    string
	Text    string
	Notices []struct {
		Kind, Client, Subject, Detail string
		Count, Status                 int
		First, Last                   time.Time
	}
	More map[string]int
	Lost int
}

func (h *hook) send(_ context.Context, b []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tries = append(h.tries, time.Now())
	if h.fail != nil {
		return h.fail
	}
	var got body
	if err := json.Unmarshal(b, &got); err != nil {
		return err
	}
	h.bodies = append(h.bodies, got)
	return nil
}

func (h *hook) take() []body {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := h.bodies
	h.bodies = nil
	return out
}

func (h *hook) fails(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fail = err
}

const both = "watch: {webhook: \"http://127.0.0.1:1/\", mail: [ops@example.com], digest: 10m}"

// started runs a notifier of both ways in a synctest bubble.
func started(t *testing.T) (n *watch.Notifier, h *hook, o *outbox, log *seen, stop func()) {
	t.Helper()
	h, o, log = &hook{}, &outbox{}, &seen{}
	n, err := watch.NewNotifier(policyOf(t, both), watch.Deps{Audit: log, Mail: o.way})
	if err != nil {
		t.Fatal(err)
	}
	watch.Hook(n, h.send)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.Run(ctx)
	}()
	return n, h, o, log, func() { cancel(); <-done }
}

// pass lets time pass and everything happen that is due.
func pass(d time.Duration) {
	time.Sleep(d) // of the bubble's clock: nothing waits
	synctest.Wait()
}

func stolen(who string) audit.Event {
	return audit.Event{Time: time.Now(), Kind: audit.TokenReused, Outcome: audit.Failure, Subject: who, Client: netip.MustParseAddr("192.0.2.7"), Detail: "the family was ended"}
}

func TestFirstAtOnceThenDigest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, h, o, _, stop := started(t)
		defer stop()
		n.Record(stolen("u1"))
		n.Record(audit.Event{Time: time.Now(), Kind: audit.TrafficSpiked, Status: 401, Detail: "401 answers: 50 in 10 s, usually 1.0"})
		n.Record(audit.Event{Time: time.Now(), Kind: audit.AuthExpired, Subject: "u1"}) // not chosen
		pass(2 * time.Second)
		first := h.take()
		if len(first) != 1 || len(first[0].Notices) != 2 || first[0].Notices[0].Kind+first[0].Notices[1].Kind != "token.reusedtraffic.spiked" {
			t.Fatalf("got %+v", first)
		}
		b := first[0]
		if b.Version != 1 || b.Site != "api.example.com" || b.ID == "" || b.Notices[0].Client != "192.0.2.7" || b.Notices[0].Subject != "u1" || b.Notices[1].Status != 401 || b.Notices[0].Count != 1 {
			t.Errorf("got %+v", b)
		}
		mails := o.take()
		if len(mails) != 1 || !strings.HasPrefix(mails[0], "1s ops@example.com Ringwall: token.reused and 1 more (api.example.com)\napi.example.com: 2 security events\n- token.reused (") {
			t.Fatalf("got %q", mails)
		}

		// The same things again, 40 times in 40 seconds, and one that is new.
		for range 40 {
			n.Record(stolen("u1"))
			pass(time.Second)
		}
		n.Record(stolen("u2"))
		pass(12 * time.Second)
		second := h.take()
		if len(second) != 1 || len(second[0].Notices) != 1 || second[0].Notices[0].Subject != "u2" || second[0].ID == b.ID {
			t.Fatalf("the new one alone comes by webhook, soon: got %+v", second)
		}
		if got := o.take(); len(got) != 0 {
			t.Errorf("a second mail within the digest: %q", got)
		}
		pass(10 * time.Minute)
		third := h.take()
		if len(third) != 1 || len(third[0].Notices) != 1 || third[0].Notices[0].Count != 40 || third[0].Notices[0].Last.Sub(third[0].Notices[0].First) != 39*time.Second {
			t.Errorf("got %+v", third)
		}
		mails = o.take()
		if len(mails) != 1 || !strings.HasPrefix(mails[0], "10m1s ") || !strings.Contains(mails[0], "41 security events") || !strings.Contains(mails[0], "40 times") {
			t.Errorf("got %q", mails)
		}
		pass(time.Hour)
		if got := len(h.take()) + len(o.take()); got != 0 {
			t.Errorf("%d messages of nothing", got)
		}
	})
}

func TestReceiverDownIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, h, o, log, stop := started(t)
		defer stop()
		down := errors.New("connection refused")
		h.fails(down)
		n.Record(stolen("u1"))
		pass(5 * time.Minute)
		for range 10 {
			n.Record(stolen("u2"))
		}
		for i := 1; i < len(h.tries); i++ {
			gap := h.tries[i].Sub(h.tries[i-1])
			if gap < 500*time.Millisecond || gap > 8*time.Minute || i > 1 && gap < h.tries[i-1].Sub(h.tries[i-2]) && gap < 2*time.Minute {
				t.Errorf("attempt %d came after %v", i+1, gap)
			}
		}
		if n := len(h.tries); n < 4 || n > 6 {
			t.Errorf("%d attempts in 5 minutes", n)
		}
		events := log.take()
		if len(events) != 1 || events[0].Kind != audit.NoticeFailed || events[0].Detail != "webhook: connection refused" {
			t.Errorf("the audit trail has %+v", events)
		}
		h.fails(nil)
		pass(8 * time.Minute)
		got := h.take()
		if len(got) != 2 || got[0].Notices[0].Subject != "u1" || got[1].Notices[0].Subject != "u2" || got[1].Notices[0].Count != 10 || got[1].Lost != 0 {
			t.Errorf("got %+v", got)
		}
		// The other way says that there was trouble.
		pass(10 * time.Minute)
		if text := strings.Join(o.take(), ""); !strings.Contains(text, "notice.failed") || !strings.Contains(text, "`webhook: connection refused`") {
			t.Errorf("got %s", text)
		}
	})
}

// What was given up is counted, and told once it can be.
func TestReceiverGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, h, _, log, stop := started(t)
		defer stop()
		for _, tt := range []struct {
			err   error
			tries int
			wait  time.Duration
		}{
			{watch.Final(errors.New("410")), 1, time.Minute},
			{errors.New("timeout"), 8, 40 * time.Minute},
		} {
			h.fails(tt.err)
			h.tries = nil
			for range 3 {
				n.Record(stolen(tt.err.Error()))
			}
			pass(tt.wait)
			if len(h.tries) != tt.tries {
				t.Errorf("%v: %d attempts, want %d", tt.err, len(h.tries), tt.tries)
			}
		}
		if events := log.take(); len(events) != 1 {
			t.Errorf("one outage, told %d times", len(events))
		}
		h.fails(nil)
		n.Record(stolen("u1"))
		pass(time.Minute)
		got := h.take()
		if len(got) != 1 || got[0].Lost != 6 || !strings.Contains(got[0].Text, "6 events before could not be told") {
			t.Errorf("got %+v", got)
		}
	})
}

// TestFlood: 100,000 events of as many clients and 100,000 of one make few
// messages and no memory, nothing is left out of the counts, and the rare
// event among them is listed.
func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, h, o, _, stop := started(t)
		defer stop()
		heap := func() int64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			return int64(m.HeapAlloc)
		}
		before := heap()
		detail := strings.Repeat("x", 4000)
		const each = 100_000
		for i := range each {
			addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
			n.Record(audit.Event{Kind: audit.BanAdded, Client: addr, Detail: strings.Clone(detail)})
			n.Record(audit.Event{Kind: audit.StoreFailed, Detail: "lookup: " + strconv.Itoa(i) + detail})
			if i == each/2 {
				n.Record(stolen("u1"))
			}
			if i%100 == 0 {
				pass(time.Second)
			}
		}
		if grown := heap() - before; grown > 2<<20 {
			t.Errorf("the heap grew by %d kB", grown>>10)
		}
		pass(30 * time.Minute) // 1000 seconds before
		hooks, mails := h.take(), o.take()
		if len(mails) > 4 || len(hooks) > 60 {
			t.Errorf("%d mails, %d posts", len(mails), len(hooks))
		}
		counts := map[string]int{}
		for _, b := range hooks {
			if len(b.Text) > 16<<10 {
				t.Errorf("a text of %d bytes", len(b.Text))
			}
			for _, x := range b.Notices {
				counts[x.Kind] += x.Count
			}
			for kind, c := range b.More {
				counts[kind] += c
			}
		}
		if want := map[string]int{"ban.added": each, "store.failed": each, "token.reused": 1}; !reflect.DeepEqual(counts, want) {
			t.Errorf("counted %v, want %v", counts, want)
		}
		if text := strings.Join(mails, ""); !strings.Contains(text, "caller `u1`") {
			t.Error("the one stolen session is in no mail")
		}
		t.Logf("%d mails, %d posts", len(mails), len(hooks))
	})
}

// What waits is told as the server stops, and a receiver that hangs does not
// keep it from stopping.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, h, o, _, stop := started(t)
		n.Record(stolen("u1"))
		pass(5 * time.Second)
		n.Record(stolen("u2")) // within the gap of both ways
		synctest.Wait()
		stop()
		if got := h.take(); len(got) != 2 || got[1].Notices[0].Subject != "u2" {
			t.Errorf("got %+v", got)
		}
		if got := o.take(); len(got) != 2 {
			t.Errorf("got %q", got)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		n, _, _, _, stop := started(t)
		watch.Hook(n, func(ctx context.Context, _ []byte) error { <-ctx.Done(); return ctx.Err() })
		n.Record(stolen("u1"))
		pass(3 * time.Second)
		begin := time.Now()
		stop()
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("it took %v to stop", took)
		}
	})
}

func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, h, o, _, stop := started(t)
		defer stop()
		if err := n.Reload(policyOf(t, "watch: {mail: [new@example.com], events: [server.stopped], digest: 1m}")); err != nil {
			t.Fatal(err)
		}
		n.Record(stolen("u1"))
		n.Record(audit.Event{Kind: audit.ServerStopped})
		pass(time.Minute)
		got := o.take()
		if len(h.tries) != 0 || len(got) != 1 || !strings.HasPrefix(got[0], "1s new@example.com Ringwall: server.stopped (api.example.com)\n") || strings.Contains(got[0], "token") {
			t.Errorf("%d posts, mails %q", len(h.tries), got)
		}
	})
}

func TestOneAddressUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		way := func(*policy.Policy) (watch.SendMail, error) {
			return func(_ context.Context, to, _, _ string) error {
				got = append(got, to)
				if to == "gone@example.com" {
					return fmt.Errorf("550: %w", watch.ErrUndeliverable)
				}
				return nil
			}, nil
		}
		n, err := watch.NewNotifier(policyOf(t, "watch: {mail: [gone@example.com, ops@example.com]}"), watch.Deps{Mail: way})
		if err != nil {
			t.Fatal(err)
		}
		trials := n.Test(t.Context())
		if len(trials) != 1 || !errors.Is(trials[0].Err, watch.ErrUndeliverable) || !slices.Equal(got, []string{"gone@example.com", "ops@example.com"}) {
			t.Errorf("got %v, %v", trials, got)
		}
		got = nil
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { n.Run(ctx); close(done) }()
		n.Record(stolen("u1"))
		pass(time.Hour)
		cancel()
		<-done
		if len(got) != 2 {
			t.Errorf("what is final was tried again: %v", got)
		}
	})
}

// Who has a mail gets it once, however often it is tried for the others.
func TestMailTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		way := func(*policy.Policy) (watch.SendMail, error) {
			return func(_ context.Context, to, _, _ string) error {
				got = append(got, to)
				if to == "slow@example.com" && len(got) < 6 {
					return errors.New("451")
				}
				return nil
			}, nil
		}
		n, err := watch.NewNotifier(policyOf(t, "watch: {mail: [slow@example.com, ops@example.com]}"), watch.Deps{Mail: way})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { n.Run(ctx); close(done) }()
		n.Record(stolen("u1"))
		pass(time.Hour)
		cancel()
		<-done
		if s := strings.Join(got, " "); strings.Count(s, "ops@") != 1 || strings.Count(s, "slow@") != 5 {
			t.Errorf("mails to %s", s)
		}
	})
}

func TestNoWay(t *testing.T) {
	n, err := watch.NewNotifier(policyOf(t, ""), watch.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	n.Record(stolen("u1"))
	if got := n.Test(t.Context()); len(got) != 0 {
		t.Errorf("got %v", got)
	}
	if _, err := watch.NewNotifier(policyOf(t, "watch: {mail: [ops@example.com]}"), watch.Deps{}); err == nil {
		t.Error("mail without a way to send it")
	}
}

// TestTrapTextInjection: what attackers choose can end no line, address nobody
// and make no link, in chat and mail alike.
func TestTrapTextInjection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, h, o, _, stop := started(t)
		defer stop()
		evil := "x` <!channel> @here [click](http://evil.example)\r\nBcc: a@evil.example\r\n\r\n- ban.added \x1b[2J\u202e &lt; <http://evil|ok> " + strings.Repeat("é", 300) + "\xff"
		n.Record(audit.Event{Kind: audit.PolicyKept, Detail: evil})
		n.Record(audit.Event{Kind: audit.AccountLocked, Subject: evil})
		pass(time.Minute)
		hooks, mails := h.take(), o.take()
		if len(hooks) != 1 || len(mails) != 1 {
			t.Fatalf("%d posts, %d mails", len(hooks), len(mails))
		}
		subject, text, _ := strings.Cut(mails[0], "\n")
		if strings.ContainsAny(subject, "<>`\r") {
			t.Errorf("the subject is %q", subject)
		}
		text, _, _ = strings.Cut(text, "\n\nWhat is told")
		for name, s := range map[string]string{"webhook": hooks[0].Text, "mail": text} {
			if strings.Count(s, "\n") != 2 || strings.ContainsAny(s, "<>@&\r\x1b") || strings.ContainsFunc(s, func(r rune) bool { return r > '~' }) {
				t.Errorf("%s: %q", name, s)
			}
			for line := range strings.SplitSeq(s, "\n") {
				if strings.Count(line, "`")%2 != 0 || strings.Contains(line, "[click]") && !strings.Contains(line, "`x? ") {
					t.Errorf("%s: %q", name, line)
				}
			}
		}
		for _, x := range hooks[0].Notices {
			if strings.ContainsAny(x.Detail+x.Subject, "\r\n\x1b\u202e") || len(x.Detail+x.Subject) > 2000 {
				t.Errorf("got %q", x.Detail+x.Subject)
			}
		}
	})
}

// TestKindsAreKnown: every kind that a policy can choose is one of audit's.
func TestKindsAreKnown(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "../audit/audit.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	ast.Inspect(f, func(node ast.Node) bool {
		if lit, ok := node.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			s, _ := strconv.Unquote(lit.Value)
			known[s] = true
		}
		return true
	})
	field, _ := reflect.TypeFor[policy.Watch]().FieldByName("Events")
	kinds := strings.Split(field.Tag.Get("oneof"), ",")
	if len(kinds) < 20 {
		t.Fatalf("%d kinds", len(kinds))
	}
	for _, kind := range kinds {
		if !known[kind] {
			t.Errorf("audit has no kind %s", kind)
		}
	}
}

// TestUntold: what waits and what is on its way is counted until it has been told or
// given up; and what was given up, when nobody was told.
func TestUntold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, h, o, _, stop := started(t)
		defer stop()
		want := func(when string, waiting, lost int) {
			t.Helper()
			if w, l := n.Untold(); w != waiting || l != lost {
				t.Errorf("%s: %d wait, %d are lost; want %d, %d", when, w, l, waiting, lost)
			}
		}
		want("at first", 0, 0)
		n.Record(stolen("u1"))
		want("at once", 2, 0) // by webhook and by mail
		pass(2 * time.Second)
		want("told", 0, 0)
		h.fails(errors.New("connection refused"))
		n.Record(stolen("u2"))
		pass(20 * time.Second)
		want("held back, and on its way", 2+1, 0) // the trouble is to be told by mail
		pass(time.Hour)
		want("given up by one, and told by the other", 0, 0)
		o.fails(errors.New("no route"))
		n.Record(stolen("u3"))
		pass(2 * time.Hour)
		want("given up by both", 0, 1)
		h.fails(nil)
		o.fails(nil)
		n.Record(stolen("u4"))
		pass(time.Hour)
		want("told again, which does not bring it back", 0, 1)
		o.take()
	})
}
