package host

import (
	"encoding/json"
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// A Jail is one of fail2ban's, as the running server has it.
type Jail struct {
	Matches  string   // fields of the journal that it reads; "" when it reads files
	Files    []string // that it reads
	Ignored  []netip.Prefix
	Spared   []string // what else is never banned, such as by name or by a file
	Command  string   // that decides whom it does not ban; "" when there is none
	MaxRetry int      // failures before a ban
	BanTime  int      // seconds; -1 is for ever
	Banned   []string // addresses
}

// Jails are the names of fail2ban's jails. A server that does not answer is an
// error, a *Refusal when it does not run.
func (f *Facts) Jails() ([]string, error) {
	said, err := f.ask(askJails)
	if err != nil {
		return nil, err
	}
	_, list, _ := strings.Cut(said, "Jail list:")
	return strings.FieldsFunc(list, func(r rune) bool { return strings.ContainsRune(", \t\n", r) }), nil
}

// Jail is a jail as it runs.
func (f *Facts) Jail(name string) (Jail, error) {
	var j Jail
	said := map[string]string{}
	for _, key := range []string{"journalmatch", "logpath", "ignoreip", "ignorecommand", "maxretry", "bantime", "banip"} {
		answer, err := f.ask(askJail, name, key)
		if err != nil {
			return j, err
		}
		said[key] = answer
	}
	for _, line := range branches(said["ignoreip"]) {
		p, err := netip.ParsePrefix(line)
		if a, aerr := netip.ParseAddr(line); aerr == nil {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
			if a.IsUnspecified() { // it writes 0.0.0.0/0 without the 0
				p = netip.PrefixFrom(a, 0)
			}
		}
		if err == nil {
			j.Ignored = append(j.Ignored, p)
		} else {
			j.Spared = append(j.Spared, line)
		}
	}
	if command := strings.TrimSpace(said["ignorecommand"]); command != "False" && command != "None" { // Python's
		j.Command = command
	}
	j.Files = branches(said["logpath"])
	if _, matches, ok := strings.Cut(said["journalmatch"], "\n"); ok {
		j.Matches = strings.TrimSpace(matches)
	}
	j.Banned = strings.Fields(said["banip"])
	retry, err1 := strconv.Atoi(strings.TrimSpace(said["maxretry"]))
	ban, err2 := strconv.Atoi(strings.TrimSpace(said["bantime"]))
	j.MaxRetry, j.BanTime = retry, ban
	return j, errors.Join(err1, err2)
}

// branches are the lines of a list as fail2ban-client draws it.
func branches(s string) (out []string) {
	for line := range strings.Lines(s) {
		line = strings.TrimSpace(line)
		for _, sign := range []string{"|- ", "`- "} {
			if rest, ok := strings.CutPrefix(line, sign); ok {
				out = append(out, strings.TrimSpace(rest))
			}
		}
	}
	return out
}

// Journal is the last entry of this boot's journal that matches, by its
// fields; nil when none does. Fields are joined as journalctl(1) says.
func (f *Facts) Journal(match ...string) (map[string]any, error) {
	said, err := f.ask(askJournal, match...)
	var no *Refusal
	if errors.As(err, &no) && no.Code == 1 && no.Said == "" || err == nil && strings.TrimSpace(said) == "" {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var entry map[string]any
	return entry, json.Unmarshal([]byte(said), &entry)
}

// Written is when an entry of the journal was.
func Written(entry map[string]any) (time.Time, error) {
	text, _ := entry["__REALTIME_TIMESTAMP"].(string)
	n, err := strconv.ParseInt(text, 10, 64)
	return time.UnixMicro(n), err
}

// Changed is when a file was written to, wherever a link in its place leads, however
// large it is; there is false when there is none.
func (f *Facts) Changed(name string) (at time.Time, there bool, err error) {
	said, err := f.ask(askChanged, name)
	var no *Refusal
	if errors.As(err, &no) && strings.HasSuffix(no.Said, "No such file or directory") {
		return at, false, nil
	}
	if err != nil {
		return at, false, err
	}
	n, err := strconv.ParseInt(strings.TrimSpace(said), 10, 64)
	return time.Unix(n, 0), err == nil, err
}

// Ruleset is what the kernel filters by, as nft lists it, with the rules that
// iptables made.
func (f *Facts) Ruleset() (string, error) { return f.ask(askRuleset) }

// RotationWorks is an error when logrotate would refuse what is configured.
func (f *Facts) RotationWorks() error {
	_, err := f.ask(askRotation)
	return err
}
