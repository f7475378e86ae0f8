package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/limit"
	"github.com/ringwall/ringwall/policy"
)

// rateLimit counts each request against the client's buckets: that of the class
// global and those of the classes that name the path. The client is its IPv4
// address or its IPv6 /64; clients whose address is not known share one bucket.
//
// A request goes on when every class has one left, and is then spent in all of
// them. Otherwise it is answered 429 and spent in none, so that trying again
// too early costs nothing and does not prolong the wait. Handlers' answers are
// not looked at: a request that they refuse is spent too.
//
// When the store cannot tell, app.limits.NAME.on_store_error decides: by
// default the request goes on if only global counts it, and is answered 503 if
// any other class does, for those guard passwords. Either is logged.
//
// RateLimit-Policy and RateLimit follow draft-ietf-httpapi-ratelimit-headers-10.
// The window w is the class's period; buckets refill evenly within it, and t is
// the time until one more request is there. Older names (X-RateLimit-Limit and
// its like) are dropped from handlers' answers, for they speak of other limits.
var rateLimit = Control{
	Meta: check.Meta{
		ID:     "app/rate",
		Title:  "Each client is held to its request rates",
		Why:    "One client that may ask without end guesses passwords, takes the data page by page and starves the others.",
		Ref:    "RFC 6585, 4; draft-ietf-httpapi-ratelimit-headers-10; ASVS 5.0 V2.4.1; OWASP API4 2023; blueprint A6, T1, T2, T3, checklist 6",
		Spends: true,
	},
	Size: func(p *policy.Policy, _ *probe.Client) (requests, points int) {
		name, _ := smallestClass(p)
		if n := p.App.Limits[name].Requests; n <= maxExhausted {
			return n + 4, 3 // one that is refused, of a second client, and what refills meanwhile
		}
		return 4, 0
	},
	Owns: slices.Concat([]string{"RateLimit", "RateLimit-Policy"}, legacyRateFields),
	Wrap: func(p *policy.Policy, deps Deps) (Middleware, error) {
		c, err := compileRates(p, deps)
		if err != nil {
			return nil, err
		}
		return c.middleware, nil
	},
	Value:  rateValue,
	Verify: verifyRate,
}

// legacyRateFields are what servers sent before the draft, in several spellings.
var legacyRateFields = []string{
	"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset",
	"X-Rate-Limit-Limit", "X-Rate-Limit-Remaining", "X-Rate-Limit-Reset",
	"RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset",
}

// rates is the control, compiled.
type rates struct {
	limiter limit.Limiter
	log     *slog.Logger
	classes map[string]*rateClass
	seed    maphash.Seed
	blocked [1024]onceASecond // by client
	outage  onceASecond

	sets atomic.Pointer[map[uint64]*rateSet] // by Exchange.classes; replaced, never changed
	mu   sync.Mutex                          // held to replace sets
}

// rateSet is the classes that count a request, slowest to refill first.
type rateSet struct {
	classes []*rateClass
	rates   []limit.Rate
	policy  []string // RateLimit-Policy
	denies  bool     // while the store is out
}

// rateRoom is an Exchange's own room for what differs between requests.
type rateRoom struct {
	state [4]limit.Decision
	lines [4]string
}

func compileRates(p *policy.Policy, deps Deps) (*rates, error) {
	c := &rates{limiter: deps.Limiter, log: deps.Log, classes: map[string]*rateClass{}, seed: maphash.MakeSeed()}
	c.sets.Store(&map[uint64]*rateSet{})
	var errs []error
	if _, ok := p.App.Limits["global"]; !ok {
		errs = append(errs, p.Errorf("app.limits", "add global: {requests: 600, per: 15m}",
			"there is no class global, which bounds every client"))
	}
	for name, l := range p.App.Limits {
		class, err := newRateClass(name, l)
		if err != nil {
			errs = append(errs, p.Errorf("app.limits."+name, "", "%w", err))
			continue
		}
		c.classes[name] = class
	}
	return c, errors.Join(errs...)
}

func (c *rates) middleware(next Handler) Handler {
	return func(x *Exchange) {
		set := (*c.sets.Load())[x.classes]
		if set == nil {
			set = c.addSet(x)
		}
		n := len(set.rates)
		state, lines := x.rate.state[:], x.rate.lines[:]
		if n > len(state) {
			state, lines = make([]limit.Decision, n), make([]string, n)
		}
		state, lines = state[:n], lines[:n]

		ok, err := c.limiter.Take(limit.Addr(x.Client), set.rates, x.start, state)
		x.Answer.Set("Ratelimit-Policy", set.policy)
		switch {
		case err != nil:
			c.storeOut(x, set, err, next)
		case !ok:
			c.refuse(x, set, state)
		default:
			x.Answer.Set("Ratelimit", set.left(state, lines))
			next(x)
		}
	}
}

// addSet builds the set of x's classes. Which sets there can be is up to the
// policy's paths, not to clients.
func (c *rates) addSet(x *Exchange) *rateSet {
	c.mu.Lock()
	defer c.mu.Unlock()
	sets := *c.sets.Load()
	if s := sets[x.classes]; s != nil {
		return s
	}
	s := &rateSet{}
	for _, name := range append(x.ring.routes.classNames(x.classes), "global") {
		s.classes = append(s.classes, c.classes[name])
	}
	slices.SortStableFunc(s.classes, func(a, b *rateClass) int {
		return cmp.Compare(b.rate.Interval(), a.rate.Interval())
	})
	var items []string
	for _, class := range s.classes {
		s.rates = append(s.rates, class.rate)
		s.denies = s.denies || class.denies
		items = append(items, class.policy)
	}
	s.policy = []string{strings.Join(items, ", ")}
	sets = maps.Clone(sets)
	sets[x.classes] = s
	c.sets.Store(&sets)
	return s
}

// refuse answers 429 (RFC 6585, section 4). The event is raised at most once a
// second for a client and says how many were left out. Clients are told apart
// by 10 bits of a keyed hash, so that all of them together raise 1024 a second.
func (c *rates) refuse(x *Exchange, set *rateSet, state []limit.Decision) {
	var over *rateClass
	var wait time.Duration
	for i, d := range state {
		if !d.Allowed {
			wait = max(wait, d.Next)
			if over == nil {
				over = set.classes[i]
			}
		}
	}
	x.Answer.Set("Ratelimit", set.refused(state))
	x.Answer.Set("Retry-After", []string{strconv.Itoa(wholeSeconds(wait))})
	d := Denied{Control: "app/rate", Status: http.StatusTooManyRequests, Detail: over.message, Err: over.err}
	who := maphash.Comparable(c.seed, limit.Addr(x.Client)) % uint64(len(c.blocked))
	if left, ok := c.blocked[who].due(x.start); ok {
		d.Kind = audit.RateBlocked
		if left > 0 {
			d.Err = fmt.Errorf("%w; %d more refusals since the last event", over.err, left)
		}
	}
	x.Deny(d)
}

// soon is when to ask again, in seconds: nobody knows how long an outage lasts.
var soon = []string{"10"}

// storeOut decides while the limiter cannot.
func (c *rates) storeOut(x *Exchange, set *rateSet, err error, next Handler) {
	if left, ok := c.outage.due(x.start); ok {
		c.log.LogAttrs(context.Background(), slog.LevelError, "the rate limits cannot be read",
			slog.String("error", err.Error()), slog.Bool("ringwall.denied", set.denies),
			slog.Uint64("ringwall.more", left), slog.String("ringwall.request_id", x.ID))
	}
	if !set.denies {
		next(x)
		return
	}
	x.Answer.Set("Retry-After", soon)
	x.Deny(Denied{Control: "app/rate", Status: http.StatusServiceUnavailable,
		Detail: "Requests cannot be counted at the moment. Try again later.",
		Err:    fmt.Errorf("rate limits: %w", err)})
}

// onceASecond tells when something that may happen often is to be reported.
type onceASecond struct {
	last atomic.Int64 // Unix nanoseconds
	left atomic.Uint64
}

// due reports whether a second has passed since it last said so, and how many
// times it has said no since. A clock that was set back does not silence it.
func (o *onceASecond) due(now time.Time) (left uint64, ok bool) {
	t, last := now.UnixNano(), o.last.Load()
	if since := t - last; since < int64(time.Second) && since > -int64(time.Minute) || !o.last.CompareAndSwap(last, t) {
		o.left.Add(1)
		return 0, false
	}
	return o.left.Swap(0), true
}

// rateValue names the classes that count a route's requests, those of a part of
// its paths too.
func rateValue(p *policy.Policy, r *Route) string {
	rs, err := compileRoutes(p)
	if err != nil {
		return "the policy's routes do not compile"
	}
	route, err := policy.ParsePattern(r.Pattern)
	if err != nil { // nothing matched: any path
		route = policy.Pattern{Subtree: true}
	}
	var out []string
	for _, name := range rs.classNames(1<<len(rs.classes) - 1) {
		for _, path := range classPaths(p, name) {
			class, err := policy.ParsePattern(path)
			switch {
			case err != nil:
			case class.Covers(route):
				out = append(out, rateLine(name, p.App.Limits[name]))
			case route.Covers(class):
				out = append(out, rateLine(name, p.App.Limits[name])+" under "+path)
			}
		}
	}
	return strings.Join(append(out, rateLine("global", p.App.Limits["global"])), "; ")
}

func rateLine(name string, l policy.Limit) string {
	return fmt.Sprintf("%s %d in %s", name, l.Requests, shortDuration(l.Per))
}
