package edge_test

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/policy"
)

// banClock is a clock that is moved by hand.
type banClock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *banClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *banClock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// banEvents keeps the events of bans.
type banEvents struct {
	mu  sync.Mutex
	all []audit.Event
}

func (e *banEvents) Record(ev audit.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, ev)
}

func (e *banEvents) of(k audit.Kind) (out []audit.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, ev := range e.all {
		if ev.Kind == k {
			out = append(out, ev)
		}
	}
	return out
}

// banRig is Bans under a policy, and what the edge asks under it.
type banRig struct {
	*edge.Bans
	clock  *banClock
	events *banEvents
	policy *policy.Policy
	state  *edge.State
	guard  *edge.Guard
}

var banDay = time.Date(2026, 7, 30, 12, 0, 0, 0, time.UTC)

func banPolicy() *policy.Policy {
	p := policy.Default()
	p.Site = "api.example.com"
	return p
}

func newBanRig(t testing.TB, p *policy.Policy, c edge.BansConfig) *banRig {
	t.Helper()
	r := &banRig{clock: &banClock{t: banDay}, events: &banEvents{}, policy: p}
	if c.Now == nil {
		c.Now = r.clock.now
	}
	r.Bans = edge.NewBans(c)
	r.Tell(r.events)
	r.Follow(p)
	r.state = &edge.State{Now: c.Now, Bans: r.Bans}
	r.rules(t, p)
	return r
}

// rules has the edge ask what p says.
func (r *banRig) rules(t testing.TB, p *policy.Policy) {
	t.Helper()
	var err error
	if r.guard, err = edge.NewGuard(p, r.state); err != nil {
		t.Fatal(err)
	}
}

func (r *banRig) did(addr string, kind audit.Kind, control string, n int) {
	for i := range n {
		r.Record(audit.Event{Time: r.clock.now(), Kind: kind, Control: control, Client: netip.MustParseAddr(addr),
			RequestID: fmt.Sprintf("%032x", i+1)})
	}
}

// out reports whether the address is refused as it connects.
func (r *banRig) out(addr string) bool {
	release, ok := r.guard.Admit(netip.MustParseAddr(addr))
	if release != nil {
		release()
	}
	return !ok
}

func TestTrapExpiredTokensAreNoAttack(t *testing.T) {
	r := newBanRig(t, banPolicy(), edge.BansConfig{})
	r.did("192.0.2.1", audit.AuthExpired, "app/authentication", 100_000)
	if r.out("192.0.2.1") {
		t.Error("a client with an expired token was banned")
	}
	if s := r.Why(netip.MustParseAddr("192.0.2.1")); s.Points != 0 || s.Events != nil {
		t.Errorf("held against it: %+v", s)
	}
	r.did("192.0.2.1", audit.TokenForged, "app/authentication", 10)
	if !r.out("192.0.2.1") {
		t.Error("a client with forged tokens was not")
	}
}

// What an address must do at once to be banned, by the table of docs/bans.md.
func TestWhatBans(t *testing.T) {
	never := 10_000
	for _, c := range []struct {
		kind    audit.Kind
		control string
		events  int
	}{
		{audit.ScannerRefused, "edge/scanners", 5},
		{audit.TokenReused, "identity/sessions", 5},
		{audit.TokenForged, "app/authentication", 10},
		{audit.HeaderForged, "app/header-names", 10},
		{audit.AuthFailed, "identity/accounts", 25},
		{audit.AuthFailed, "app/authentication", 100},
		{audit.AttemptDelayed, "identity/accounts", 50},
		{audit.ProtocolRefused, "app/path", 50},
		{audit.ProtocolRefused, "app/host", 100},
		{audit.AccessDenied, "app/authorization", 100},
		{audit.RateBlocked, "edge/rate", 100},
		{audit.OriginRefused, "app/cors", never},
		{audit.CrossSiteRefused, "app/cross-site", never},
		{audit.InputRefused, "app/schema", never},
		{audit.InputRefused, "edge/framing", never}, // a header that is too long: any page can have one sent
		{audit.AuthExpired, "app/authentication", never},
		{audit.UpstreamFailed, "edge/upstream", never},
		{audit.RequestTimedOut, "app/timeout", never},
		{audit.ConnectionRefused, "edge/connections", never},
		{audit.SignedIn, "identity/sessions", never},
		{audit.BanAdded, "edge/bans", never},
	} {
		r := newBanRig(t, banPolicy(), edge.BansConfig{})
		n := 0
		for ; n < never && !r.out("192.0.2.1"); n++ {
			r.did("192.0.2.1", c.kind, c.control, 1)
		}
		if n != c.events {
			t.Errorf("%s of %s: banned after %d, want %d", c.kind, c.control, n, c.events)
		}
	}
}

// The page is what operators read.
func TestBansDocs(t *testing.T) {
	page, err := os.ReadFile("../docs/bans.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range edge.BanWeights() {
		if !strings.Contains(string(page), w) {
			t.Errorf("docs/bans.md lacks the row\n%s", w)
		}
	}
	if rows := strings.Count(string(page), "\n| `"); rows != len(edge.BanWeights()) {
		t.Errorf("docs/bans.md has %d rows, the table %d", rows, len(edge.BanWeights()))
	}
}

// Somebody who mistypes a password and an address, with a page that is stale.
func TestClumsyUserIsNotBanned(t *testing.T) {
	r := newBanRig(t, banPolicy(), edge.BansConfig{})
	for range 12 { // hours
		r.did("192.0.2.1", audit.AuthFailed, "identity/accounts", 8)
		r.did("192.0.2.1", audit.ProtocolRefused, "app/path", 4)
		r.did("192.0.2.1", audit.AccessDenied, "app/authorization", 10)
		r.did("192.0.2.1", audit.InputRefused, "app/schema", 50)
		r.clock.move(time.Hour)
	}
	// A monitor that asks by address, every 5 seconds for a day.
	for range 24 * 720 {
		r.did("192.0.2.2", audit.ProtocolRefused, "app/host", 1)
		r.clock.move(5 * time.Second)
	}
	if r.out("192.0.2.1") || r.out("192.0.2.2") || len(r.events.of(audit.BanAdded)) > 0 {
		t.Errorf("banned: %+v", r.List())
	}
}

func TestBanHoldsAndEnds(t *testing.T) {
	r := newBanRig(t, banPolicy(), edge.BansConfig{})
	r.did("2001:db8::1", audit.ScannerRefused, "edge/scanners", 5)
	for addr, want := range map[string]bool{
		"2001:db8::1": true, "2001:db8::2": true, "2001:db8::ffff:1:2:3": true, // one subscriber's
		"2001:db8:0:1::1": false, "192.0.2.1": false, "::1": false,
	} {
		if r.out(addr) != want {
			t.Errorf("%s is out: %v, want %v", addr, !want, want)
		}
		refusal := r.guard.Judge(&edge.Visit{Request: banRequest, Client: netip.MustParseAddr(addr), Now: r.clock.now()})
		if got := refusal != nil && refusal.Hangup && refusal.Control == "edge/bans" && refusal.Kind == ""; got != want {
			t.Errorf("%s at the gate: %+v, want a hangup: %v", addr, refusal, want)
		}
	}
	added := r.events.of(audit.BanAdded)
	if len(added) != 1 || added[0].Client != netip.MustParseAddr("2001:db8::") || !strings.Contains(added[0].Detail, "5 scanner.refused") {
		t.Errorf("events %+v", added)
	}
	r.clock.move(10*time.Minute - time.Nanosecond)
	if !r.out("2001:db8::1") {
		t.Error("it ended early")
	}
	r.clock.move(time.Nanosecond)
	if r.out("2001:db8::1") { // before End has run
		t.Error("it did not end")
	}
	r.End()
	r.End()
	if n := len(r.events.of(audit.BanEnded)); n != 1 {
		t.Errorf("%d times ban.ended, want 1", n)
	}
	if s := r.Stats(); s.Active != 0 || s.Dropped < 6 {
		t.Errorf("stats %+v", s)
	}
}

// Each ban is twice as long as the one before, until most, and once the last
// one was over for that long, it begins anew.
func TestBansGrow(t *testing.T) {
	p := banPolicy()
	p.Edge.Bans.For, p.Edge.Bans.Most = 10*time.Minute, time.Hour
	r := newBanRig(t, p, edge.BansConfig{})
	ban := func() time.Duration {
		r.did("192.0.2.1", audit.ScannerRefused, "", 5)
		l := r.List()
		if len(l) != 1 {
			t.Fatalf("%d bans", len(l))
		}
		d := l[0].Until.Sub(r.clock.now())
		r.clock.move(d)
		r.End()
		return d
	}
	for i, want := range []time.Duration{10 * time.Minute, 20 * time.Minute, 40 * time.Minute, time.Hour, time.Hour} {
		if got := ban(); got != want {
			t.Errorf("ban %d lasts %v, want %v", i+1, got, want)
		}
		r.clock.move(59 * time.Minute)
		r.End()
	}
	r.clock.move(time.Minute)
	r.End()
	if got := ban(); got != 10*time.Minute {
		t.Errorf("after an hour of quiet it lasts %v", got)
	}
}

func TestWhoIsNeverBanned(t *testing.T) {
	p := banPolicy()
	p.Edge.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	p.Edge.Bans.Allow = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("2001:db8::7/128")}
	r := newBanRig(t, p, edge.BansConfig{})
	for _, addr := range []string{"127.0.0.1", "::1", "::ffff:127.0.0.1", "10.1.2.3", "203.0.113.9", "2001:db8::7"} {
		r.did(addr, audit.ScannerRefused, "", 100)
		if r.out(addr) || len(r.List()) > 0 {
			t.Errorf("%s was banned", addr)
		}
	}
	// Allow comes first, whoever bans what is around it.
	for _, prefix := range []string{"203.0.0.0/8", "2001:db8::/48"} {
		if _, err := r.Add(netip.MustParsePrefix(prefix).Masked(), time.Hour, "", "ops"); err != nil {
			t.Fatal(err)
		}
	}
	for addr, want := range map[string]bool{"203.0.113.9": false, "203.0.112.9": true, "2001:db8::7": false, "2001:db8::8": true} {
		if r.out(addr) != want {
			t.Errorf("%s is out: %v", addr, !want)
		}
	}
	// Other loopback addresses are like any other: the proof bans one.
	r.did("127.0.0.9", audit.ScannerRefused, "", 5)
	if !r.out("127.0.0.9") {
		t.Error("127.0.0.9 was not banned")
	}
	// Nobody is banned for a client that is not known.
	r.Record(audit.Event{Kind: audit.ScannerRefused})
	// A policy that spares an address lifts its ban, and one that waives bans lifts all.
	p2 := banPolicy()
	p2.Edge.Bans.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.9/32")}
	r.Follow(p2)
	r.rules(t, p2)
	if r.out("127.0.0.9") || len(r.events.of(audit.BanRemoved)) != 1 {
		t.Error("the ban of a spared address stayed")
	}
	p3 := banPolicy()
	p3.Waivers = []policy.Waiver{{Control: "edge/bans", Reason: "test", Until: banDay.AddDate(0, 1, 0)}}
	r.Follow(p3)
	r.rules(t, p3)
	if r.did("192.0.2.9", audit.ScannerRefused, "", 9); r.out("192.0.2.9") || r.out("203.0.112.9") {
		t.Error("a waived ban holds")
	}
}

func TestAddAndRemove(t *testing.T) {
	p := banPolicy()
	p.Edge.Bans.Allow = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	r := newBanRig(t, p, edge.BansConfig{})
	pfx := netip.MustParsePrefix
	for _, c := range []struct {
		prefix netip.Prefix
		length time.Duration
		reason string
		want   string // in the error
	}{
		{pfx("203.0.113.0/24"), time.Hour, "", "never banned"},
		{pfx("203.0.113.5/32"), time.Hour, "", "never banned"},
		{pfx("127.0.0.1/32"), time.Hour, "", "never banned"},
		{pfx("::ffff:127.0.0.1/128"), time.Hour, "", "never banned"},
		{pfx("192.0.0.0/7"), time.Hour, "", "too wide"},
		{pfx("::ffff:192.0.0.0/100"), time.Hour, "", "too wide"},
		{pfx("2001::/31"), time.Hour, "", "too wide"},
		{pfx("0.0.0.0/0"), time.Hour, "", "too wide"},
		{netip.Prefix{}, time.Hour, "", "no address"},
		{pfx("192.0.2.1/32"), 0, "", "between"},
		{pfx("192.0.2.1/32"), -time.Hour, "", "between"},
		{pfx("192.0.2.1/32"), math.MaxInt64, "", "between"},
		{pfx("192.0.2.1/32"), time.Hour, "a\nb", "one line"},
		{pfx("192.0.2.1/32"), time.Hour, "\x1b[2J", "one line"},
		{pfx("192.0.2.1/32"), time.Hour, strings.Repeat("x", 201), "one line"},
	} {
		if _, err := r.Add(c.prefix, c.length, c.reason, "ops"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("add %v for %v: %v, want one with %q", c.prefix, c.length, err, c.want)
		}
	}
	if len(r.List()) != 0 || len(r.events.all) != 0 {
		t.Fatalf("there are bans: %+v", r.List())
	}

	ban, err := r.Add(pfx("198.51.100.0/24"), 2*time.Hour, "asked for it", "ops")
	if err != nil || !ban.Until.Equal(banDay.Add(2*time.Hour)) {
		t.Fatalf("%+v, %v", ban, err)
	}
	if !r.out("198.51.100.77") || r.out("198.51.101.1") {
		t.Error("the prefix is not what is banned")
	}
	if e := r.events.of(audit.BanAdded); len(e) != 1 || e[0].Subject != "os:ops" || !strings.Contains(e[0].Detail, "198.51.100.0/24") {
		t.Errorf("event %+v", e)
	}
	if _, err := r.Remove(pfx("198.51.100.7/32"), "ops"); err == nil || !strings.Contains(err.Error(), "198.51.100.0/24") {
		t.Errorf("removing a part: %v", err)
	}
	if _, err := r.Remove(pfx("192.0.2.1/32"), "ops"); !errors.Is(err, edge.ErrNotBanned) {
		t.Errorf("removing nothing: %v", err)
	}
	if _, err := r.Remove(pfx("198.51.100.0/24"), "ops"); err != nil || r.out("198.51.100.77") {
		t.Errorf("removed: %v", err)
	}
	// What led to a ban is forgotten with it, and an IPv6 address is its /64.
	r.did("2001:db8::1", audit.ScannerRefused, "", 9)
	if _, err := r.Remove(pfx("2001:db8::5/128"), "ops"); err != nil || r.out("2001:db8::1") {
		t.Errorf("removed: %v", err)
	}
	if r.did("2001:db8::1", audit.ScannerRefused, "", 4); r.out("2001:db8::1") {
		t.Error("it was banned again for what was forgiven")
	}
	if n := len(r.events.of(audit.BanRemoved)); n != 2 {
		t.Errorf("%d times ban.removed, want 2", n)
	}
}

func TestBansByHandAreBounded(t *testing.T) {
	r := newBanRig(t, banPolicy(), edge.BansConfig{})
	at := func(i int) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)}), 32)
	}
	for i := range 10_000 {
		if _, err := r.Add(at(i), time.Hour, "", "ops"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Add(at(10_000), time.Hour, "", "ops"); err == nil || !strings.Contains(err.Error(), "firewall") {
		t.Errorf("one more: %v", err)
	}
	if _, err := r.Add(at(5), 2*time.Hour, "", "ops"); err != nil {
		t.Errorf("a longer one in the place of one: %v", err)
	}
	if _, err := r.Remove(at(5), "ops"); err != nil {
		t.Error(err)
	}
	if _, err := r.Add(at(10_000), time.Hour, "", "ops"); err != nil {
		t.Errorf("with room: %v", err)
	}
}

func TestWhy(t *testing.T) {
	r := newBanRig(t, banPolicy(), edge.BansConfig{})
	addr := netip.MustParseAddr("192.0.2.1")
	r.did("192.0.2.1", audit.ScannerRefused, "edge/scanners", 3)
	r.did("192.0.2.1", audit.AuthFailed, "app/authentication", 2)
	s := r.Why(addr)
	want := []edge.BanEvent{
		{Kind: audit.ScannerRefused, Count: 3, Last: banDay, Requests: []string{fmt.Sprintf("%032x", 2), fmt.Sprintf("%032x", 3)}},
		{Kind: audit.AuthFailed, Control: "app/authentication", Count: 2, Last: banDay, Requests: []string{fmt.Sprintf("%032x", 1), fmt.Sprintf("%032x", 2)}},
	}
	if s.Banned || s.Ban != nil || s.Points != 62 || s.Threshold != 100 || fmt.Sprint(s.Events) != fmt.Sprint(want) {
		t.Errorf("got %+v\nwant events %+v", s, want)
	}
	r.clock.move(5 * time.Minute)
	if s := r.Why(addr); math.Abs(s.Points-31) > 0.01 {
		t.Errorf("after 5 minutes %v points, want 31", s.Points)
	}
	r.did("192.0.2.1", audit.ScannerRefused, "edge/scanners", 4)
	s = r.Why(addr)
	if !s.Banned || s.Ban == nil || s.Ban.Events[0].Count != 7 || s.Ban.Events[1].Count != 2 || s.Points != 0 {
		t.Errorf("banned: %+v", s)
	}
	r.clock.move(11 * time.Minute)
	r.End()
	if s = r.Why(addr); s.Banned || s.Ban == nil {
		t.Errorf("the ban that ended is not remembered: %+v", s)
	}
	r.clock.move(24 * time.Hour)
	r.End()
	if s = r.Why(addr); s.Ban != nil {
		t.Errorf("it is remembered for ever: %+v", s)
	}
}

// The points of an address are those of a model without a table.
func TestScoreAndGrowth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := banPolicy()
		p.Edge.Bans.Threshold = rapid.IntRange(100, 500).Draw(t, "threshold")
		p.Edge.Bans.For = time.Duration(rapid.IntRange(1, 600).Draw(t, "for")) * time.Minute
		p.Edge.Bans.Most = p.Edge.Bans.For * time.Duration(rapid.IntRange(1, 40).Draw(t, "most"))
		r := &banRig{clock: &banClock{t: banDay}, events: &banEvents{}, policy: p}
		r.Bans = edge.NewBans(edge.BansConfig{Now: r.clock.now})
		r.Follow(p)
		addr := netip.MustParseAddr("192.0.2.1")
		kinds := []audit.Kind{audit.ScannerRefused, audit.TokenForged, audit.AccessDenied, audit.AuthExpired}
		weights := []float64{20, 10, 1, 0}
		points, times, last := 0.0, 0, banDay
		var until time.Time
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			step := time.Duration(rapid.Int64Range(0, int64(20*time.Minute)).Draw(t, "step"))
			if rapid.IntRange(0, 4).Draw(t, "leap") == 0 {
				step *= 20
			}
			r.clock.move(step)
			if rapid.Bool().Draw(t, "end") {
				r.End()
			}
			now := r.clock.now()
			k := rapid.IntRange(0, 3).Draw(t, "kind")
			r.did(addr.String(), kinds[k], "", 1)
			if weights[k] > 0 {
				points *= math.Exp2(-float64(now.Sub(last)) / float64(5*time.Minute))
				if points < 0.5 {
					points = 0
				}
				points, last = points+weights[k], now
				if points >= float64(p.Edge.Bans.Threshold)-0.5+1e-3 {
					points = 0
					if !now.Before(until) {
						if times++; !until.IsZero() && !now.Before(until.Add(p.Edge.Bans.Most)) {
							times = 1
						}
						length := float64(p.Edge.Bans.For) * math.Exp2(float64(times-1))
						until = now.Add(time.Duration(min(length, float64(p.Edge.Bans.Most))))
					}
				} else if points > float64(p.Edge.Bans.Threshold)-0.5-1e-3 {
					t.Skip("too near to the threshold to tell")
				}
			}
			s := r.Why(addr)
			if s.Banned != now.Before(until) {
				t.Fatalf("banned: %v, want until %v at %v", s.Banned, until, now)
			}
			if s.Banned && !s.Ban.Until.Equal(until) {
				t.Fatalf("until %v, want %v (ban %d)", s.Ban.Until, until, times)
			}
			if want := points * math.Exp2(-float64(now.Sub(last))/float64(5*time.Minute)); math.Abs(s.Points-want) > 0.51 {
				t.Fatalf("%v points, want %v", s.Points, want)
			}
		}
	})
}

// From elsewhere a proof would ban its user: nothing is sent.
func TestBansAreNotProvedFromAfar(t *testing.T) {
	for _, url := range []string{"https://192.0.2.1", "https://api.example.com", "https://[::1]:8443"} {
		c, err := probe.New(url, probe.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, ctl := range edge.Controls() {
			if ctl.ID != "edge/bans" {
				continue
			}
			f := ctl.Verify(t.Context(), banPolicy(), c)
			if f.Verdict != check.Unknown || !strings.Contains(f.Got, "would ban") || c.Sent() != 0 {
				t.Errorf("%s: %v %q, %d connections", url, f.Verdict, f.Got, c.Sent())
			}
		}
	}
}
