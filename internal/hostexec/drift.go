package hostexec

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ringwall/ringwall/host"
)

// A Drift is something that was set and is no longer as it was set.
type Drift struct {
	Control string `json:"control"`
	What    string `json:"what"`
	Path    string `json:"path,omitempty"`
}

// Drift compares everything that is confirmed with the machine as it is.
func (m *Machine) Drift() ([]Drift, error) {
	all, err := m.Applies()
	if err != nil {
		return nil, err
	}
	type set struct {
		control, sum string
		file         *host.File
	}
	sets, units := map[string]set{}, map[string]host.Change{}
	for _, a := range all {
		if a.Phase != Confirmed {
			continue
		}
		for _, s := range a.Steps {
			for path, sum := range s.after.Sums {
				sets[path] = set{s.Change.Control, sum, s.Change.File}
			}
			if u := s.Change.Unit; u != nil && u.Do != host.Reload && u.Do != host.Restart {
				units[u.Name] = s.Change
			}
		}
	}
	var out []Drift
	for _, path := range slices.Sorted(maps.Keys(sets)) {
		s := sets[path]
		now, err := host.Live{}.ReadFile(path)
		switch {
		case err != nil:
			out = append(out, Drift{s.control, fmt.Sprintf("%s cannot be read: %v", path, err), path})
		case s.file == nil && sumOf(path) != s.sum, s.file != nil && !now.Exists && !s.file.Absent:
			what := path + " was changed"
			if !now.Exists {
				what = path + " is gone"
			}
			out = append(out, Drift{s.control, what, path})
		case s.file != nil && !s.file.Matches(now):
			what := path + " was changed"
			if s.file.Content == now.Content {
				what = fmt.Sprintf("%s is now %s of %s", path, now.Mode.Perm(), now.Owner)
			}
			out = append(out, Drift{s.control, what, path})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(units)) {
		active, enabled, err := unitState(run, name)
		if err != nil {
			return out, err
		}
		want := units[name].Unit.Do
		if want == host.Enable && (active != "active" || enabled == "disabled") || want == host.Mask && enabled != "masked" || want == host.Disable && (active == "active" || enabled == "enabled") {
			out = append(out, Drift{Control: units[name].Control, What: fmt.Sprintf("%s is %s and %s", name, active, enabled)})
		}
	}
	return out, nil
}

// judgeDrift refuses a plan that would overwrite a hand's work.
func (m *Machine) judgeDrift(changes []host.Change, o Options) error {
	if o.Overwrite {
		return nil
	}
	drift, err := m.Drift()
	if err != nil {
		return err
	}
	var found []string
	for _, d := range drift {
		for _, c := range changes {
			if slices.Contains(paths(c), d.Path) && !slices.Contains(found, d.What) {
				found = append(found, d.What)
			}
		}
	}
	if len(found) > 0 {
		return fmt.Errorf("%w: %s; take the change into the policy, or overwrite it", ErrDrift, strings.Join(found, "; "))
	}
	return nil
}
