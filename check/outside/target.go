package outside

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
)

// A Target is the server that is looked at, and what was learnt of it. Make it
// with NewTarget; it is for one run.
type Target struct {
	Client *probe.Client

	Site      string // the host name that clients use; "": the URL's
	PlainPort string // where plain HTTP would be served; "": 80
	SSHPort   string // "": 22

	// Ports are looked at beside those of the web; nil: those where APIs and
	// databases listen by default.
	Ports []int

	// Lookup finds the host's addresses; nil: the system's resolver.
	Lookup func(ctx context.Context, host string) ([]net.IP, error)

	learnt *learnt
}

// learnt is what the checks of one run share.
type learnt struct {
	samples memo[[]sample]
	guarded memo[*guardedPath]
	entry   memo[*entry]
}

// NewTarget is the server that c reaches.
func NewTarget(c *probe.Client) *Target { return &Target{Client: c, learnt: new(learnt)} }

// Through is the same target, reached by another client: what was learnt of it
// is shared.
func (t *Target) Through(c *probe.Client) *Target {
	other := *t
	other.Client = c
	return &other
}

// memo keeps what one check learnt for the next. What was not learnt is tried
// again.
type memo[T any] struct {
	mu   sync.Mutex
	done bool
	v    T
	ex   []check.Exchange
	of   *probe.Tally
}

// get learns once. Whoever uses what was learnt shows how it was.
func (m *memo[T]) get(ctx context.Context, learn func(context.Context) (T, error)) (T, []check.Exchange, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.done {
		probe.Told(ctx, m.of)
		return m.v, m.ex, nil
	}
	log, tally := new(probe.Log), new(probe.Tally)
	v, err := learn(probe.WithTally(probe.WithLog(ctx, log), tally))
	if err == nil {
		m.v, m.done, m.of = v, true, tally
		for _, e := range log.Exchanges() {
			m.ex = append(m.ex, check.Exchange(e))
		}
	}
	return v, m.ex, err
}

func (t *Target) site() string {
	if t.Site != "" {
		return t.Site
	}
	return t.Client.Base().Hostname()
}

// base is the path that the user gave, as a request target.
func (t *Target) base() string { return t.Client.Base().RequestURI() }

// A sample is an ordinary answer, or an ordinary error.
type sample struct {
	asked string
	res   *probe.Response
}

// ask gets the answers that headers are judged by: what the user named, a page
// that is not there, and a request line that a proxy refuses by itself, for
// servers often forget their headers on errors (blueprint E7).
func (t *Target) ask(ctx context.Context) ([]sample, []check.Exchange, error) {
	return t.learnt.samples.get(ctx, func(ctx context.Context) (out []sample, err error) {
		for _, target := range []string{t.base(), "/" + noPage(), "/" + strings.Repeat("a", 20000)} {
			asked := "GET " + target
			if len(target) > 1000 {
				asked = "GET with a path of 20,000 letters"
			}
			res, err := t.Client.Do(ctx, probe.Request{Target: target, Token: t.Client.Token("")})
			if err != nil {
				if len(target) > 1000 && !errors.Is(err, context.Canceled) { // closed: there is no answer to judge
					continue
				}
				return nil, fmt.Errorf("no answer to %s: %w", asked, err)
			}
			out = append(out, sample{fmt.Sprintf("%s, answered %d", asked, res.Status), res})
		}
		return out, nil
	})
}

// noPage is a path that nobody serves.
func noPage() string { return "ringwall-check-" + strings.ToLower(rand.Text()[:8]) }

// judge holds every sample against a rule, which says what is wrong with one, ""
// for nothing.
func (t *Target) judge(ctx context.Context, want, fix string, wrong func(*probe.Response) string) check.Finding {
	samples, evidence, err := t.ask(ctx)
	if err != nil {
		return check.Unseen("%v", err)
	}
	f := check.Passed("right on %d answers: %s", len(samples), statuses(samples))
	for _, s := range samples {
		if what := wrong(s.res); what != "" {
			f = check.Shown(what+" ("+s.asked+")", want, fix)
			break
		}
	}
	f.Evidence = evidence
	return f
}

func statuses(samples []sample) string {
	var out []string
	for _, s := range samples {
		out = append(out, fmt.Sprint(s.res.Status))
	}
	return strings.Join(out, ", ")
}

// headerValue shows a header as it came, for evidence.
func headerValue(name string, values []string) string {
	if len(values) == 0 {
		return "no " + name
	}
	return fmt.Sprintf("%s: %.150s", name, strings.Join(values, " | "))
}

// unanswered is the finding of a request that nobody answered.
func unanswered(asked string, err error) check.Finding {
	return check.Unseen("no answer to %s: %v", asked, err)
}

// local reports whether the target is this machine.
func (t *Target) local() bool { return t.Client.Loopback() }
