package host

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// seldom is how long at most there may be between two runs of a job of every day: it
// may leave out a weekend.
const seldom = 3 * 24 * time.Hour

// Neglects says why a timer does not start its service day after day, "" when it does,
// or is not there: whether it runs is another question. unsure is what that hangs on
// where it cannot be told.
func (f *Facts) Neglects(timer, service string) (why, unsure string, err error) {
	is, err := f.timer(timer)
	if err != nil || is["LoadState"] == "not-found" || is["LoadState"] == "masked" {
		return "", "", err
	}
	next, running := is["NextElapseUSecRealtime"], is["SubState"] == "running"
	switch {
	case is["LoadState"] != "loaded":
		return timer + " has settings that systemd does not take (" + is["LoadState"] + ")", "", nil
	case is["Unit"] != service:
		return fmt.Sprintf("%s starts %s in the place of %s", timer, is["Unit"], service), "", nil
	case !running && is["ActiveState"] == "active" && next == "" && slices.Contains([]string{"", "0", "infinity"}, is["NextElapseUSecMonotonic"]):
		return timer + " has no time to run at", "", nil
	}
	often, err := f.often(timersOf(is))
	switch {
	case err != nil:
		return "", "", fmt.Errorf("%s: %w", timer, err)
	case !often:
		return fmt.Sprintf("%s lets more than %d days pass between two runs: %s", timer, seldom/(24*time.Hour), strings.TrimSpace(is["TimersCalendar"]+" "+is["TimersMonotonic"])), "", nil
	}
	for _, name := range []string{"RandomizedDelayUSec", "AccuracyUSec"} { // by chance it may wait longer than its calendar says
		d, err := systemdSpan(is[name])
		switch {
		case err != nil:
			return "", "", fmt.Errorf("%s: %w", timer, err)
		case d > 24*time.Hour:
			return fmt.Sprintf("%s may come that much later: %s=%s", timer, name, is[name]), "", nil
		}
	}
	if next != "" && !running { // with what it waits now, by chance
		at, err := time.Parse("Mon 2006-01-02 15:04:05 MST", next)
		if err != nil {
			return "", "", fmt.Errorf("%s: %w", timer, err)
		}
		if time.Until(at) > seldom+24*time.Hour {
			return fmt.Sprintf("%s runs next at %s", timer, next), "", nil
		}
	}
	for _, unit := range []string{timer, service} {
		if unsure, err = f.Conditional(unit); unsure != "" || err != nil {
			return "", unsure, err
		}
	}
	return "", "", nil
}

func (f *Facts) timer(name string) (map[string]string, error) {
	said, err := f.ask(askTimer, "--property=LoadState,ActiveState,SubState,Unit,TimersCalendar,TimersMonotonic,NextElapseUSecRealtime,NextElapseUSecMonotonic,RandomizedDelayUSec,AccuracyUSec", "--", name)
	return readProperties(said), err
}

// A moment of a timer's: OnCalendar, and what it says.
type moment struct{ kind, value string }

var momentOf = regexp.MustCompile(`\{ (\w+)=(.*?) ; next_elapse=`)

func timersOf(is map[string]string) (all []moment) {
	for _, m := range momentOf.FindAllStringSubmatch(is["TimersCalendar"]+" "+is["TimersMonotonic"], -1) {
		all = append(all, moment{m[1], m[2]})
	}
	return all
}

// often reports moments of which a calendar, or a first and a repeated one, come often
// enough.
func (f *Facts) often(all []moment) (bool, error) {
	first, again := false, false
	var at []time.Time
	var known time.Time // so far are all of them
	for _, m := range all {
		if m.kind == "OnCalendar" {
			more, err := f.calendar(m.value)
			if err != nil {
				return false, err
			}
			at = append(at, more...)
			if n := len(more); n > 0 && (known.IsZero() || more[n-1].Before(known)) {
				known = more[n-1]
			}
			continue
		}
		d, err := systemdSpan(m.value)
		if err != nil {
			return false, err
		}
		repeats := m.kind == "OnUnitActiveUSec" || m.kind == "OnUnitInactiveUSec"
		again = again || repeats && d <= seldom
		first = first || !repeats && d <= seldom
	}
	if first && again {
		return true, nil
	}
	slices.SortFunc(at, time.Time.Compare)
	last := time.Now()
	for _, t := range at {
		if !t.After(known) && t.Sub(last) > seldom {
			return false, nil
		}
		last = t
	}
	return len(at) > 0, nil
}

// calendar are the next times of one of systemd's, some weeks of a daily one; fewer when
// there are no more.
func (f *Facts) calendar(spec string) (all []time.Time, err error) {
	said, err := f.ask(askCalendar, spec)
	if err != nil {
		return nil, err
	}
	for _, m := range calendarTime.FindAllStringSubmatch(said, -1) {
		t, err := time.Parse(time.DateTime, m[1])
		if err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	if len(all) < calendarTimes {
		return nil, nil // it ends
	}
	return all, nil
}

const calendarTimes = 20

var calendarTime = regexp.MustCompile(`(?m)^ *(?:Next elapse|Iter\w*\.? #\d+): \w+ (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\S* UTC$`)

var spanUnits = map[string]float64{"y": 365.25 * 86400, "month": 30.44 * 86400, "w": 7 * 86400, "d": 86400, "h": 3600, "min": 60, "s": 1, "ms": 1e-3, "us": 1e-6}

// systemdSpan reads a time as systemd writes it, such as 1d 2h 30min.
func systemdSpan(text string) (time.Duration, error) {
	var seconds float64
	for word := range strings.FieldsSeq(text) {
		n := strings.TrimRight(word, "abcdefghijklmnopqrstuvwxyz")
		unit, ok := spanUnits[word[len(n):]]
		value, err := strconv.ParseFloat(n, 64)
		switch {
		case word == "0":
		case word == "infinity":
			seconds += 100 * spanUnits["y"]
		case err != nil || !ok:
			return 0, fmt.Errorf("%q is no time of systemd's", text)
		default:
			seconds += value * unit
		}
	}
	return time.Duration(min(seconds, 100*spanUnits["y"]) * float64(time.Second)), nil
}

var conditional = regexp.MustCompile(`(?m)^\s*((?:Condition|Assert|ExecCondition)\w*\s*=.*\S)`)

// Conditional is a line by which a unit may not be started, in a file of the server's
// owner: beside the unit's own, or in its place. "" when there is none: whether it is
// met then, nobody can tell now.
func (f *Facts) Conditional(unit string) (string, error) {
	is, err := f.UnitProperties(unit, "DropInPaths", "FragmentPath")
	if err != nil {
		return "", err
	}
	paths := strings.Fields(is["DropInPaths"])
	if own := is["FragmentPath"]; strings.HasPrefix(own, "/etc/") || strings.HasPrefix(own, "/run/") {
		paths = append(paths, own)
	}
	for _, path := range paths {
		file, err := f.File(path)
		if err != nil {
			return "", err
		}
		if m := conditional.FindStringSubmatch(file.Content); m != nil {
			return fmt.Sprintf("whether %s runs hangs on %s in %s", unit, m[1], path), nil
		}
	}
	return "", nil
}
