package host

import (
	"errors"
	"strings"
)

// Installed reports whether a Debian package is installed.
func (f *Facts) Installed(name string) (bool, error) {
	said, err := f.ask(askPackage, name)
	var no *Refusal
	if errors.As(err, &no) && no.Code == 1 {
		return false, nil // it was never heard of
	}
	return strings.HasPrefix(said, "installed "), err
}

// install returns the change that installs what is missing of packages.
func (f *Facts) install(names ...string) ([]Change, error) {
	var missing []string
	for _, name := range names {
		there, err := f.Installed(name)
		if err != nil {
			return nil, err
		}
		if !there {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil, nil
	}
	return []Change{{Title: "install " + strings.Join(missing, ", "), Early: true, Package: &Package{Names: missing}}}, nil
}

// UnitState is a unit as systemd has it.
type UnitState struct {
	Load    string // loaded, masked or not-found
	Active  string // active, inactive, failed or on its way
	Enabled string // enabled, disabled, static, masked, ...; "" when it is not there
}

// Running reports an active unit.
func (u UnitState) Running() bool { return u.Active == "active" }

// Stays reports a unit that is there again after the next start of the machine, as far
// as its own state says: a static one is started by others.
func (u UnitState) Stays() bool {
	return u.Enabled != "" && u.Enabled != "disabled" && u.Enabled != "masked" && u.Enabled != "bad" && !strings.HasPrefix(u.Enabled, "linked") && !strings.HasSuffix(u.Enabled, "-runtime")
}

// Unit is a unit as systemd has it now.
func (f *Facts) Unit(name string) (UnitState, error) {
	p, err := f.UnitProperties(name, "LoadState", "ActiveState", "UnitFileState")
	return UnitState{Load: p["LoadState"], Active: p["ActiveState"], Enabled: p["UnitFileState"]}, err
}

// UnitProperties are properties of a unit by name, as systemctl show has them.
func (f *Facts) UnitProperties(name string, properties ...string) (map[string]string, error) {
	said, err := f.ask(askUnit, "--property="+strings.Join(properties, ","), "--", name)
	if err != nil {
		return nil, err
	}
	return readProperties(said), nil
}

func readProperties(said string) map[string]string {
	values := map[string]string{}
	for line := range strings.Lines(said) {
		if key, value, ok := strings.Cut(strings.TrimRight(line, "\n"), "="); ok {
			values[key] = strings.TrimSpace(values[key] + " " + value) // some stand on several lines
		}
	}
	return values
}

// enable returns the change that has a unit enabled and running.
func (f *Facts) enable(name string) ([]Change, error) {
	u, err := f.Unit(name)
	if err != nil || u.Running() && u.Stays() {
		return nil, err
	}
	return []Change{{Title: "enable and start " + name, Unit: &Unit{Name: name, Do: Enable}}}, nil
}
