package hostexec

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/host"
	"github.com/ringwall/ringwall/policy"
)

// Options say how a plan is applied.
type Options struct {
	Window    time.Duration // to confirm in
	Overwrite bool          // also what somebody changed by hand
	From      netip.Addr    // where the owner's SSH session comes from; zero: it is not known
}

// soon is when putting back is tried again that did not work at once.
const soon = 10 * time.Second

// settle is how long a service may take to do what it was told.
const settle = 15 * time.Second

// Apply makes the changes of a plan, in its order. It returns nil when all are
// made and seen to be in force: they last if Confirm comes within the window.
// Any error, or the end of ctx, puts everything back at once, and the error
// then wraps ErrRestored; one that does not says what is left to do.
func (m *Machine) Apply(ctx context.Context, p *policy.Policy, changes []host.Change, o Options) error {
	if len(changes) == 0 {
		return nil
	}
	last, err := m.Last()
	if err != nil {
		return err
	}
	switch {
	case last != nil && last.Phase == Applying: // nobody is at it, or we would not have the lock
		return fmt.Errorf("%w: it was begun at %s", ErrCutShort, last.Began.Local().Format(time.TimeOnly))
	case last != nil && last.Phase != Confirmed:
		return fmt.Errorf("%w: it was begun at %s", ErrPending, last.Began.Local().Format(time.TimeOnly))
	}
	if err := m.judgeDrift(changes, o); err != nil {
		return err
	}
	if err := m.makeRoom(); err != nil {
		m.giveRoom()
		return err
	}
	a, err := m.newApply()
	if err != nil {
		m.giveRoom()
		return err
	}
	err = m.arm(o.Window)
	if err == nil {
		stop := heartbeat(o.Window, m.rearm)
		if err = m.steps(ctx, a, p, changes); err == nil {
			m.spare(within(brief), p, o.From, o.Window)
		}
		stop() // what hangs until here takes nothing of the window
	}
	if err == nil {
		err = m.applied(a, o.Window)
	}
	if err == nil {
		return nil
	}
	first, _, _ := strings.Cut(err.Error(), "\n") // all of it is the answer, at the end
	m.tell("that did not work: " + first)
	if undo := m.undoAll(a, err.Error()); undo != nil {
		_ = m.arm(soon) // nobody waits for the end of his window
		return fmt.Errorf("%w\nand not everything could be put back, which is tried again: %w", err, undo)
	}
	return fmt.Errorf("%w\n%w", err, ErrRestored)
}

// applied says that all is done and that the owner's time begins.
func (m *Machine) applied(a *Apply, window time.Duration) error {
	if err := m.rearm(); err != nil {
		return err
	}
	now, err := Now()
	if err != nil {
		return err
	}
	return a.write(record{Event: applied, Moment: &now, Until: time.Now().Add(window).UTC()})
}

// atWork is how long all changes may take: far more than apt needs on a slow mirror. A
// process that hangs, as at a file of a server that does not answer, is then killed.
const atWork = time.Hour

// heartbeat keeps the timer from ending while this process works.
func heartbeat(window time.Duration, rearm func() error) (stop func()) {
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for end := time.Now().Add(atWork); time.Now().Before(end); {
			select {
			case <-quit:
				return
			case <-time.After(window / 3):
				_ = rearm() // then it ends, and everything is put back
			}
		}
	}()
	return func() { close(quit); <-ended }
}

// steps makes the changes. Between those that are early and the others every
// control is asked whether it is ready; and each control is verified after its
// last change.
func (m *Machine) steps(ctx context.Context, a *Apply, p *policy.Policy, changes []host.Change) error {
	lastOf := map[string]int{}
	for i, c := range changes {
		lastOf[c.Control] = i
	}
	closing := false
	for i, c := range changes {
		if !c.Early && !closing {
			closing = true
			if err := m.open(ctx, p, changes, lastOf); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		if err := m.step(a, c, i+1); err != nil {
			return fmt.Errorf("%s: %s: %w", c.Control, c.Title, err)
		}
		if lastOf[c.Control] == i && closing {
			if err := m.verify(ctx, p, c.Control); err != nil {
				return fmt.Errorf("%w%s", err, silent(changes[:i+1], c.Control))
			}
		}
	}
	if !closing {
		if err := m.open(ctx, p, changes, lastOf); err != nil {
			return err
		}
	}
	// What came after the door may have shut it.
	for _, c := range host.Controls() {
		if c.Door {
			if err := m.verify(ctx, p, c.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// silent is what a control's units that should run, and do not, wrote last: a
// program that ends right after its start is no error of systemctl.
func silent(changes []host.Change, control string) (why string) {
	seen := map[string]bool{}
	for _, c := range changes {
		if u := c.Unit; u != nil && c.Control == control && !seen[u.Name] && u.Do != host.Disable && u.Do != host.Mask {
			seen[u.Name] = true
			if active, _, err := unitState(run, u.Name); err == nil && active != "active" {
				why += lastWords(run, u.Name)
			}
		}
	}
	return why
}

// open is what must be so once all that is early is done: controls with no
// other change are in force, and the others are ready.
func (m *Machine) open(ctx context.Context, p *policy.Policy, changes []host.Change, lastOf map[string]int) error {
	for _, c := range host.Controls() {
		i, ok := lastOf[c.ID]
		if !ok {
			continue
		}
		if changes[i].Early {
			if err := m.verify(ctx, p, c.ID); err != nil {
				return err
			}
		}
		if c.Ready != nil {
			if err := c.Ready(p, host.NewFacts(host.Live{})); err != nil {
				return fmt.Errorf("%s: nothing was closed yet: %w", c.ID, err)
			}
		}
	}
	return nil
}

func (m *Machine) step(a *Apply, c host.Change, n int) error {
	m.tell(c.Title)
	b, err := a.look(c, n)
	if err != nil {
		return err
	}
	fault(n, "kept")
	if err := a.write(record{Event: starts, Step: n, Change: &c, Before: &b}); err != nil {
		return err
	}
	fault(n, "begun")
	out, err := do(c, b)
	if err != nil {
		return err
	}
	fault(n, "done")
	err = a.write(record{Event: done, Step: n, After: &out})
	fault(n, "noted")
	return err
}

// verify looks at the machine anew until the control passes, for a while.
func (m *Machine) verify(ctx context.Context, p *policy.Policy, control string) error {
	for deadline := time.Now().Add(settle); ; {
		f, c := host.Verify(control, p, host.NewFacts(host.Live{}), time.Now())
		bad := f.Verdict == check.Fail || c.Door && f.Verdict == check.Unknown
		if f.Verdict == check.Pass || f.Verdict == check.Waived {
			m.tell("  in force: " + f.Got)
			return nil
		}
		if !bad {
			m.tell("  not seen: " + f.Got)
			return nil
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return fmt.Errorf("%s is not in force: %s (%s)", control, f.Got, f.Verdict)
		}
		time.Sleep(200 * time.Millisecond)
	}
}
