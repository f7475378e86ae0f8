package host

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/policy"
)

const fail2banJails = "/etc/fail2ban/jail.d/ringwall.local"

var fail2ban = Control{
	Meta: check.Meta{
		ID:    "host/fail2ban",
		Title: "An address that tries to break in over SSH is shut out",
		Why:   "who may go on guessing, and probing for the next hole in sshd, does",
		Ref:   "jail.conf(5); CWE-307; blueprint H5, T9, checklist 9",
	},
	Plan:   planFail2ban,
	Verify: verifyFail2ban,
}

// sshdJournal is what sshd writes, whatever its unit is called, by what the
// kernel says of the writer: a user's own program that is called sshd can have
// nobody banned. OpenSSH 9.8 and later write as sshd-session.
const sshdJournal = "_UID=0 _COMM=sshd + _UID=0 _COMM=sshd-session"

// fail2banConfig is read after all that the distribution and others say.
//
// sshd is read from the journal: Debian 12 has no auth.log, and fail2ban does
// not start then. It counts in the mode aggressive: where no password is asked
// for, a guesser only ends the connection, which the normal mode does not count.
// Recidive reads fail2ban's own log, which is a file.
func fail2banConfig(p *policy.Policy, f *Facts) (string, error) {
	ports, err := sshPorts(p, f)
	if err != nil {
		return "", err
	}
	spared := []string{"127.0.0.0/8", "::1"}
	for _, prefix := range p.Host.Allow {
		spared = append(spared, prefix.String())
	}
	return fmt.Sprintf(`# Written by ringwall host apply, from the policy: a change here is drift, and reported.
[DEFAULT]
ignoreip = %[1]s
ignoreself = true
ignorecommand =
usedns = no
banaction = nftables
banaction_allports = nftables[type=allports]

[sshd]
enabled = true
ignoreip = %[1]s
ignorecommand =
backend = systemd
filter = sshd[mode=aggressive, journalmatch="%[2]s"]
journalmatch =
port = %[3]s
maxretry = 5
findtime = 10m
bantime = 1h

[recidive]
enabled = true
ignoreip = %[1]s
ignorecommand =
backend = auto
logpath = /var/log/fail2ban.log
maxretry = 3
findtime = 1d
bantime = 1w
`, strings.Join(spared, " "), sshdJournal, strings.Trim(strings.ReplaceAll(fmt.Sprint(ports), " ", ","), "[]")), nil
}

func planFail2ban(p *policy.Policy, f *Facts) ([]Change, error) {
	text, err := fail2banConfig(p, f)
	if err != nil {
		return nil, err
	}
	// The file comes first: the package starts the server, which ends at once
	// without it.
	changes, err := f.need(Change{Title: "jails for sshd and for those who come again", Early: true, File: &File{Path: fail2banJails, Mode: 0o644, Content: text}})
	if err != nil {
		return nil, err
	}
	written := len(changes) > 0
	packages, err := f.install("fail2ban", "python3-systemd", "nftables")
	if err != nil {
		return nil, err
	}
	on, err := f.enable("fail2ban.service")
	if err != nil {
		return nil, err
	}
	changes = slices.Concat(changes, packages, on)
	if written && len(on) == 0 {
		changes = append(changes, Change{Title: "fail2ban reads its jails again", Unit: &Unit{Name: "fail2ban.service", Do: Restart}})
	}
	return changes, nil
}

func verifyFail2ban(p *policy.Policy, f *Facts) check.Finding {
	const want, fix = "fail2ban runs, reads what sshd writes, and the kernel drops whom it bans", "ringwall host apply; then: fail2ban-client status sshd"
	there, err := f.Installed("fail2ban")
	switch {
	case err != nil:
		return check.Unseen("%v", err)
	case !there:
		return check.Failed("it is not installed", want, fix)
	}
	jails, err := f.Jails()
	var no *Refusal
	if errors.As(err, &no) {
		said := no.Said
		if _, after, ok := strings.Cut(said, "ERROR"); ok { // without the time of day
			said = strings.TrimSpace(after)
		}
		return check.Failed("it is installed and does not answer: "+said, want, "journalctl -u fail2ban -n 20")
	}
	if err != nil {
		return check.Unseen("%v", err)
	}
	unit, err := f.Unit("fail2ban.service")
	switch {
	case err != nil:
		return check.Unseen("%v", err)
	case !unit.Stays():
		return check.Failed("fail2ban.service is "+unit.Enabled+", and would not start with the machine", want, fix)
	}
	banned, unsure := 0, ""
	wanted := []string{"sshd"}
	// Whoever comes again is a promise of our own, not of everybody who has fail2ban.
	ours, err := f.File(fail2banJails)
	if err != nil {
		return check.Unseen("%v", err)
	}
	owner, err := f.sparedOwner()
	if err != nil {
		return check.Unseen("%v", err)
	}
	if ours.Exists || slices.Contains(jails, "recidive") {
		wanted = append(wanted, "recidive")
	}
	for _, name := range wanted {
		if !slices.Contains(jails, name) {
			return check.Failed("it runs without the jail "+name, want, fix)
		}
		j, err := f.Jail(name)
		if err != nil {
			return check.Unseen("the jail %s: %v", name, err)
		}
		switch {
		case j.MaxRetry > 10 || j.BanTime >= 0 && j.BanTime < 600:
			return check.Failed(fmt.Sprintf("the jail %s bans after %d failures, for %d seconds", name, j.MaxRetry, j.BanTime), "10 failures at most, 600 seconds at least", fix)
		case slices.ContainsFunc(p.Host.Allow, func(a netip.Prefix) bool { return !holds(j.Ignored, a) }):
			return check.Failed("the jail "+name+" would ban addresses of host.allow", want, fix)
		}
		if spared := slices.IndexFunc(j.Ignored, func(a netip.Prefix) bool { return tooMany(a) || ours.Exists && !named(p, a) && a != owner }); spared >= 0 {
			return check.Failed(fmt.Sprintf("the jail %s bans nobody of %s, which host.allow does not name", name, j.Ignored[spared]), want, "fail2ban-client get "+name+" ignoreip; then correct ignoreip in /etc/fail2ban/jail.d and jail.local")
		}
		const sparing = "correct ignoreip and ignorecommand in /etc/fail2ban/jail.d and jail.local; then: fail2ban-client reload"
		switch command := strings.Fields(j.Command); {
		case len(command) > 0 && (ours.Exists || slices.Contains([]string{"true", "/bin/true", "/usr/bin/true", ":"}, command[0])):
			return check.Failed(fmt.Sprintf("the jail %s bans only whom a command lets it: ignorecommand = %s", name, j.Command), want, sparing)
		case len(command) > 0:
			unsure = fmt.Sprintf("whom the jail %s bans, a command decides: look at what it spares: %s", name, j.Command)
		case len(j.Spared) > 0 && ours.Exists:
			return check.Failed(fmt.Sprintf("the jail %s does not ban %s, which host.allow does not name", name, j.Spared[0]), want, sparing)
		case slices.ContainsFunc(j.Spared, func(s string) bool { return strings.ContainsAny(s, "/:") }): // no name of a machine
			unsure = fmt.Sprintf("the jail %s bans nobody of %s: look whom that names", name, strings.Join(j.Spared, " "))
		}
		if found := judgeSource(name, j, f); found.Verdict != check.Pass {
			return found
		}
		if found := judgeDropped(name, j, f); found.Verdict != check.Pass {
			return found
		}
		banned += len(j.Banned)
	}
	if unsure != "" {
		return check.Unseen("%s", unsure)
	}
	return check.Passed("jails that run and read what is written: %s; %d addresses are banned, and the kernel has them", strings.Join(wanted, ", "), banned)
}

// holds reports whether one of the prefixes holds all of p.
func holds(list []netip.Prefix, p netip.Prefix) bool {
	return slices.ContainsFunc(list, func(l netip.Prefix) bool { return l.Bits() <= p.Bits() && l.Contains(p.Addr()) })
}

// tooMany reports a prefix that is no network of an owner's: shorter than any that
// is given to one.
func tooMany(a netip.Prefix) bool {
	return a.Bits() < 8 && !a.Addr().IsPrivate() || a.Addr().Is6() && a.Bits() < 16 && !a.Addr().IsPrivate() && !a.Addr().IsLinkLocalUnicast()
}

// named reports an address that may be spared: the machine itself, or the policy's.
func named(p *policy.Policy, a netip.Prefix) bool {
	return a.Addr().IsLoopback() || holds(p.Host.Allow, a)
}

// SparedFile names the address that the owner applied from, while his time to confirm
// runs: it is spared beside what the policy names.
const SparedFile = "/var/lib/ringwall/host/spared"

// sparedOwner is what that file names; zero without one.
func (f *Facts) sparedOwner() (netip.Prefix, error) {
	s, err := f.File(SparedFile)
	if err != nil || !s.Exists {
		return netip.Prefix{}, err
	}
	a, err := netip.ParseAddr(strings.TrimSpace(s.Content))
	return netip.PrefixFrom(a, a.BitLen()), err
}

// Spares reports an address that the policy keeps from every ban of the server.
func Spares(p *policy.Policy, a netip.Addr) bool {
	return holds(p.Host.Allow, netip.PrefixFrom(a, a.BitLen()))
}

// judgeSource tells a jail that is active and can ban nobody, because what it
// reads is not where sshd, or fail2ban, writes.
func judgeSource(name string, j Jail, f *Facts) check.Finding {
	const want = "a jail that reads what is written"
	var newest time.Time
	found := ""
	for _, path := range j.Files {
		at, there, err := f.Changed(path)
		switch {
		case err != nil:
			return check.Unseen("%v", err)
		case there && (found == "" || at.After(newest)):
			newest, found = at, path
		}
	}
	if found != "" {
		return judgeFile(name, j, found, newest, f)
	}
	if j.Matches == "" {
		return check.Failed("the jail "+name+" reads nothing at all, and bans nobody", want, "ringwall host apply")
	}
	seen, err := f.Journal(strings.Fields(j.Matches)...)
	if err != nil {
		return check.Unseen("the journal: %v", err)
	}
	if seen != nil {
		return check.Finding{Verdict: check.Pass}
	}
	written, err := f.Journal("SYSLOG_IDENTIFIER=sshd", "+", "SYSLOG_IDENTIFIER=sshd-session", "+", "_COMM=sshd")
	switch {
	case err != nil:
		return check.Unseen("the journal: %v", err)
	case name == "sshd" && written == nil:
		return check.Unseen("sshd has written nothing since the machine started, so that nobody can tell whether fail2ban would see it; sign in once")
	}
	return check.Failed(fmt.Sprintf("the jail %s reads %s in the journal, where nothing is written: it bans nobody", name, j.Matches), want, "ringwall host apply")
}

// judgeFile tells a jail that reads a file which nobody writes, because sshd, or
// fail2ban, writes elsewhere.
func judgeFile(name string, j Jail, newest string, at time.Time, f *Facts) check.Finding {
	const want, fix = "a jail that reads what is written", "ringwall host apply"
	if name == "recidive" { // which reads what fail2ban itself says
		said, err := f.ask(askJail, "logtarget")
		if err != nil {
			return check.Unseen("%v", err)
		}
		target := strings.Join(branches(said), "")
		if !slices.Contains(j.Files, target) {
			return check.Failed(fmt.Sprintf("the jail %s reads %s, and fail2ban writes to %s", name, newest, target), want, fix)
		}
		return check.Finding{Verdict: check.Pass}
	}
	last, err := f.Journal(strings.Fields(sshdSyslog)...)
	switch {
	case err != nil:
		return check.Unseen("the journal: %v", err)
	case last == nil:
		return check.Unseen("sshd has written nothing since the machine started, so that nobody can tell whether it comes to %s; sign in once", newest)
	}
	written, err := Written(last)
	switch {
	case err != nil:
		return check.Unseen("the journal's last entry of sshd has no time: %v", err)
	case at.Before(written.Add(-time.Minute)): // who copies it from the journal may be a little late
		return check.Failed(fmt.Sprintf("the jail %s reads %s, where nothing came since %s, and sshd wrote at %s: it bans nobody", name, newest, at.UTC().Format(time.DateTime), written.UTC().Format(time.DateTime)), want, fix)
	}
	return check.Finding{Verdict: check.Pass}
}

// sshdSyslog is what sshd says, and not what it prints where it only judges its files.
const sshdSyslog = "_UID=0 _TRANSPORT=syslog _COMM=sshd + _UID=0 _TRANSPORT=syslog _COMM=sshd-session"

// judgeDropped compares whom a jail bans with whom the rules of the kernel drop.
func judgeDropped(name string, j Jail, f *Facts) check.Finding {
	if len(j.Banned) == 0 {
		return check.Finding{Verdict: check.Pass}
	}
	tables, err := f.NFTTables()
	if err != nil {
		return check.Unseen("the kernel's rules: %v", err)
	}
	var dropped []string
	for _, table := range tables {
		dropped = append(dropped, table.Dropped()...)
	}
	type way struct {
		ipv6 bool
		port int
	}
	others := map[way]func(netip.Prefix) bool{}
	held, ssh := among(dropped), sync.OnceValues(f.SSHPorts)
	for _, address := range j.Banned {
		p, err := prefix(address)
		if err != nil {
			return check.Unseen("the jail %s bans %q", name, address)
		}
		if held(p) {
			continue
		}
		ports, err := ssh()
		for _, port := range ports {
			w := way{p.Addr().Is6(), port}
			if others[w] == nil {
				addresses, derr := f.Dropped(w.ipv6, w.port)
				if err = derr; err != nil {
					break
				}
				others[w] = among(addresses)
			}
			if !others[w](p) {
				return check.Failed(fmt.Sprintf("the jail %s bans %s, and the kernel lets it in at port %d", name, address, port), "the kernel drops whom fail2ban bans", "systemctl restart fail2ban")
			}
		}
		if err != nil {
			return check.Unseen("the jail %s bans %s, and it is not seen whether the kernel drops it: %v", name, address, err)
		}
	}
	return check.Finding{Verdict: check.Pass}
}
