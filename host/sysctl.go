package host

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/policy"
)

const sysctlFile = "/etc/sysctl.d/60-ringwall.conf"

// A setting of the kernel, with what is as good or better than what we set.
type setting struct {
	name  string
	value string   // what we set
	good  []string // what is left as it is, value included
}

func exactly(name, value string) setting { return setting{name, value, []string{value}} }

// networkSettings are those of the network, which a container has for itself.
// Not among them: forwarding, which containers and tunnels need, and accept_ra,
// by which many servers get their IPv6 address.
func networkSettings(f *Facts) ([]setting, error) {
	uplinks, err := f.Uplinks()
	if err != nil {
		return nil, err
	}
	// Strict drops what would be answered another way, which on a server with
	// several uplinks is honest traffic (RFC 3704, section 2.3).
	reverse := setting{"", "1", []string{"1"}}
	if len(uplinks) > 1 {
		reverse = setting{"", "2", []string{"1", "2"}}
	}
	var list []setting
	for _, at := range []string{"all", "default"} {
		four, six := "net.ipv4.conf."+at+".", "net.ipv6.conf."+at+"."
		list = append(list,
			setting{four + "rp_filter", reverse.value, reverse.good},
			exactly(four+"accept_redirects", "0"), exactly(four+"secure_redirects", "0"), exactly(four+"send_redirects", "0"),
			exactly(four+"accept_source_route", "0"), exactly(four+"log_martians", "1"),
			exactly(six+"accept_redirects", "0"), exactly(six+"accept_source_route", "0"))
	}
	return append(list,
		setting{"net.ipv4.tcp_syncookies", "1", []string{"1", "2"}},
		exactly("net.ipv4.tcp_rfc1337", "1"),
		exactly("net.ipv4.icmp_echo_ignore_broadcasts", "1"),
		exactly("net.ipv4.icmp_ignore_bogus_error_responses", "1")), nil
}

// ufwSysctl is what ufw sets whenever it starts, after systemd has.
const ufwSysctl = "/etc/ufw/sysctl.conf"

var networkStack = Control{
	Meta: check.Meta{
		ID:    "host/sysctl",
		Title: "The kernel takes no redirects, source routes or forged senders from the network",
		Why:   "a neighbour on the network bends the server's routes, or floods it with half open connections",
		Ref:   "CIS Debian 12, 3.3; RFC 3704; RFC 1337; RFC 4987; blueprint H7, T8",
	},
	Plan: func(p *policy.Policy, f *Facts) ([]Change, error) {
		if kind, err := f.SharedNetwork(); err != nil || kind != "" {
			return nil, err
		}
		list, err := networkSettings(f)
		if err != nil {
			return nil, err
		}
		ufw, err := planUFWSettings(p, f, list)
		if err != nil {
			return nil, err
		}
		changes, err := planSettings(f, sysctlFile, "the network", list, len(ufw) > 0)
		return append(ufw, changes...), err
	},
	Verify: func(_ *policy.Policy, f *Facts) check.Finding {
		kind, err := f.SharedNetwork()
		if err != nil {
			return check.Unseen("%v", err)
		}
		if kind != "" {
			return notOurs(kind, "the network's settings are those")
		}
		list, err := networkSettings(f)
		if err != nil {
			return check.Unseen("%v", err)
		}
		return judgeSettings(f, list)
	},
}

// planSettings writes a file of settings, and sets those that are not in force.
// With again it sets all, since a service of this apply sets some of them back.
func planSettings(f *Facts, path, what string, list []setting, again bool) ([]Change, error) {
	var content strings.Builder
	content.WriteString("# Written by ringwall host apply. A leading - : not every kernel has it.\n")
	set, undo := []string{"sysctl", "-q"}, []string{"sysctl", "-q", "-e"} // -e: another kernel may not have it
	for _, s := range list {
		fmt.Fprintf(&content, "-%s = %s\n", s.name, s.value)
		value, there, err := f.Setting(s.name)
		if err != nil {
			return nil, err
		}
		switch good := slices.Contains(s.good, value); {
		case there && !good:
			set, undo = append(set, s.name+"="+s.value), append(undo, s.name+"="+value)
		case there && again:
			set, undo = append(set, s.name+"="+value), append(undo, s.name+"="+value)
		}
	}
	changes, err := f.need(Change{Title: "keep settings of " + what + " over restarts", File: &File{Path: path, Mode: 0o644, Content: content.String()}})
	if err != nil {
		return nil, err
	}
	if len(set) > 2 {
		changes = append(changes, Change{Title: "set them now", Command: &Command{Argv: set, Undo: undo}})
	}
	return changes, nil
}

// planUFWSettings corrects what ufw would set back when it starts.
func planUFWSettings(p *policy.Policy, f *Facts, list []setting) ([]Change, error) {
	file, err := f.File(ufwSysctl)
	if err != nil || !file.Exists {
		// The package brings it in this very apply, unless nobody wants it.
		there, err := f.Installed("ufw")
		w, waived := p.Waived(firewall.ID)
		if err != nil || there || waived && !w.Expired(time.Now()) {
			return nil, err
		}
		script := "test ! -e " + ufwSysctl + " || sed -i -E"
		for _, s := range list {
			script += " -e 's#^(" + strings.ReplaceAll(s.name, ".", "/") + ")=.*#\\1=" + s.value + "#'"
		}
		return []Change{{Title: "have the firewall leave them alone when it starts", Command: &Command{Argv: []string{"sh", "-c", script + " " + ufwSysctl}, Files: []string{ufwSysctl}}}}, nil
	}
	var b strings.Builder
	for line := range strings.Lines(file.Content) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		for _, s := range list {
			if ok && strings.ReplaceAll(key, "/", ".") == s.name && !slices.Contains(s.good, value) {
				line = key + "=" + s.value + "\n"
			}
		}
		b.WriteString(line)
	}
	return f.need(Change{Title: "have the firewall leave them alone when it starts",
		File: &File{Path: ufwSysctl, Mode: uint32(file.Mode.Perm()), Owner: file.Owner, Content: b.String()}})
}

// judgeSettings reads what is in force. Not every kernel has every setting, but
// one that has none of them was not seen.
func judgeSettings(f *Facts, list []setting) check.Finding {
	seen := 0
	for _, s := range list {
		value, there, err := f.Setting(s.name)
		if err != nil {
			return check.Unseen("%s: %v", s.name, err)
		}
		if !there {
			continue
		}
		seen++
		if !slices.Contains(s.good, value) {
			return check.Failed(s.name+" is "+value, s.name+" is "+strings.Join(s.good, " or "), "ringwall host apply; if it comes back, find who sets it: grep -r "+s.name+" /etc /usr/lib/sysctl.d")
		}
	}
	if seen == 0 {
		return check.Unseen("/proc/sys has none of the settings")
	}
	return check.Passed("%d settings read from /proc/sys", seen)
}
