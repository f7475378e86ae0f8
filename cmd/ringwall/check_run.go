package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/outside"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/identity"
	"github.com/ringwall/ringwall/policy"
	"github.com/ringwall/ringwall/watch"
)

// lookAt looks from inside, from outside or from both, and joins what --with
// names.
func lookAt(ctx context.Context, f checkFlags, t *target) (r check.Report, err error) {
	var other *check.Report
	if f.with != "" { // before the work is done
		read, err := readReport(f.with)
		if err != nil {
			return r, fmt.Errorf("--with: %w", err)
		}
		other = &read
	}
	switch {
	case !f.inside:
		r, err = lookFromOutside(ctx, f, t)
	case t.url == "":
		r, err = lookFromInside(ctx, f, t)
	default:
		within, ierr := lookFromInside(ctx, f, t)
		if ierr != nil {
			return r, ierr
		}
		r, err = lookFromOutside(ctx, f, t)
		r = check.Join(within, r)
	}
	switch {
	case err != nil || other == nil:
	case f.inside:
		r = check.Join(r, *other)
	default:
		r = check.Join(*other, r)
	}
	return r, err
}

// lookFromOutside makes the checks that the flags and the target allow.
func lookFromOutside(ctx context.Context, f checkFlags, t *target) (check.Report, error) {
	client, err := probe.New(t.url, probe.Options{TLS: t.tls, Tokens: t.tokens, Account: t.account, Pace: pace(t.policy), MaxRequests: f.maxRequests, Intrusive: f.intrusive})
	if err != nil {
		return check.Report{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	r := &lookingRun{client: client, flags: f}
	_, r.fresh = client.Fresh()
	checks, err := r.choose(t)
	if err != nil {
		return check.Report{}, err
	}
	r.announce(t, checks)
	opts := check.Options{Progress: r.progress(len(checks))}
	if f.intrusive {
		opts.PerCheck = 90 * time.Second
	}
	report := check.Run(ctx, checks, opts)
	r.clear()
	report.Target, report.Version, report.Requests = t.url, version(), int(client.Sent())
	return report, nil
}

type lookingRun struct {
	client *probe.Client
	flags  checkFlags
	fresh  bool // each check can come from an address of its own

	own bool

	mu   sync.Mutex
	shut string // why nothing more is sent
	line bool   // something is on the terminal's last line
}

// choose lists the checks, those that spend limits last, each with its evidence
// and its manners.
func (r *lookingRun) choose(t *target) ([]check.Check, error) {
	now := time.Now()
	r.own = r.flags.own || r.client.Loopback() || t.held && strings.EqualFold(r.client.Base().Hostname(), t.policy.Site)
	var checks []check.Check
	add := func(lane string, list []check.Check, not string) {
		for _, c := range list {
			if c.Inside == "" && not != "" {
				c.Verify = func(context.Context) check.Finding { return check.Unseen("not made: %s", not) }
			} else if c.Verify != nil {
				c.Verify = r.mannered(c.Verify)
			}
			if r.fresh { // else all come from one address, and must not meet
				if c.Lane = lane; c.Waits {
					c.Lane = c.ID
				}
			}
			checks = append(checks, c)
		}
	}
	const foreign = "the host is neither this machine nor the site of a policy; if it is yours, say --i-own-this"
	not := ""
	if !r.own {
		not = foreign
	}
	if t.held {
		add("app", app.Checks(t.policy, r.client, now), not)
		add("edge", edge.Checks(t.policy, r.client, now), not)
		add("identity", identity.Checks(t.policy, r.client, now), not)
		add("", watch.Checks(), "")
	}
	at := outside.NewTarget(r.client)
	at.Site, at.PlainPort, at.SSHPort = t.policy.Site, r.flags.plainPort, r.flags.sshPort
	if at.PlainPort == "" {
		at.PlainPort = plainPort(t.policy)
	}
	for i, c := range outside.Checks() {
		one := check.Check{Meta: c.Meta}
		not := ""
		switch {
		case t.held && !c.NoRing && r.own:
			continue // a ring's own proof knows better
		case c.Manner == outside.Intrusive && !r.flags.intrusive:
			continue
		case c.Afar && r.client.Loopback():
			one.Inside = c.See
		case c.Manner >= outside.Active && !r.own:
			not = foreign
		}
		one.Verify = func(ctx context.Context) check.Finding {
			own, _ := r.client.Fresh()
			return c.Verify(ctx, at.Through(own))
		}
		// Each has an address of its own, so that they can be made beside each other;
		// not all at once, for the target's sake.
		add("outside "+strconv.Itoa(i%5), []check.Check{one}, not)
	}
	checks, err := pick(checks, r.flags.only, r.flags.skip)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(checks, func(a, b check.Check) int {
		switch {
		case a.Spends == b.Spends:
			return 0
		case a.Spends:
			return 1
		}
		return -1
	})
	return checks, nil
}

// pick keeps the checks that --only names, and has those of --skip waived.
func pick(checks []check.Check, only, skip []string) ([]check.Check, error) {
	known := func(s string) bool {
		return slices.ContainsFunc(checks, func(c check.Check) bool { return names(s, c.ID) })
	}
	for _, s := range skip {
		id, reason, _ := strings.Cut(s, "=")
		switch {
		case strings.TrimSpace(reason) == "":
			return nil, fmt.Errorf("--skip %s: say why, as in --skip %s=\"the load balancer does it\"", s, id)
		case !known(id):
			return nil, fmt.Errorf("--skip %s: there is no such check here", id)
		}
		for i := range checks {
			if names(id, checks[i].ID) {
				checks[i].Inside, checks[i].Lane = "", ""
				checks[i].Verify = func(context.Context) check.Finding {
					return check.Finding{Verdict: check.Waived, Got: "skipped on the command line: " + reason}
				}
			}
		}
	}
	if len(only) == 0 {
		return checks, nil
	}
	for _, s := range only {
		if !known(s) {
			return nil, fmt.Errorf("--only %s: there is no such check here", s)
		}
	}
	return slices.DeleteFunc(checks, func(c check.Check) bool {
		return !slices.ContainsFunc(only, func(s string) bool { return names(s, c.ID) })
	}), nil
}

func names(s, id string) bool {
	return s == id || strings.HasSuffix(s, "/") && strings.HasPrefix(id, s)
}

// longestWait is how long a check waits for a target that asked to be left alone.
const longestWait = time.Minute

// impatience is how long a check may have taken that is tried a second time.
const impatience = 5 * time.Second

// mannered keeps a check's evidence, waits as the target asks, and sends nothing
// more once the target has shut this address out.
func (r *lookingRun) mannered(verify func(context.Context) check.Finding) func(context.Context) check.Finding {
	return func(ctx context.Context) check.Finding {
		r.mu.Lock()
		shut := r.shut
		r.mu.Unlock()
		if shut != "" {
			return check.Unseen("not made: %s", shut)
		}
		if wait := r.client.Held(); wait > longestWait {
			return check.Unseen("not made: the target asks to be left alone for %v (Retry-After); check again then", wait.Round(time.Second))
		} else if wait > 0 && !r.fresh {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return check.Unseen("not made: %v", ctx.Err())
			}
		}
		log := new(probe.Log)
		began := time.Now()
		f := verify(probe.WithLog(ctx, log))
		if f.Verdict == check.Unknown && !f.Moot && r.fresh && len(log.Exchanges()) > 0 && time.Since(began) < impatience && ctx.Err() == nil {
			// A machine under load misses a moment that it would see the next time. The
			// second try comes from another address, so that nothing is held against it.
			log = new(probe.Log)
			f = verify(probe.WithLog(ctx, log))
		}
		if f.Evidence == nil {
			for _, e := range log.Exchanges() {
				f.Evidence = append(f.Evidence, check.Exchange(e))
			}
		}
		if f.Verdict == check.Unknown && !r.fresh && r.client.Sent() > 1 {
			r.stillWelcome(ctx)
		}
		return f
	}
}

// stillWelcome asks for an ordinary page after a check that saw nothing. A target
// that does not answer has banned this address, is down, or is too slow to be
// judged: whatever it is, more of the same would make it worse.
func (r *lookingRun) stillWelcome(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	_, err := r.client.Do(context.WithoutCancel(ctx), probe.Request{})
	if err == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shut = fmt.Sprintf("after %d requests the target does not answer this address any more (%v)", r.client.Sent(), err)
}

// announce says how much will be sent, before anything is.
func (r *lookingRun) announce(t *target, checks []check.Check) {
	n, about := 0, 0
	for _, c := range checks {
		if c.Inside == "" {
			n++
			about += c.Most
		}
	}
	many := "checks"
	if n == 1 {
		many = "check"
	}
	fmt.Fprintf(os.Stderr, "%d %s of %s: about %d requests, at most %d\n", n, many, t.url, min(about, r.flags.maxRequests), r.flags.maxRequests)
	if _, waived := t.policy.Waived("edge/bans"); t.held && r.own && !waived && !r.client.Loopback() {
		// The checks behind such a ban would see nothing.
		fmt.Fprintf(os.Stderr, "%s the proofs are attacks, and Ringwall's edge bans for them: on the server, type first: ringwall ban spare ADDRESS --for 10m, with the address that this machine is seen under\n", paint(os.Stderr, "33;1", "note:"))
	}
}

// progress shows on a terminal how far the checks are.
func (r *lookingRun) progress(of int) func(check.Result) {
	if !colors(os.Stderr) {
		return nil
	}
	done := 0
	return func(res check.Result) {
		done++
		r.line = true
		fmt.Fprintf(os.Stderr, "\r\x1b[K%d of %d  %s  %.40s", done, of, res.Verdict, res.ID)
	}
}

func (r *lookingRun) clear() {
	if r.line {
		fmt.Fprint(os.Stderr, "\r\x1b[K")
	}
}

// pace keeps the proofs within half of what the edge allows one address, so
// that they are not refused for coming too fast.
func pace(p *policy.Policy) probe.Pace {
	r := p.Edge.Rate
	if r.Requests < 1 {
		return probe.Pace{}
	}
	return probe.Pace{Burst: (r.Burst + 1) / 2, Every: r.Per / time.Duration(r.Requests) * 11 / 10}
}
