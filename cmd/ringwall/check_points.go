package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/internal/state"
	"github.com/ringwall/ringwall/policy"
)

// A pointsBudget keeps the proofs of attacks from earning this address a ban by
// the edge of the site. It counts as the edge does, in points of which half are
// forgotten every 5 minutes, and spends four fifths of what an address is banned
// for. Nil has no bound.
type pointsBudget struct {
	threshold int // where the edge bans
	host      string
	dir       state.Dir // "": what is spent is forgotten with the process

	mu    sync.Mutex
	spent float64
	at    time.Time
	stuck bool // another process did not let the file go
}

const (
	pointsFile = "check-points.json"
	pointsLock = "check-points.lock"

	// spendable leaves room for what this address does meanwhile besides, and for
	// points that the edge counts some seconds later than they are spent here.
	spendable = 0.8

	// lockPatience is how long another process may keep the file, which it needs for
	// milliseconds.
	lockPatience = 5 * time.Second
)

// spentPoints is what an earlier check left behind, by host.
type spentPoints map[string]struct {
	Points float64   `json:"points"`
	At     time.Time `json:"at"`
}

// newPointsBudget goes on where the last check of the host from this machine stood.
func newPointsBudget(ctx context.Context, host string, threshold int, dir state.Dir, now time.Time) (*pointsBudget, error) {
	b := &pointsBudget{threshold: threshold, host: strings.ToLower(host), dir: dir, at: now}
	unlock, err := b.lock(ctx)
	if err != nil {
		return b, err
	}
	defer unlock()
	all, err := b.read()
	if err == nil {
		b.join(all, now)
		err = b.keep(now)
	}
	return b, err
}

// join takes over what another check of the host has spent meanwhile. A clock that
// was set back gives nothing back.
func (b *pointsBudget) join(all spentPoints, now time.Time) {
	was := all[b.host]
	if was.At.After(now) {
		was.At = now
	}
	if then := decayed(was.Points, now.Sub(was.At)); then > b.left(now) {
		b.spent, b.at = then, now
	}
}

func (b *pointsBudget) read() (all spentPoints, err error) {
	if b.dir == "" {
		return nil, errors.New("there is no state directory")
	}
	text, err := os.ReadFile(b.dir.Path(pointsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		if err = json.Unmarshal(text, &all); err != nil {
			err = fmt.Errorf("%s is damaged, and is begun anew: %w", b.dir.Path(pointsFile), err)
		}
	}
	return all, err
}

// lock keeps other processes from the file until unlock is called. One that does not let
// it go, such as a check that was stopped, is waited for once, and no longer than ctx.
// Where there can be no lock two may spend the same points: that is no reason to look
// at nothing.
func (b *pointsBudget) lock(ctx context.Context) (unlock func(), err error) {
	if b.dir == "" {
		return func() {}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	for {
		unlock, err := b.dir.TryLock(pointsLock)
		switch {
		case err == nil:
			b.stuck = false
			return unlock, nil
		case !errors.Is(err, state.ErrLocked):
			return func() {}, nil
		case b.stuck || probe.Pause(ctx, 10*time.Millisecond) != nil:
			b.stuck = true
			return nil, fmt.Errorf("another process keeps what earlier checks have spent, and does not let go: look for it with fuser -v %s", shellWord(b.dir.Path(pointsLock)))
		}
	}
}

// take spends points and leaves others, or says for how long they cannot be spent;
// never is true when they are more than there can ever be. An error says why nobody
// knows how many are left.
func (b *pointsBudget) take(ctx context.Context, points, others int, now time.Time) (wait time.Duration, never bool, err error) {
	if b == nil || points == 0 {
		return 0, false, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	most := spendable * float64(b.threshold)
	if float64(points) > most {
		return 0, true, nil
	}
	unlock, err := b.lock(ctx)
	if err != nil {
		return 0, false, err
	}
	defer unlock()
	if all, err := b.read(); err == nil {
		b.join(all, now)
	}
	left := b.left(now)
	if want := float64(points + others); want > most {
		return untilOthers, false, nil
	} else if left+want > most {
		over := left / max(most-want, 1e-3)
		return time.Duration(float64(edge.PointsHalf)*math.Log2(over)).Truncate(time.Second) + time.Second, false, nil
	}
	b.spent, b.at = left+float64(points), now
	_ = b.keep(now) // that it cannot be kept was said at the begin
	return 0, false, nil
}

// untilOthers is longer than anybody waits: what is held for other checks is free once
// these have been made, and in one lane they come after.
const untilOthers = time.Duration(math.MaxInt64)

// giveBack takes points back that were taken at a time and not earned, also when ctx is
// over. While another process does not let the file go they stay spent.
func (b *pointsBudget) giveBack(ctx context.Context, points int, then, now time.Time) {
	if b == nil || points <= 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	unlock, err := b.lock(ctx)
	if err != nil {
		return
	}
	defer unlock()
	if all, err := b.read(); err == nil {
		b.join(all, now)
	}
	b.spent, b.at = max(0, b.left(now)-decayed(float64(points), now.Sub(then))), now
	_ = b.keep(now)
}

// left is what the edge has not forgotten yet.
func (b *pointsBudget) left(now time.Time) float64 {
	return decayed(b.spent, now.Sub(b.at))
}

func decayed(points float64, d time.Duration) float64 {
	return points * math.Exp2(-float64(max(d, 0))/float64(edge.PointsHalf))
}

// keep writes down what is spent, for the next check. What an hour has gone over
// is forgotten.
func (b *pointsBudget) keep(now time.Time) error {
	if b.dir == "" {
		return nil
	}
	all, err := b.read()
	if err != nil || all == nil {
		all = spentPoints{}
	}
	for host, was := range all {
		if now.Sub(was.At) > time.Hour {
			delete(all, host)
		}
	}
	all[b.host] = struct {
		Points float64   `json:"points"`
		At     time.Time `json:"at"`
	}{b.spent, b.at}
	text, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return b.dir.Write(pointsFile, text, 0o600)
}

// budget is how much of a ban the checks may earn; nil: as much as they like.
// Nobody is banned on the server itself, nor while the policy waives it. Of a host
// without a policy it is asked whether Ringwall is in front of it.
func (r *lookingRun) budget(ctx context.Context, t *target) *pointsBudget {
	if r.flags.spared || !r.own || r.client.Loopback() {
		return nil
	}
	threshold := t.policy.Edge.Bans.Threshold
	if w, waived := t.policy.Waived("edge/bans"); t.held && waived && !w.Expired(time.Now()) {
		return nil
	}
	if !t.held {
		r.sent++
		if !behindRingwall(ctx, r.client) {
			return nil
		}
		threshold = policy.Default().Edge.Bans.Threshold // no policy has less
	}
	dir, err := openState()
	var b *pointsBudget
	if err == nil {
		b, err = newPointsBudget(ctx, r.client.Base().Hostname(), threshold, dir, time.Now())
	} else {
		b, _ = newPointsBudget(ctx, r.client.Base().Hostname(), threshold, "", time.Now())
	}
	switch {
	case b.stuck:
		r.note("%v; checks that could earn this address a ban are not made", err)
	case err != nil:
		r.note("nobody keeps what this check earns towards a ban of this address (%v): wait for 15 minutes before the next one", err)
	}
	return b
}

// behindRingwall asks as a browser for a page of somebody else's, which weighs
// nothing, and looks whether Ringwall refuses it.
func behindRingwall(ctx context.Context, c *probe.Client) bool {
	res, err := c.Do(ctx, probe.Request{Method: "OPTIONS", Target: "/", Headers: [][2]string{
		{"Origin", "https://ringwall-check.invalid"}, {"Access-Control-Request-Method", "GET"}}})
	if err != nil || res.Header.Get("Content-Type") != "application/problem+json" {
		return false
	}
	var problem struct {
		ID string `json:"request_id"`
	}
	return json.Unmarshal(res.Body, &problem) == nil && len(problem.ID) == 32 && problem.ID == res.Header.Get("X-Request-Id")
}

// owe sets points aside for the checks that were left out the last times, as many as
// there can be, those that wait for longest first: else the cheap ones would be made
// each time, and the others never.
func (r *lookingRun) owe(checks []check.Check, missed map[string]int) {
	r.owed = map[string]int{}
	if r.points == nil {
		return
	}
	left := int(spendable * float64(r.points.threshold))
	list := slices.DeleteFunc(slices.Clone(checks), func(c check.Check) bool { return missed[c.ID] == 0 || c.Points == 0 || c.Points > left })
	slices.SortStableFunc(list, func(a, b check.Check) int {
		return cmp.Or(missed[b.ID]-missed[a.ID], a.Points-b.Points)
	})
	for _, c := range list {
		if c.Points <= left {
			r.owed[c.ID] = c.Points
			left -= c.Points
		}
	}
}

// patience is how long a check waits for a target that asked to be left alone, and
// all of them for points: a fifth of --timeout, or what it gives besides the time that
// the checks themselves need.
func (r *lookingRun) patience() time.Duration {
	const checks = 4 * time.Minute
	return max(r.flags.timeout/5, r.flags.timeout-checks)
}

func spent(format string, args ...any) error { return check.Spent(fmt.Sprintf(format, args...)) }

// afford waits until the points of a check may be spent, for as long as the patience
// of the run lasts.
func (r *lookingRun) afford(ctx context.Context, id string, points int) error {
	others := 0
	if _, mine := r.owed[id]; mine {
		delete(r.owed, id)
	} else {
		for _, p := range r.owed {
			others += p
		}
	}
	for {
		wait, never, err := r.points.take(ctx, points, others, time.Now())
		switch {
		case err != nil && ctx.Err() == nil:
			return spent("it can earn this address %d points towards a ban, and nobody knows how many are spent: %v", points, err)
		case err != nil:
			return err
		case never:
			return spent("it can earn this address %d points, and the site's edge bans it at %d: %s", points, r.points.threshold, spareFirst)
		case wait > r.patience()-r.waited:
			return spent("it can earn this address %d points, which with those of other checks is too near to the %d at which the site's edge bans: give it more time, as with --timeout 1h; or in %[4]d minutes make it alone, with --only %[5]s; or %[3]s",
				points, r.points.threshold, spareFirst, int(math.Ceil(min(wait, time.Hour).Minutes())), id)
		case wait == 0:
			return nil
		}
		r.tell("%s waits %v, so that the site's edge does not ban this address", id, wait)
		r.waited += wait
		if err := probe.Pause(ctx, wait); err != nil {
			return err
		}
	}
}

const spareFirst = "on the server type `ringwall ban spare ADDRESS --for 10m`, with the address that this machine is seen under, then check with --spared"
