package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
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
		if f.inside && t.url != "" {
			return r, errors.New("--with: --inside with a URL looks from both sides already; leave one of them out")
		}
		read, err := readReport(f.with)
		if err != nil {
			return r, fmt.Errorf("--with: %w", err)
		}
		if (read.Host != nil) == f.inside {
			return r, fmt.Errorf("--with %s: it must be the look from the other side", f.with)
		}
		if f.inside { // nothing of it is needed to see that it is of another server
			if _, err := check.Join(check.Report{Host: thisHost(t), Time: time.Now()}, read); err != nil {
				return r, fmt.Errorf("--with %s: %w", f.with, err)
			}
		}
		other = &read
	}
	switch {
	case !f.inside:
		r, err = lookFromOutside(ctx, f, t)
	case t.url == "":
		r, err = lookFromInside(ctx, f, t)
	default:
		r, err = lookFromBoth(ctx, f, t)
	}
	if err != nil || other == nil {
		return r, err
	}
	if r, err = check.Join(r, *other); err != nil {
		return r, fmt.Errorf("--with %s: %w", f.with, err)
	}
	return r, nil
}

// lookFromBoth gives each side what --only and --skip say of it.
func lookFromBoth(ctx context.Context, f checkFlags, t *target) (check.Report, error) {
	within, without := f, f
	inside := func(s string) bool { return strings.HasPrefix(s, "inside/") || strings.HasPrefix(s, "host/") }
	outside := func(s string) bool { return !inside(s) }
	within.only, within.skip = slices.DeleteFunc(slices.Clone(f.only), outside), slices.DeleteFunc(slices.Clone(f.skip), outside)
	without.only, without.skip = slices.DeleteFunc(slices.Clone(f.only), inside), slices.DeleteFunc(slices.Clone(f.skip), inside)
	switch {
	case len(f.only) > 0 && len(without.only) == 0:
		return lookFromInside(ctx, within, t)
	case len(f.only) > 0 && len(within.only) == 0:
		return lookFromOutside(ctx, without, t)
	}
	in, err := lookFromInside(ctx, within, t)
	if err != nil {
		return in, err
	}
	out, err := lookFromOutside(ctx, without, t)
	if err != nil {
		return out, err
	}
	if u, err := url.Parse(t.url); err == nil {
		in.Host.Site = u.Hostname() // who gives both says that they are one
	}
	return check.Join(out, in)
}

// lookFromOutside makes the checks that the flags and the target allow.
func lookFromOutside(ctx context.Context, f checkFlags, t *target) (check.Report, error) {
	client, err := probe.New(t.url, probe.Options{TLS: t.tls, Tokens: t.tokens, Refused: t.refused, Account: t.account, Pace: pace(t.policy), MaxRequests: f.maxRequests, Intrusive: f.intrusive})
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
	if t.points == nil { // what a watch has spent, it goes on with
		t.points = r.budget(ctx, t)
	}
	if r.points = t.points; r.points != nil {
		r.warnOfBans(checks)
		r.owe(checks, t.missed)
	}
	r.of = len(checks)
	opts := check.Options{Progress: r.progress}
	if f.intrusive {
		opts.PerCheck = 90 * time.Second
	}
	began := time.Now()
	report := check.Run(ctx, checks, opts)
	r.clear()
	r.sentAll(time.Since(began))
	report.Target, report.Version, report.Requests = t.url, version(), int(client.Sent())
	return report, nil
}

type lookingRun struct {
	client *probe.Client
	flags  checkFlags
	fresh  bool // each check can come from an address of its own

	own    bool
	points *pointsBudget
	owed   map[string]int // points set aside for checks that were left out before
	waited time.Duration  // for points, by checks of one lane

	mu        sync.Mutex
	shut      string // why nothing more is sent
	reserved  int    // requests that checks under way may still send
	sent      int    // those of checks that are done
	done, of  int    // checks
	distrusts bool   // what to do about the certificate has been said

	line bool // something is on the terminal's last line
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
				c.Most, c.Points = 0, 0
				c.Verify = func(context.Context) check.Finding { return check.Unseen("not made: %s", not) }
			} else if c.Verify != nil {
				c.Ready, c.Verify = r.ready(c.Meta), r.mannered(c.Meta, c.Verify)
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
		held := *t.policy
		if r.flags.plainPort != "" {
			held.Edge.Redirect = ":" + r.flags.plainPort
		}
		add("edge", edge.Checks(&held, r.client, now), not)
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
	// Of those that are banned for what they do, the cheap ones come first.
	slices.SortStableFunc(checks, func(a, b check.Check) int {
		switch {
		case a.Spends != b.Spends && a.Spends:
			return 1
		case a.Spends != b.Spends:
			return -1
		case r.client.Loopback():
			return 0
		}
		return a.Points - b.Points
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
			return nil, fmt.Errorf("--skip %s: there is no such check here%s", id, meant(id, checks))
		}
		for i := range checks {
			if names(id, checks[i].ID) {
				checks[i].Inside, checks[i].Lane, checks[i].Ready = "", "", nil
				checks[i].Most, checks[i].Points = 0, 0
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
			return nil, fmt.Errorf("--only %s: there is no such check here%s", s, meant(s, checks))
		}
	}
	return slices.DeleteFunc(checks, func(c check.Check) bool {
		return !slices.ContainsFunc(only, func(s string) bool { return names(s, c.ID) })
	}), nil
}

// meant says which check a name was meant for, or with what those of its ring are made.
func meant(s string, checks []check.Check) string {
	ring, noun, slash := strings.Cut(s, "/")
	var ids, rings []string
	for _, c := range checks {
		if !slash && strings.HasSuffix(c.ID, "/"+s) {
			return ": did you mean " + c.ID + "?"
		}
		of, _, _ := strings.Cut(c.ID, "/")
		ids, rings = append(ids, c.ID), append(rings, of+"/")
	}
	if with := madeWith[ring]; with != "" && !slices.Contains(rings, ring+"/") {
		return ": those of " + ring + "/ are made " + with
	}
	if !slash || noun == "" {
		ids = rings
	}
	if near := policy.Nearest(s, ids); near != "" {
		return ": did you mean " + near + "?"
	}
	return ""
}

// madeWith is what the checks of a ring ask for.
var madeWith = map[string]string{"app": "with a policy, --policy FILE", "edge": "with a policy, --policy FILE", "identity": "with a policy, --policy FILE",
	"host": "on the server, with --inside", "inside": "on the server, with --inside", "outside": "of a URL"}

func names(s, id string) bool {
	return s == id || strings.HasSuffix(s, "/") && strings.HasPrefix(id, s)
}

// impatience is how long a check may have taken that is tried a second time.
const impatience = 5 * time.Second

// ready holds a check back while the target asks to be left alone, while it would
// bring this address too near to a ban, and where requests might not last for it.
func (r *lookingRun) ready(m check.Meta) func(context.Context) error {
	return func(ctx context.Context) error {
		r.mu.Lock()
		shut := r.shut
		r.mu.Unlock()
		if shut != "" {
			return errors.New(shut)
		}
		if wait := r.client.Held(); wait > r.patience() {
			return spent("the target asks to be left alone for %v (Retry-After); check again then", wait.Round(time.Second))
		} else if wait > 0 && !r.fresh {
			r.tell("%s waits %v, as the target asks (Retry-After)", m.ID, wait.Round(time.Second))
			if err := probe.Pause(ctx, wait); err != nil {
				return err
			}
		}
		if err := r.afford(ctx, m.ID, m.Points); err != nil {
			return err
		}
		took := time.Now()
		if err := r.reserve(ctx, m); err != nil {
			r.points.giveBack(ctx, m.Points, took, time.Now()) // nothing of it is sent
			return err
		}
		return nil
	}
}

// reserve sets aside the requests that a check may send. While checks beside it
// hold what it needs, it waits for what they leave.
func (r *lookingRun) reserve(ctx context.Context, m check.Meta) error {
	for {
		r.mu.Lock()
		left, busy := r.client.MaxRequests()-r.sent-r.reserved, r.reserved > 0
		if m.Most <= left {
			r.reserved += m.Most
			r.mu.Unlock()
			return nil
		}
		r.mu.Unlock()
		switch {
		case busy:
		case m.Most > r.client.MaxRequests():
			return spent("it sends up to %d requests, more than all that may be sent; to make it: --max-requests %d", m.Most, m.Most)
		default:
			return spent("it sends up to %d requests, and of %d (--max-requests) %d are left; to make it alone: --only %s", m.Most, r.client.MaxRequests(), left, m.ID)
		}
		if err := probe.Pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// again sets aside what a second try may send, if that much is left.
func (r *lookingRun) again(m check.Meta) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.Most > r.client.MaxRequests()-r.sent-r.reserved {
		return false
	}
	r.reserved += m.Most
	return true
}

// over gives back what a try did not send.
func (r *lookingRun) over(m check.Meta, sent int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reserved -= m.Most
	r.sent += sent
}

// mannered keeps a check's evidence, and sends nothing more once the target has
// shut this address out.
func (r *lookingRun) mannered(m check.Meta, verify func(context.Context) check.Finding) func(context.Context) check.Finding {
	try := func(ctx context.Context) (check.Finding, *probe.Log, *probe.Tally) {
		took, log, sum := time.Now(), new(probe.Log), new(earned)
		tally := &probe.Tally{Heard: sum.hear}
		defer func() {
			r.over(m, tally.Sent())
			r.points.giveBack(ctx, m.Points-sum.of(m.Points, tally.Sent()), took, time.Now())
		}()
		f := verify(probe.WithTally(probe.WithLog(ctx, log), tally))
		f.Addresses = tally.Addresses()
		return f, log, tally
	}
	return func(ctx context.Context) check.Finding {
		began := time.Now()
		f, log, tally := try(ctx)
		if f.Verdict == check.Unknown && !f.Moot && r.fresh && len(log.Exchanges()) > 0 && time.Since(began) < impatience && ctx.Err() == nil && r.again(m) {
			// A machine under load misses a moment that it would see the next time. The
			// second try comes from another address, so that nothing is held against it.
			f, log, tally = try(ctx)
		}
		if lost := tally.Lost(); f.Verdict == check.Pass && lost != nil {
			f = r.confirm(ctx, f, lost)
		}
		f = undisturbed(m, f, tally)
		if f.Verdict == check.Unknown && tally.Untrusted() != nil {
			f.Fix = r.trustFirst(f.Fix)
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

// trustFirst is what to type where a certificate is not believed: it is said once,
// for all that could not be seen for it.
func (r *lookingRun) trustFirst(fix string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.distrusts || fix != "" {
		return fix
	}
	r.distrusts = true
	return "if an authority of your own signed that certificate: --cacert AUTHORITY.pem; else get one that clients trust"
}

// undisturbed lets a verdict stand unless what stands before the API answered in its
// place. A limit, or a proxy whose API is down, refuses what must be refused, and all
// else: where it gave all answers, nothing passes, and nothing fails but for what an
// answer shows by itself. The rings' own proofs and the checks of limits are made to
// meet it; of others one such answer is enough for them not to pass. So is 403 to all
// that was asked for: it is how a firewall of the web's shuts an address out.
func undisturbed(m check.Meta, f check.Finding, t *probe.Tally) check.Finding {
	status, broken := t.Broken()
	switch {
	case f.Verdict == check.Fail && broken && !f.Shown:
		return check.Unseen("every answer was %d, by a limit, or in the API's place, or of one that is broken: nothing is known of what it does else (%s)", status, f.Got)
	case f.Verdict != check.Pass:
		return f
	case broken:
	case !strings.HasPrefix(m.ID, "outside/"), m.ID == "outside/app-rate", m.ID == "outside/burst", m.ID == "outside/client-address":
		return f
	case t.Only(http.StatusForbidden) && m.ID != "outside/http2":
		f.Verdict, f.Got = check.Unknown, "every answer was 403, to ordinary requests, too: this address may be shut out, or all of it asks for a token; name a path in the URL that is served ("+f.Got+")"
		return f
	default:
		var held bool
		if status, held = t.Held(); !held {
			return f
		}
	}
	f.Verdict, f.Got = check.Unknown, fmt.Sprintf("a request was answered %d, by a limit or in the API's place, which tells nothing of what the API does (%s)", status, f.Got)
	return f
}

// confirm lets a check pass that had no answer to a request only when the target
// answers an ordinary one now: who is down, or has banned this address, refuses all.
func (r *lookingRun) confirm(ctx context.Context, f check.Finding, lost error) check.Finding {
	if errors.Is(lost, probe.ErrNoRequests) {
		return check.Unseen("not made to its end: the requests were spent (--max-requests)")
	}
	switch res, err := r.ask(ctx); {
	case err != nil:
		f.Verdict, f.Got = check.Unknown, fmt.Sprintf("a request was not answered (%v), and an ordinary one after it was not either (%v): nothing says that it was refused", lost, err)
	case res.InItsPlace():
		f.Verdict, f.Got = check.Unknown, fmt.Sprintf("a request was not answered (%v), and an ordinary one after it %s: nothing says that it was refused", lost, res.Line())
	}
	return f
}

// ask sends a request that belongs to no check.
func (r *lookingRun) ask(ctx context.Context) (*probe.Response, error) {
	r.mu.Lock()
	r.sent++
	r.mu.Unlock()
	return r.client.Do(ctx, probe.Request{})
}

// stillWelcome asks for an ordinary page after a check that saw nothing. A target
// that does not answer has banned this address, is down, or is too slow to be
// judged: whatever it is, more of the same would make it worse.
func (r *lookingRun) stillWelcome(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	_, err := r.ask(context.WithoutCancel(ctx))
	if err == nil || errors.Is(err, probe.ErrNoRequests) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shut = fmt.Sprintf("after %d requests the target does not answer this address any more (%v)", r.client.Sent(), err)
}

// announce says how much may be sent, before anything is: no more than the checks say
// of themselves, and with what follows where nothing is seen at first. Most send less.
func (r *lookingRun) announce(t *target, checks []check.Check) {
	n, once, most := 0, 0, 0
	for _, c := range checks {
		if c.Inside == "" {
			n++
			once += c.Most
			switch {
			case c.Most == 0:
			case r.fresh:
				most += 2 * c.Most // it is tried a second time
			default:
				most += c.Most + 1 // it is looked whether the target still answers
			}
		}
	}
	many := "checks"
	if n == 1 {
		many = "check"
	}
	limit, more := r.client.MaxRequests(), ""
	switch {
	case once > limit:
		more = fmt.Sprintf(" (%d in the worst case: what might not fit then is not made, and says so)", once)
	case most > once && once < limit:
		more = fmt.Sprintf(", or %d with second looks", min(most, limit))
	}
	fmt.Fprintf(os.Stderr, "%d %s of %s: at most %d requests%s\n", n, many, t.url, min(once, limit), more)
}

// sentAll says what became of what was announced.
func (r *lookingRun) sentAll(took time.Duration) {
	fmt.Fprintf(os.Stderr, "sent %s in %.1f s\n", count(int(r.client.Sent()), "request"), took.Seconds())
}

// warnOfBans says first that not all checks will be made at once.
func (r *lookingRun) warnOfBans(checks []check.Check) {
	all := 0
	for _, c := range checks {
		all += c.Points
	}
	if most := int(spendable * float64(r.points.threshold)); all > most {
		r.note("the proofs are attacks, of up to %d points in all, and the site's edge bans an address at %d. Those with which this one would come to more than %d wait, for %v in all (more with a longer --timeout), or are not made. To make all: %s",
			all, r.points.threshold, most, r.patience(), spareFirst)
	}
}

// note says something before the checks.
func (r *lookingRun) note(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s "+format+"\n", append([]any{paint(os.Stderr, "33;1", "note:")}, args...)...)
}

// progress shows on a terminal how far the checks are.
func (r *lookingRun) progress(res check.Result) {
	r.mu.Lock()
	r.done++
	r.mu.Unlock()
	r.tell("%s  %.40s", res.Verdict, res.ID)
}

// tell writes the terminal's last line anew.
func (r *lookingRun) tell(format string, args ...any) {
	if !colors(os.Stderr) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.line = true
	fmt.Fprintf(os.Stderr, "\r\x1b[K%d of %d  "+format, append([]any{r.done, r.of}, args...)...)
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
