package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"strings"
	"sync"
	"time"

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
}

const (
	pointsFile = "check-points.json"

	// spendable leaves room for what this address does meanwhile besides, and for
	// points that the edge counts some seconds later than they are spent here.
	spendable = 0.8
)

// spentPoints is what an earlier check left behind, by host.
type spentPoints map[string]struct {
	Points float64   `json:"points"`
	At     time.Time `json:"at"`
}

// newPointsBudget goes on where the last check of the host from this machine stood.
func newPointsBudget(host string, threshold int, dir state.Dir, now time.Time) (*pointsBudget, error) {
	b := &pointsBudget{threshold: threshold, host: strings.ToLower(host), dir: dir, at: now}
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
		err = json.Unmarshal(text, &all)
	}
	return all, err
}

// take spends points, or says for how long they cannot be spent; never is true when
// they are more than there can ever be.
func (b *pointsBudget) take(points int, now time.Time) (wait time.Duration, never bool) {
	if b == nil || points == 0 {
		return 0, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	most := spendable * float64(b.threshold)
	if float64(points) > most {
		return 0, true
	}
	if all, err := b.read(); err == nil {
		b.join(all, now)
	}
	left := b.left(now)
	if left+float64(points) > most {
		over := left / max(most-float64(points), 1e-3)
		return time.Duration(float64(edge.PointsHalf)*math.Log2(over)).Truncate(time.Second) + time.Second, false
	}
	b.spent, b.at = left+float64(points), now
	_ = b.keep(now) // that it cannot be kept was said at the begin
	return 0, false
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
		b, err = newPointsBudget(r.client.Base().Hostname(), threshold, dir, time.Now())
	} else {
		b, _ = newPointsBudget(r.client.Base().Hostname(), threshold, "", time.Now())
	}
	if err != nil {
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

// afford waits until the points of a check may be spent. All waiting of one run for
// points is a minute at most.
func (r *lookingRun) afford(ctx context.Context, id string, points int) error {
	for {
		wait, never := r.points.take(points, time.Now())
		switch {
		case never:
			return fmt.Errorf("it can earn this address %d points, and the site's edge bans it at %d: %s", points, r.points.threshold, spareFirst)
		case wait > longestWait-r.waited:
			return fmt.Errorf("it can earn this address %d points, which after those of the checks before it is too near to the %d at which the site's edge bans: %s; or in %d minutes make it alone, with --only %s",
				points, r.points.threshold, spareFirst, int(math.Ceil(wait.Minutes())), id)
		case wait == 0:
			return nil
		}
		r.tell("%s waits %v, so that the site's edge does not ban this address", id, wait)
		r.waited += wait
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}

const spareFirst = "on the server type `ringwall ban spare ADDRESS --for 10m`, with the address that this machine is seen under, then check with --spared"

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
