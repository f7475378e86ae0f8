package hostexec

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Rollback undoes the last run of changes, confirmed or not, and returns it;
// nil when there is none.
func (m *Machine) Rollback(why string) (*Apply, error) {
	a, err := m.Last()
	if err != nil {
		return nil, err
	}
	if a == nil {
		return nil, m.disarm()
	}
	if !a.confirmed {
		return a, m.undoAll(a, why)
	}
	// No timer waits any more, and the end of the machine is not to leave it half undone.
	const window = 5 * time.Minute
	_ = m.arm(window)
	stop := heartbeat(window, m.rearm)
	err = m.undoAll(a, why)
	stop()
	if err != nil { // it is the owner's to correct, who sits before it
		err = errors.Join(err, m.disarm())
	}
	return a, err
}

// RollbackHalf undoes the last run when its process ended in the middle, and returns
// it; nil when there is nothing like it.
func (m *Machine) RollbackHalf() (*Apply, error) {
	a, err := m.Last()
	if err != nil || a == nil || a.Phase != Applying {
		return nil, err
	}
	return m.Rollback("it was cut short")
}

// Unattended undoes the last run unless it is confirmed, as the timer does.
func (m *Machine) Unattended() (*Apply, error) {
	a, err := m.Last()
	if err != nil {
		return nil, err
	}
	if a == nil || a.Phase == Confirmed {
		return nil, m.disarm()
	}
	return a, m.undoAll(a, "it was not confirmed in time")
}

// undoAll undoes every step that was begun, the last one first, and goes on
// when one cannot be undone. The journal is of no importance then: with a full
// disk, all would only be undone twice.
func (m *Machine) undoAll(a *Apply, why string) error {
	m.giveRoom()
	_ = a.write(record{Event: undoing})
	var errs []error
	for i, s := range slices.Backward(a.Steps) {
		if s.Undone {
			continue
		}
		m.tell("undo: " + s.Change.Title)
		if err := a.undo(s); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.Change.Title, err))
			continue
		}
		_ = a.write(record{Event: undid, Step: i + 1})
	}
	if err := again(run, a.Steps); err != nil {
		errs = append(errs, err)
	}
	a.clear() // now that who writes it has ended
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if a.confirmed {
		if err := m.forgetWaysIn(); err != nil {
			return err
		}
	}
	if err := a.write(record{Event: undone, Why: why}); err != nil {
		return err
	}
	return m.disarm()
}

// Confirm makes the last run of changes last. session is when the owner's SSH
// session began; nil: he sits at the console.
func (m *Machine) Confirm(session *Moment) (*Apply, error) {
	a, err := m.Last()
	switch {
	case err != nil:
		return nil, err
	case a == nil:
		return nil, fmt.Errorf("there is %w", ErrNothing)
	case a.Phase == Confirmed:
		return nil, fmt.Errorf("the last change is confirmed already, and there is %w", ErrNothing)
	case a.Phase == Applying:
		return nil, fmt.Errorf("%w, and cannot be confirmed", ErrCutShort)
	}
	if session != nil && session.Boot == a.Ended.Boot && session.Since <= a.Ended.Since {
		return nil, fmt.Errorf("this SSH session began %s before the change ended, and shows nothing about a new one", (a.Ended.Since - session.Since).Round(time.Second))
	}
	if err := a.write(record{Event: confirmed}); err != nil {
		return nil, err
	}
	return a, m.disarm()
}
