package edge_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/policy"
)

var banRequest = &http.Request{Method: "GET", URL: &url.URL{Path: "/"}}

// A million addresses with an event each neither grow memory nor free one that
// is near a ban, and bans beyond the most put out those that end first.
func TestBansUnderFlood(t *testing.T) {
	r := newBanRig(t, banPolicy(), edge.BansConfig{})
	r.did("192.0.2.1", audit.ScannerRefused, "", 4)
	for i := range 1_000_000 {
		r.Record(audit.Event{Kind: audit.TokenForged, Client: netip.AddrFrom4([4]byte{100, byte(i >> 16), byte(i >> 8), byte(i)})})
	}
	if used, places := r.BanSheets(); used > places || places != 65_536 {
		t.Errorf("%d of %d places", used, places)
	}
	r.did("192.0.2.1", audit.ScannerRefused, "", 1)
	if !r.out("192.0.2.1") {
		t.Error("the flood made the edge forget who was near a ban")
	}

	r = newBanRig(t, banPolicy(), edge.BansConfig{})
	r.SetMost(1000)
	if _, err := r.Add(netip.MustParsePrefix("198.51.100.0/24"), time.Minute, "", "ops"); err != nil {
		t.Fatal(err)
	}
	for i := range 1100 {
		r.clock.move(time.Millisecond) // so that the first end first
		for range 5 {
			r.Record(audit.Event{Kind: audit.ScannerRefused, Client: netip.AddrFrom4([4]byte{100, 0, byte(i >> 8), byte(i)})})
		}
	}
	if s := r.Stats(); s.Active != 1000 || s.Evicted != 101 {
		t.Errorf("stats %+v, want 1000 and 101", s)
	}
	if r.out("100.0.0.0") || !r.out("100.0.4.75") || !r.out("198.51.100.9") {
		t.Error("not the one that ends first had to go")
	}
	if n := len(r.events.of(audit.BanEnded)); n != 101 {
		t.Errorf("%d events of bans that ended early", n)
	}

	// Those that have ended go before any that is in force.
	r = newBanRig(t, banPolicy(), edge.BansConfig{})
	r.SetMost(10)
	for i := range 15 {
		if i == 5 {
			r.clock.move(10 * time.Minute)
			r.End()
		}
		r.did(netip.AddrFrom4([4]byte{100, 0, 0, byte(i)}).String(), audit.ScannerRefused, "", 5)
	}
	if s := r.Stats(); s.Active != 10 || s.Evicted != 0 {
		t.Errorf("stats %+v, want 10 and none", s)
	}
}

func TestBansRace(t *testing.T) {
	dir := banDir(t)
	r := newBanRig(t, banPolicy(), edge.BansConfig{Dir: dir, Now: time.Now, Banner: &fakeBanner{}})
	ctx, cancel := context.WithCancel(t.Context())
	var run, work sync.WaitGroup
	run.Go(func() { r.Run(ctx) })
	for w := range 8 {
		work.Go(func() {
			for i := range 2000 {
				a := netip.AddrFrom4([4]byte{100, 0, byte(w % 2), byte(i)})
				switch i % 7 {
				case 0:
					_, _ = r.Add(netip.PrefixFrom(a, 24+i%8).Masked(), time.Hour, "", "ops")
				case 1:
					_, _ = r.Remove(netip.PrefixFrom(a, 32), "ops")
				case 2:
					r.List()
					r.Stats()
					r.End()
				case 3:
					r.Why(a)
					if i%700 == 3 {
						r.Follow(r.policy)
						_ = r.Save()
					}
				default:
					r.Record(audit.Event{Kind: audit.ScannerRefused, Client: a})
				}
				r.out(a.String())
				r.guard.Judge(&edge.Visit{Request: banRequest, Client: a, Now: time.Now()})
			}
		})
	}
	work.Wait()
	cancel()
	run.Wait()
	again := newBanRig(t, banPolicy(), edge.BansConfig{Dir: dir, Now: time.Now})
	if err := again.Load(); err != nil || len(again.List()) != len(r.List()) {
		t.Errorf("%d bans were kept of %d: %v", len(again.List()), len(r.List()), err)
	}
}

// fakeBanner is a firewall.
type fakeBanner struct {
	mu    sync.Mutex
	calls []string
	fails error
	block chan struct{} // nil: it does not
}

func (f *fakeBanner) Ban(b edge.Ban) error {
	return f.call("ban " + b.Prefix.String() + " " + b.Until.UTC().Format(time.TimeOnly))
}
func (f *fakeBanner) Unban(p netip.Prefix) error { return f.call("unban " + p.String()) }
func (f *fakeBanner) Check() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fails
}
func (f *fakeBanner) Replace(bans []edge.Ban, spared []netip.Prefix) error {
	said := "all:"
	for _, b := range bans {
		said += " " + b.Prefix.String()
	}
	return f.call(fmt.Sprint(said, ", not ", spared[2:]))
}

func (f *fakeBanner) call(s string) error {
	if f.block != nil {
		<-f.block
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, s)
	return f.fails
}

// told is what it was told since the last time.
func (f *fakeBanner) told() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer func() { f.calls = nil }()
	return strings.Join(f.calls, "\n")
}

func (f *fakeBanner) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fails = err
}

func TestBanner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeBanner{}
		r := newBanRig(t, banPolicy(), edge.BansConfig{Banner: f, Now: time.Now})
		if _, err := r.Add(netip.MustParsePrefix("198.51.100.0/24"), 5*time.Second, "", "ops"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go r.Run(ctx)
		was := func(what, want string) {
			t.Helper()
			synctest.Wait()
			if got := f.told(); got != want {
				t.Errorf("%s: the firewall was told\n%s\nwant\n%s", what, got, want)
			}
		}
		synctest.Wait()
		_ = f.told() // all, once or twice
		r.did("192.0.2.1", audit.ScannerRefused, "", 5)
		was("a ban", "ban 192.0.2.1/32 00:10:00")
		_, _ = r.Remove(netip.MustParsePrefix("192.0.2.1/32"), "ops")
		was("a ban is lifted", "unban 192.0.2.1/32")
		time.Sleep(7 * time.Second) // of the bubble
		was("a ban ends", "unban 198.51.100.0/24")
		if n := len(r.events.of(audit.BanEnded)); n != 1 {
			t.Errorf("%d times ban.ended", n)
		}

		// Who is spared is told, as a ban around him stays.
		if _, err := r.Add(netip.MustParsePrefix("203.0.113.0/24"), time.Hour, "", "ops"); err != nil {
			t.Fatal(err)
		}
		was("a prefix", "ban 203.0.113.0/24 01:00:07")
		if _, err := r.Spare(netip.MustParsePrefix("203.0.113.9/32"), time.Minute, "ops"); err != nil {
			t.Fatal(err)
		}
		was("a reprieve", "all: 203.0.113.0/24, not [203.0.113.9/32]")
		time.Sleep(70 * time.Second)
		was("its end", "all: 203.0.113.0/24, not []")

		// One that fails is an event, once, and is told all when it works again.
		f.fail(errors.New("no permission"))
		r.did("192.0.2.2", audit.ScannerRefused, "", 5)
		r.did("192.0.2.3", audit.ScannerRefused, "", 5)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if e := r.events.of(audit.BanFailed); len(e) != 1 || !strings.Contains(e[0].Detail, "no permission") || !r.out("192.0.2.2") {
			t.Errorf("events %+v", e)
		}
		_ = f.told()
		f.fail(nil)
		time.Sleep(6 * time.Second)
		was("it works again", "all: 192.0.2.2/32 192.0.2.3/32 203.0.113.0/24, not []")

		// One that has lost its table is told all again.
		f.fail(errors.New("the table is gone"))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		_ = f.told()
		f.fail(nil)
		time.Sleep(5 * time.Second)
		was("it lost them", "all: 192.0.2.2/32 192.0.2.3/32 203.0.113.0/24, not []")

		// Nobody waits for one that hangs, and what did not fit is not lost.
		f.block = make(chan struct{})
		for i := range 1100 {
			for range 5 {
				r.Record(audit.Event{Kind: audit.ScannerRefused, Client: netip.AddrFrom4([4]byte{100, 0, byte(i >> 8), byte(i)})})
			}
		}
		if !r.out("100.0.4.75") {
			t.Error("a ban waits for the firewall")
		}
		close(f.block)
		synctest.Wait()
		if got := f.told(); !strings.Contains(got, " 100.0.4.75/32") || strings.Count(got, "\n") > 3 {
			t.Errorf("the firewall was told\n%.300s", got)
		}

		// A waiver of the control holds there as well.
		p := banPolicy()
		p.Waivers = append(p.Waivers, policy.Waiver{Control: "edge/bans", Reason: "a test", Until: time.Now().AddDate(1, 0, 0)})
		r.Follow(p)
		synctest.Wait()
		if got := f.told(); got != "all:, not []" {
			t.Errorf("waived: %.300s", got)
		}
		cancel()
	})
}

// BenchmarkBansAccept is what a connection costs while 100,000 addresses and a
// prefix are banned.
func BenchmarkBansAccept(b *testing.B) {
	r := newBanRig(b, banPolicy(), edge.BansConfig{Now: time.Now})
	holds := func(name, addr string) {
		a := netip.MustParseAddr(addr)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.Refuses(a)
			}
		})
	}
	holds("nobody-is-banned", "192.0.2.1")
	for i := range 99_999 {
		for range 5 {
			r.Record(audit.Event{Kind: audit.ScannerRefused, Client: netip.AddrFrom4([4]byte{100, byte(i >> 16), byte(i >> 8), byte(i)})})
		}
	}
	if _, err := r.Add(netip.MustParsePrefix("198.51.100.0/24"), time.Hour, "", "ops"); err != nil {
		b.Fatal(err)
	}
	holds("let-in", "192.0.2.1")
	holds("let-in-IPv6", "2001:db8::1")
	holds("banned", "100.0.1.1")
	holds("banned-prefix", "198.51.100.1")
}

func BenchmarkBansRecord(b *testing.B) {
	r := newBanRig(b, banPolicy(), edge.BansConfig{Now: time.Now})
	for _, c := range []struct {
		name string
		kind audit.Kind
	}{{"counts", audit.AccessDenied}, {"weighs-nothing", audit.AuthExpired}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			e := audit.Event{Kind: c.kind, Control: "app/authorization", RequestID: "0af7651916cd43dd8448eb211c80319c"}
			for i := 0; b.Loop(); i++ {
				e.Client = netip.AddrFrom4([4]byte{100, byte(i >> 16), byte(i >> 8), byte(i)})
				r.Record(e)
			}
		})
	}
	runtime.KeepAlive(r)
}
