package host

import (
	"strings"
)

// HasIPv6 reports whether the kernel speaks IPv6 at all.
func (f *Facts) HasIPv6() (bool, error) {
	s, err := f.File("/proc/net/if_inet6")
	return s.Exists, err
}

// UFWRules are the rules as ufw show added lists them, without "ufw " and
// comments, such as "limit 22/tcp"; in force or not. None when ufw is not
// installed.
func (f *Facts) UFWRules() ([]string, error) {
	there, err := f.Installed("ufw")
	if err != nil || !there {
		return nil, err
	}
	said, err := f.ask(askUFWAdded)
	if err != nil {
		return nil, err
	}
	var rules []string
	for line := range strings.Lines(said) {
		if rule, ok := strings.CutPrefix(strings.TrimSpace(line), "ufw "); ok {
			rule, _, _ = strings.Cut(rule, " comment ")
			rules = append(rules, rule)
		}
	}
	return rules, nil
}

// UFW is what ufw status verbose says.
type UFW struct {
	Active   bool
	Incoming string // what happens to a connection that no rule names: deny
}

// UFW is ufw's own view; inactive when it is not installed.
func (f *Facts) UFW() (UFW, error) {
	there, err := f.Installed("ufw")
	if err != nil || !there {
		return UFW{}, err
	}
	said, err := f.ask(askUFW)
	if err != nil {
		return UFW{}, err
	}
	u := UFW{Active: strings.Contains(said, "Status: active")}
	if _, rest, ok := strings.Cut(said, "Default: "); ok {
		u.Incoming, _, _ = strings.Cut(rest, " ")
	}
	return u, nil
}

// Filter is the live filter table, as iptables -S lists it: its lines.
func (f *Facts) Filter(ipv6 bool) ([]string, error) {
	q := askFilter4
	if ipv6 {
		q = askFilter6
	}
	said, err := f.ask(q)
	return strings.Split(strings.TrimSpace(said), "\n"), err
}
