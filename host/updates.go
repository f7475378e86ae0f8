package host

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/policy"
)

const (
	updatesConfig     = "/etc/apt/apt.conf.d/60ringwall"
	needrestartConfig = "/etc/needrestart/conf.d/ringwall.conf"
)

var updates = Control{
	Meta: check.Meta{
		ID:    "host/updates",
		Title: "Security updates are installed by themselves",
		Why:   "most break-ins use a hole whose mend was out for weeks",
		Ref:   "unattended-upgrade(8); CIS Debian 12, 1.9; blueprint H6, T9",
	},
	Plan:   planUpdates,
	Verify: verifyUpdates,
}

// updatesText adds to what the package brings, which it does not repeat: lists
// of apt's settings grow. The origins are named again for who has emptied them.
func updatesText(p *policy.Policy) string {
	reboot := "Unattended-Upgrade::Automatic-Reboot \"false\";\n"
	if at := p.Host.Updates.Reboot; at != "" {
		reboot = fmt.Sprintf("Unattended-Upgrade::Automatic-Reboot \"true\";\nUnattended-Upgrade::Automatic-Reboot-Time %q;\n", at)
	}
	return `// Written by ringwall host apply, from the policy: a change here is drift, and reported.
APT::Periodic::Enable "1";
APT::Periodic::Update-Package-Lists "1";
APT::Periodic::Unattended-Upgrade "1";
APT::Periodic::AutocleanInterval "7";
Unattended-Upgrade::Origins-Pattern:: "origin=Debian,codename=${distro_codename}-security,label=Debian-Security";
Unattended-Upgrade::Origins-Pattern:: "origin=Ubuntu,archive=${distro_codename}-security,label=Ubuntu";
Unattended-Upgrade::MinimalSteps "true";
Unattended-Upgrade::Remove-Unused-Kernel-Packages "true";
` + reboot
}

// needrestartText has services that use what an update replaced start again by
// themselves. It leaves alone those that must not, such as the one that keeps
// the owner's session.
const needrestartText = `# Written by ringwall host apply: a change here is drift, and reported.
$nrconf{restart} = 'a';
`

var updateTimers = []string{"apt-daily.timer", "apt-daily-upgrade.timer"}

// neglected is what a timer is to do and does not, as a finding, nil when all is well;
// and how to correct it.
func neglected(f *Facts, want, timer, service string) *check.Finding {
	why, unsure, err := f.Neglects(timer, service)
	var found check.Finding
	switch {
	case err != nil:
		found = check.Unseen("%v", err)
	case why != "":
		found = check.Failed(why, want, unneglect(timer))
	case unsure != "":
		found = check.Unseen("%s", unsure)
	default:
		return nil
	}
	return &found
}

// planNeglected is a Hint where somebody has a timer do less than it should: he meant it,
// and it is not undone for him.
func planNeglected(f *Facts, timer, service string) error {
	why, _, err := f.Neglects(timer, service)
	if err == nil && why != "" {
		return Hint(why + ": " + unneglect(timer))
	}
	return err
}

func unneglect(timer string) string {
	return "systemctl cat " + timer + ", remove the file that does it, and: systemctl daemon-reload; systemctl restart " + timer
}

func planUpdates(p *policy.Policy, f *Facts) ([]Change, error) {
	// Somebody meant it: it is told before the work, and not undone for him.
	if wrong, fix, err := keptFromUpdates(f); err != nil {
		return nil, err
	} else if wrong != "" {
		return nil, Hint(wrong + ": " + fix)
	}
	changes, err := f.install("unattended-upgrades", "needrestart")
	if err != nil {
		return nil, err
	}
	for _, change := range []Change{
		{Title: "install security updates every day", File: &File{Path: updatesConfig, Mode: 0o644, Content: updatesText(p), Check: []string{"apt-config", "dump"}}},
		{Title: "start services again that an update has changed", File: &File{Path: needrestartConfig, Mode: 0o644, Content: needrestartText, Check: []string{"perl", "-c", needrestartConfig}}},
	} {
		more, err := f.need(change)
		if err != nil {
			return nil, err
		}
		changes = append(changes, more...)
	}
	for _, timer := range updateTimers {
		if err := planNeglected(f, timer, strings.Replace(timer, ".timer", ".service", 1)); err != nil {
			return nil, err
		}
		on, err := f.enable(timer)
		if err != nil {
			return nil, err
		}
		changes = append(changes, on...)
	}
	return changes, nil
}

func verifyUpdates(p *policy.Policy, f *Facts) check.Finding {
	const want, fix = "apt looks every day and installs what comes from the security archive", "ringwall host apply"
	for _, name := range []string{"unattended-upgrades", "needrestart"} {
		there, err := f.Installed(name)
		switch {
		case err != nil:
			return check.Unseen("%v", err)
		case !there:
			return check.Failed(name+" is not installed", want, fix)
		}
	}
	for _, key := range []string{"APT::Periodic::Update-Package-Lists", "APT::Periodic::Unattended-Upgrade"} {
		values, err := f.AptSettings(key)
		switch {
		case err != nil:
			return check.Unseen("%v", err)
		case len(values) == 0 || values[len(values)-1] == "0":
			return check.Failed("apt-config dump: "+key+" is off", want, fix)
		}
		if days, err := strconv.Atoi(values[len(values)-1]); err == nil && days > 2 {
			return check.Failed(fmt.Sprintf("apt-config dump: %s is %d days", key, days), want, fix)
		}
	}
	if off, err := f.AptSettings("APT::Periodic::Enable"); err != nil || slices.Contains(off, "0") {
		return check.Failed("apt-config dump: APT::Periodic::Enable is off", want, fix)
	}
	origins, err := f.AptSettings("Unattended-Upgrade::Origins-Pattern")
	if err != nil {
		return check.Unseen("%v", err)
	}
	allowed, err := f.AptSettings("Unattended-Upgrade::Allowed-Origins")
	if err != nil {
		return check.Unseen("%v", err)
	}
	if !slices.ContainsFunc(slices.Concat(origins, allowed), func(o string) bool { return strings.Contains(o, "-security") }) {
		return check.Failed("no security archive is among the origins of unattended-upgrades", want, fix)
	}
	if wrong, fix, err := keptFromUpdates(f); err != nil {
		return check.Unseen("%v", err)
	} else if wrong != "" {
		return check.Failed(wrong, want, fix)
	}
	archives, err := f.AptArchives()
	if err != nil {
		return check.Unseen("%v", err)
	}
	if !slices.ContainsFunc(archives, Archive.security) {
		return check.Failed("apt knows no security archive: nothing would ever come from it", want, "name it in /etc/apt/sources.list, such as deb http://deb.debian.org/debian-security bookworm-security main; then: apt-get update")
	}
	for _, timer := range updateTimers {
		u, err := f.Unit(timer)
		switch {
		case err != nil:
			return check.Unseen("%v", err)
		case !u.Running() || !u.Stays():
			return check.Failed(fmt.Sprintf("%s is %s and %s", timer, u.Active, u.Enabled), want, fix)
		}
		if found := neglected(f, want, timer, strings.Replace(timer, ".timer", ".service", 1)); found != nil {
			return *found
		}
	}
	last, err := f.UnitProperties("apt-daily-upgrade.service", "Result")
	switch {
	case err != nil:
		return check.Unseen("%v", err)
	case last["Result"] != "success":
		return check.Failed("the last run of apt-daily-upgrade ended with "+last["Result"], want, "journalctl -u apt-daily-upgrade -n 30; unattended-upgrade --dry-run -v")
	}
	reboot, err := f.AptSettings("Unattended-Upgrade::Automatic-Reboot")
	if err != nil {
		return check.Unseen("%v", err)
	}
	at := p.Host.Updates.Reboot
	if on := len(reboot) > 0 && reboot[len(reboot)-1] == "true"; on != (at != "") {
		return check.Failed(fmt.Sprintf("after an update that needs it, a restart by itself is %v", on), fmt.Sprintf("host.updates.reboot is %q", at), fix)
	}
	return check.Passed("both timers run, and the security archive is known and allowed")
}

// pinnedBack says of which security archive apt takes nothing, and why: it has less than
// what is installed, or than another archive of the distribution, of which each older
// version is then better.
func pinnedBack(archives []Archive) string {
	const installed = 100
	for _, a := range archives {
		if !a.security() {
			continue
		}
		said := fmt.Sprintf("%s has the priority %d, and ", strings.Join(a.Release, ","), a.Priority)
		if a.Priority < installed {
			return fmt.Sprintf("%swhat is installed has %d: no update of it is taken", said, installed)
		}
		for _, o := range archives {
			if o.Priority > a.Priority && (o.has("o=Debian") || o.has("o=Ubuntu")) {
				return fmt.Sprintf("%s%s has %d: no update of it is taken", said, strings.Join(o.Release, ","), o.Priority)
			}
		}
	}
	return ""
}

// attacked are packages without whose updates the others are of little use.
var attacked = []string{"openssh-server", "openssl", "libssl3", "libssl3t64", "libc6", "sudo", "systemd", "nginx", "linux-image-amd64", "linux-image-generic"}

// keptFromUpdates says which settings keep security updates away, or have apt take
// what nobody signed.
func keptFromUpdates(f *Facts) (wrong, fix string, err error) {
	for _, key := range []string{"APT::Get::AllowUnauthenticated", "Acquire::AllowInsecureRepositories", "Acquire::AllowDowngradeToInsecureRepositories", "Acquire::AllowWeakRepositories"} {
		values, err := f.AptSettings(key)
		if err != nil {
			return "", "", err
		}
		// As apt reads a switch.
		if len(values) > 0 && !slices.Contains(aptOff, strings.ToLower(values[len(values)-1])) {
			return "apt-config dump: " + key + " has apt take packages that nobody signed", "grep -rn " + key + " /etc/apt, and remove it", nil
		}
	}
	unsigned, err := f.UnsignedSource()
	switch {
	case err != nil:
		return "", "", err
	case unsigned != "":
		return "apt takes packages that nobody signed: " + unsigned, "remove that, and have Signed-By name the key of who makes them", nil
	}
	const black, white = "Unattended-Upgrade::Package-Blacklist", "Unattended-Upgrade::Package-Whitelist"
	never, err := f.aptPatterns(black)
	if err != nil {
		return "", "", err
	}
	only, err := f.aptPatterns(white)
	if err != nil {
		return "", "", err
	}
	for _, name := range append([]string{"zlib1g"}, attacked...) { // the first stands for all that nobody thinks of
		named := func(p aptPattern) bool { return p.MatchString(name) }
		if i := slices.IndexFunc(never, named); i >= 0 {
			return fmt.Sprintf("%s has %q: %s is never updated", black, never[i].text, name), "grep -rn Package-Blacklist /etc/apt/apt.conf.d, and remove it", nil
		}
		if len(only) > 0 && !slices.ContainsFunc(only, named) {
			return fmt.Sprintf("%s has only %q: what it does not name, such as %s, is never updated", white, only[0].text, name), "grep -rn Package-Whitelist /etc/apt/apt.conf.d, and remove it", nil
		}
	}
	for _, job := range []struct{ service, does string }{{"apt-daily.service", "update"}, {"apt-daily-upgrade.service", "install"}} {
		runs, err := f.UnitProperties(job.service, "ExecStart")
		if err != nil {
			return "", "", err
		}
		if !strings.Contains(runs["ExecStart"], "argv[]=/usr/lib/apt/apt.systemd.daily "+job.does+" ;") {
			return job.service + " does not run apt.systemd.daily " + job.does, "systemctl revert " + job.service, nil
		}
	}
	held, err := f.ask(askHeld)
	if err != nil {
		return "", "", err
	}
	for _, name := range strings.Fields(held) {
		name, _, _ = strings.Cut(name, ":")
		if slices.Contains(attacked, name) {
			return name + " is held back, and never updated", "apt-mark unhold " + name, nil
		}
	}
	const pins = "grep -rn Pin-Priority /etc/apt/preferences /etc/apt/preferences.d; grep -rn Default-Release /etc/apt; remove what holds it back; then: apt-cache policy"
	archives, err := f.AptArchives()
	if err != nil {
		return "", "", err
	}
	if why := pinnedBack(archives); why != "" {
		return "apt-cache policy: " + why, pins, nil
	}
	kept, err := f.HeldFromSecurity(attacked...)
	if err != nil || len(kept) == 0 {
		return "", "", err
	}
	return "apt-cache policy: the security archive has " + kept[0], pins, nil
}
