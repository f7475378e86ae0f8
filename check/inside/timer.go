package inside

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A timer is one of systemd's, and what came of the service that it starts.
type timer struct {
	name, service string
	there, active bool
	stays         bool // after the next start of the machine
	last          string
	due           bool
	result        string
}

// properties asks systemd about a unit.
func (m *Machine) properties(ctx context.Context, unit, names string) (map[string]string, error) {
	text, err := m.Run(ctx, "systemctl", "show", unit, "--property="+names)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		out[key] = value
	}
	if out["LoadState"] == "" {
		return nil, errors.New("systemd tells nothing of " + unit)
	}
	return out, nil
}

func (m *Machine) timer(ctx context.Context, name string) (t timer, err error) {
	is, err := m.properties(ctx, name, "LoadState,ActiveState,SubState,UnitFileState,Unit,LastTriggerUSec,NextElapseUSecRealtime,NextElapseUSecMonotonic")
	if err != nil {
		return t, err
	}
	set := func(property string) bool {
		return !slices.Contains([]string{"", "n/a", "0", "infinity"}, is[property])
	}
	t = timer{name: name, service: is["Unit"], there: is["LoadState"] == "loaded", active: is["ActiveState"] == "active",
		stays: slices.Contains([]string{"enabled", "static", "alias", "generated"}, is["UnitFileState"]),
		due:   is["SubState"] == "running" || set("NextElapseUSecRealtime") || set("NextElapseUSecMonotonic")}
	if set("LastTriggerUSec") {
		t.last = is["LastTriggerUSec"]
	}
	if !t.there {
		return t, nil
	}
	did, err := m.properties(ctx, t.service, "LoadState,Result,ExecMainExitTimestamp")
	if err != nil {
		return t, err
	}
	if t.result = did["Result"]; t.last == "" { // by hand, or since the timer forgot
		t.last = did["ExecMainExitTimestamp"]
	}
	if did["LoadState"] != "loaded" {
		t.result = did["LoadState"]
	}
	return t, nil
}

// What systemd records of a service that has ended, for good or ill
// (systemd-journal's sd-messages.h: UNIT_SUCCESS, UNIT_FAILURE_RESULT).
const (
	endedWell  = "7ad2d189f7e94e70a38c781354912448"
	endedBadly = "d9b373ed55a64feb8242e02dbe79a49c"
)

// recorded is when a service ended for the last time, and how, as systemd's own records
// in the journal have it: it forgets that itself with the machine's start, and so does a
// timer without Persistent=. last is "" when there is none of the last month.
func (m *Machine) recorded(ctx context.Context, service string) (last, result string) {
	text, err := m.Run(ctx, "journalctl", "--no-pager", "-q", "-o", "json", "-n", "1",
		"_PID=1", "UNIT="+service, "MESSAGE_ID="+endedWell, "MESSAGE_ID="+endedBadly) // nobody else can write _PID=1
	var record struct {
		At     string `json:"__REALTIME_TIMESTAMP"` // in microseconds
		ID     string `json:"MESSAGE_ID"`
		Result string `json:"UNIT_RESULT"`
	}
	if err != nil || json.Unmarshal([]byte(text), &record) != nil {
		return "", ""
	}
	micro, err := strconv.ParseInt(record.At, 10, 64)
	at := time.UnixMicro(micro).UTC()
	if err != nil || m.Now.Sub(at) > 31*24*time.Hour {
		return "", ""
	}
	switch last = at.Format("2006-01-02 15:04 UTC"); record.ID {
	case endedWell:
		return last, "success"
	case endedBadly:
		return last, cmp.Or(record.Result, "a failure")
	}
	return "", ""
}

// fault says why a timer does not do its work, "" when it does. Whether it ever ran
// is another question.
func (t timer) fault() string {
	switch {
	case !t.there:
		return t.name + " is not there"
	case !t.active:
		return t.name + " is not active"
	case !t.stays:
		return t.name + " is gone with the next start of the machine"
	case !t.due:
		return t.name + " has no time to run at"
	case t.result != "success":
		return fmt.Sprintf("%s ended with %s", t.service, t.result)
	}
	return ""
}

// cronRuns reports whether what stands in a crontab is done at all.
func (m *Machine) cronRuns(ctx context.Context) (bool, error) {
	for _, unit := range []string{"cron.service", "crond.service"} {
		is, err := m.properties(ctx, unit, "LoadState,ActiveState,UnitFileState")
		if err != nil {
			return false, err
		}
		if is["ActiveState"] == "active" {
			return is["UnitFileState"] == "enabled", nil
		}
	}
	return false, nil
}
