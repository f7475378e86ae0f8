package host

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/policy"
)

// Plan is every change that is missing, in the order in which it is safe to
// make them: all that open or add something, then all that close something,
// each in the order of the controls. An empty plan is a server that is right.
// Waived controls are passed over. The errors of all controls are joined, and
// there is then no plan; but for hints, which are told beside it. It reads and does
// not write: it has nothing to write with.
func Plan(p *policy.Policy, f *Facts, now time.Time) (all []Change, hints []string, err error) {
	if err := f.Supported(); err != nil {
		return nil, nil, err
	}
	var early, late []Change
	var errs []error
	for _, c := range controls {
		if w, ok := p.Waived(c.ID); ok && !w.Expired(now) {
			continue
		}
		changes, err := c.Plan(p, f)
		var hint Hint
		switch {
		case errors.As(err, &hint) && !c.Door: // a door that is not as it should be undoes all
			hints = append(hints, c.ID+": "+string(hint))
			continue
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", c.ID, err))
		}
		for _, change := range changes {
			change.Control = c.ID
			if change.Early {
				early = append(early, change)
			} else {
				late = append(late, change)
			}
		}
	}
	all = slices.Concat(early, late)
	errs = append(errs, contested(all))
	if err := errors.Join(errs...); err != nil {
		return nil, nil, err
	}
	return all, hints, nil
}

// A Hint is the error of a control's Plan that stands in the way of that control
// alone, such as a service that does not run: nothing is planned for it, all
// others go on, and its Verify fails until it is heeded.
type Hint string

func (h Hint) Error() string { return string(h) }

// contested is an error when two controls write one file.
func contested(all []Change) error {
	var errs []error
	writer := map[string]string{}
	for _, c := range all {
		if c.File == nil {
			continue
		}
		if other := writer[c.File.Path]; other != "" && other != c.Control {
			errs = append(errs, fmt.Errorf("%s and %s both write %s, and would undo each other's work: this is a mistake in Ringwall", other, c.Control, c.File.Path))
		}
		writer[c.File.Path] = c.Control
	}
	return errors.Join(errs...)
}

// Verify judges one control, by its ID, on facts that are read anew.
func Verify(id string, p *policy.Policy, f *Facts, now time.Time) (check.Finding, Control) {
	i := slices.IndexFunc(controls, func(c Control) bool { return c.ID == id })
	if i < 0 {
		return check.Unseen("there is no control %s", id), Control{}
	}
	return verify(controls[i], p, f, now), controls[i]
}

func verify(c Control, p *policy.Policy, f *Facts, now time.Time) check.Finding {
	if w, ok := p.Waived(c.ID); ok {
		return check.OffUntil(w.Until, w.Reason, w.Control, w.Expired(now))
	}
	if err := f.Supported(); err != nil {
		return check.Unseen("%v", err)
	}
	f, seen := f.watched()
	finding := c.Verify(p, f)
	finding.Evidence = *seen
	return finding
}
