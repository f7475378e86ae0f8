package host

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
)

// An SSHFrom is a connection that sshd can be asked about. Host and Address are 192.0.2.1
// when nothing else is said, the local address and port 127.0.0.1 and 22.
type SSHFrom struct{ User, Host, Address, LocalAddress, LocalPort, RDomain string }

func (c SSHFrom) String() string {
	s := c.User
	if c.Address != "" {
		s += " from " + c.Address
	}
	if c.Host != "" {
		s += " at " + c.Host
	}
	if to := strings.Trim(c.LocalAddress+" port "+c.LocalPort, " "); to != "port" {
		s += " to " + strings.TrimSuffix(to, " port")
	}
	return s
}

// words is the connection as sshd -C takes it.
func (c SSHFrom) words() string {
	or := func(value, otherwise string) string {
		if value == "" {
			return otherwise
		}
		return value
	}
	address := or(c.Address, "192.0.2.1")
	s := "user=" + c.User + ",host=" + or(c.Host, address) + ",addr=" + address + ",laddr=" + or(c.LocalAddress, "127.0.0.1") + ",lport=" + or(c.LocalPort, "22")
	if c.RDomain != "" {
		s += ",rdomain=" + c.RDomain
	}
	return s
}

// mostMatches bounds how often sshd is asked for what its Match lines name.
const mostMatches = 100

// SSHMatches are connections of the kinds that sshd's Match lines name, in whatever
// file they stand: each user, group, address or name, by an example where a pattern
// has many. Whether a block then holds for one is for sshd to say.
func (f *Facts) SSHMatches() ([]SSHFrom, error) {
	lines, err := f.sshMatchLines(sshdConfig, nil, 0)
	if err != nil {
		return nil, err
	}
	var all []SSHFrom
	for _, line := range lines {
		of, err := f.sshMatch(line)
		if err != nil {
			return nil, fmt.Errorf("%v: %w", line, err)
		}
		for _, c := range of {
			if !slices.Contains(all, c) {
				all = append(all, c)
			}
		}
		if len(all) > mostMatches {
			return nil, fmt.Errorf("the Match lines of sshd name more than %d users and addresses", mostMatches)
		}
	}
	return all, nil
}

// sshMatchLines are the Match lines of a file and of those that it includes, which
// sshd does 16 deep.
func (f *Facts) sshMatchLines(name string, found []Keyword, deep int) ([]Keyword, error) {
	if deep > 16 {
		return nil, fmt.Errorf("%s: files include each other", name)
	}
	keywords, err := f.sshKeywordsOf(name)
	for _, k := range keywords {
		switch k.Name {
		case "match":
			found = append(found, k)
		case "include":
			for _, pattern := range sshWords(k.Value) {
				if !path.IsAbs(pattern) {
					pattern = "/etc/ssh/" + pattern
				}
				names, err := f.Glob(pattern)
				for _, name := range names {
					if err == nil {
						found, err = f.sshMatchLines(name, found, deep+1)
					}
				}
				if err != nil {
					return nil, err
				}
			}
		}
	}
	return found, err
}

// sshWords are the words of a line, up to a comment, as sshd parts them (argv_split in
// OpenSSH's misc.c): both kinds of quotes make one of several, and a backslash is
// one but before a quote, a backslash or a blank. (For Match, OpenSSH 9.6 does not know
// ' yet, and 10.0 does.)
func sshWords(value string) (words []string) {
	var word strings.Builder
	var in bool
	var quote byte
	for i := 0; i < len(value); i++ {
		c, next := value[i], byte(0)
		if i+1 < len(value) {
			next = value[i+1]
		}
		switch {
		case c == '\\' && (next == '\'' || next == '"' || next == '\\' || next == ' ' && quote == 0):
			i++
			in = true
			word.WriteByte(next)
		case quote == 0 && (c == ' ' || c == '\t'):
			if in {
				words = append(words, word.String())
			}
			in = false
			word.Reset()
		case !in && c == '#':
			return words
		case quote == 0 && (c == '"' || c == '\''):
			in, quote = true, c
		case c == quote:
			quote = 0
		default:
			in = true
			word.WriteByte(c)
		}
	}
	if in {
		words = append(words, word.String())
	}
	return words
}

// sshMatch are connections for one Match line: all that its criteria name, each with
// each. Those for everybody are nobody's in particular.
func (f *Facts) sshMatch(line Keyword) ([]SSHFrom, error) {
	all := []SSHFrom{{}}
	// each sets a part of all that there are to each of some values.
	each := func(values []string, set func(c *SSHFrom, value string)) {
		var more []SSHFrom
		for _, c := range all {
			for _, value := range values {
				c := c
				set(&c, value)
				more = append(more, c)
			}
		}
		all = more
	}
	var users []string
	named := false
	words := sshWords(line.Value)
	for len(words) > 0 {
		criterion := strings.ToLower(words[0])
		if words = words[1:]; criterion == "all" {
			return nil, nil
		} else if criterion == "invalid-user" { // whom nobody comes in as
			return nil, nil
		}
		if len(words) == 0 {
			return nil, fmt.Errorf("%s of what is missing", criterion)
		}
		patterns := wanted(words[0])
		words = words[1:]
		switch criterion {
		case "user":
			named = true
			users = append(users, examples(patterns)...)
		case "group":
			named = true
			in, err := f.loginsOf(patterns)
			if err != nil {
				return nil, err
			}
			users = append(users, in...)
		case "host":
			each(examples(patterns), func(c *SSHFrom, v string) { c.Host = v })
		case "address", "localaddress":
			var addresses []string
			for _, pattern := range patterns {
				example := exampleAddress(pattern)
				if len(example) == 0 {
					return nil, fmt.Errorf("%s is no address", pattern)
				}
				addresses = append(addresses, example...)
			}
			if criterion == "address" {
				each(addresses, func(c *SSHFrom, v string) { c.Address = v })
			} else {
				each(addresses, func(c *SSHFrom, v string) { c.LocalAddress = v })
			}
		case "localport":
			each(examples(patterns), func(c *SSHFrom, v string) { c.LocalPort = v })
		case "rdomain":
			each(examples(patterns), func(c *SSHFrom, v string) { c.RDomain = v })
		case "version": // its own, which sshd knows
		default:
			return nil, fmt.Errorf("nobody can ask sshd about %s", criterion)
		}
	}
	if !named {
		users = []string{"root", "nobody"}
	}
	each(users, func(c *SSHFrom, v string) { c.User = v })
	return all, nil
}

// wanted are the patterns of a list but for those that it leaves out; a list of these
// alone fits nothing.
func wanted(list string) (patterns []string) {
	for pattern := range strings.SplitSeq(list, ",") {
		if pattern != "" && pattern[0] != '!' {
			patterns = append(patterns, pattern)
		}
	}
	return patterns
}

// examples are names that fit patterns: themselves, or what a * and a ? stand for.
func examples(patterns []string) (names []string) {
	for _, pattern := range patterns {
		names = append(names, strings.NewReplacer("*", "x", "?", "x").Replace(pattern))
	}
	return names
}

// exampleAddress are addresses that fit a pattern: one of a network, some for *. Each
// * stands for as much as makes an address of the whole, as sshd has it: 10.*.* for
// 10.1.1.1.
func exampleAddress(pattern string) []string {
	if pattern == "*" {
		return []string{"192.0.2.1", "198.51.100.1", "2001:db8::1"}
	}
	if p, err := netip.ParsePrefix(pattern); err == nil {
		return []string{p.Masked().Addr().String()}
	}
	tries := 10000 // of a pattern that is all stars
	var fill func(pattern string) []string
	fill = func(pattern string) []string {
		if tries--; tries < 0 {
			return nil
		}
		before, after, ok := strings.Cut(pattern, "*")
		if !ok {
			if a, err := netip.ParseAddr(pattern); err == nil {
				return []string{a.String()}
			}
			return nil
		}
		for _, star := range []string{"1", "1.1", "1.1.1", "1:1", ":1", "1::1", ""} {
			if found := fill(before + star + after); found != nil {
				return found
			}
		}
		return nil
	}
	return fill(strings.ReplaceAll(pattern, "?", "1"))
}

// loginsOf are the accounts of groups: their members, and those whose first group one
// is. Of a pattern of groups it is every account that a person may have, of which sshd
// knows which are in them.
func (f *Facts) loginsOf(groups []string) ([]string, error) {
	if len(groups) == 0 {
		return nil, nil
	}
	all, err := f.Accounts()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, group := range groups {
		in := func(a Account) bool { return a.UID >= 1000 || !a.noShell() }
		if !strings.ContainsAny(group, "*?") {
			line, ok, err := f.group(group)
			if err != nil {
				return nil, err
			} else if !ok {
				continue
			}
			names = append(names, line.members...)
			in = func(a Account) bool { return a.gid == line.gid }
		}
		for _, a := range all {
			if in(a) {
				names = append(names, a.Name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
