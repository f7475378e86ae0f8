package host

import (
	"fmt"
	"path"
	"regexp"
	"slices"
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

// Filter is the live filter table, as iptables -S lists it: its lines, each of them
// whole, also where a comment goes on in the next.
func (f *Facts) Filter(ipv6 bool) ([]string, error) {
	q := askFilter4
	if ipv6 {
		q = askFilter6
	}
	said, err := f.ask(q)
	var lines []string
	open := false
	for line := range strings.SplitSeq(strings.TrimSpace(said), "\n") {
		if open {
			lines[len(lines)-1] += "\n" + line
		} else {
			lines = append(lines, line)
		}
		open = open != (strings.Count(escaped.Replace(line), `"`)%2 == 1)
	}
	return lines, err
}

var escaped = strings.NewReplacer(`\\`, "", `\"`, "")

// Dropped are the addresses that rules of iptables' drop at a port of TCP's, by themselves
// or as members of a set of ipset's, which nft does not list, before a rule lets everybody
// in there. What lets in some of everybody before, as those of one interface, is not
// looked at. None where there is no iptables.
func (f *Facts) Dropped(ipv6 bool, port int) (addresses []string, err error) {
	there, err := f.Installed("iptables")
	if err != nil || !there {
		return nil, err
	}
	lines, err := f.Filter(ipv6)
	if err != nil {
		return nil, err
	}
	chains, seen := filterRules(lines), map[string]bool{}
	var sets []string
	var walk func(chain string) (open bool)
	walk = func(chain string) (open bool) { // to everybody
		if seen[chain] {
			return false
		}
		seen[chain] = true
		for _, r := range chains[chain] {
			to, source, set := r.is("-j", "-g"), r.is("-s"), r.is("--match-set")
			switch {
			case !r.always(port) || source != "" && set != "":
			case to == "DROP" || to == "REJECT":
				if source != "" {
					addresses = append(addresses, source)
				} else if set != "" {
					sets = append(sets, set)
				}
			case source != "" || set != "":
			case to == "ACCEPT" || walk(to):
				return true
			case to == "RETURN":
				return false
			}
		}
		return false
	}
	if walk("INPUT"); len(sets) == 0 {
		return addresses, nil
	}
	said, err := f.ask(askSets)
	for line := range strings.Lines(said) { // add f2b-sshd 192.0.2.7 timeout 599
		word := strings.Fields(line)
		if len(word) > 2 && word[0] == "add" && slices.Contains(sets, word[1]) && !slices.Contains(word, "nomatch") {
			addresses = append(addresses, word[2])
		}
	}
	return addresses, err
}

// always reports a rule about every packet to a port of TCP's from those senders whom it
// names, or from everybody: it says nothing else of them.
func (r filterRule) always(port int) bool {
	for i := 2; i+1 < len(r.word); i += 2 {
		switch option, value := r.word[i], r.word[i+1]; option {
		case "-j", "-g":
			return true
		case "-s", "--comment":
		case "-p":
			if value != "tcp" && value != "all" {
				return false
			}
		case "-m":
			if !slices.Contains([]string{"tcp", "multiport", "set", "comment"}, value) {
				return false
			}
		case "--dport", "--dports":
			ports, ok := portSpans(value)
			at := numbers(port, port)
			if !ok || !slices.ContainsFunc(ports, func(s span) bool { return !at.from.less(s.from) && !s.to.less(at.to) }) {
				return false
			}
		case "--match-set": // and what of theirs is looked for there; of two sets both would have to have them
			if i++; i+1 >= len(r.word) || r.word[i+1] != "src" || slices.Contains(r.word[i:], option) {
				return false
			}
		default:
			return false
		}
	}
	return false
}

// NFTStatements are what nftables.service gives the kernel when the machine starts:
// the statements of the files that it names, and of those that they include, without
// comments. A way to start it of which that cannot be told is an error.
func (f *Facts) NFTStatements() ([]NFTStatement, error) {
	start, err := f.UnitProperties("nftables.service", "ExecStart")
	if err != nil {
		return nil, err
	}
	file := ""
	for command := range strings.SplitSeq(start["ExecStart"], "argv[]=") {
		argv, _, _ := strings.Cut(command, " ;")
		switch word := strings.Fields(argv); {
		case len(word) == 0 || word[0] == "{": // before the first
		case len(word) == 3 && path.Base(word[0]) == "nft" && word[1] == "-f" && file == "":
			file = word[2]
		default:
			return nil, fmt.Errorf("nftables.service runs %q, of which nobody can tell what it does to the rules of others: systemctl cat nftables", argv)
		}
	}
	if file == "" {
		return nil, fmt.Errorf("nothing says what nftables.service runs: systemctl cat nftables")
	}
	r := nftReader{f: f}
	err = r.read(file)
	return r.out, err
}

// An NFTStatement is a line of nft(8), and the file that has it.
type NFTStatement struct{ Text, File string }

type nftReader struct {
	f    *Facts
	seen []string
	out  []NFTStatement
}

var nftInclude = regexp.MustCompile(`^include\s+["']([^"']+)["']$`)

func (r *nftReader) read(name string) error {
	name, s, err := r.f.Follow(name)
	switch {
	case err != nil:
		return err
	case slices.Contains(r.seen, name):
		return nil
	}
	r.seen = append(r.seen, name)
	if s.Mode.IsDir() { // each file of it, in order
		return r.glob(name + "/*")
	}
	for line := range strings.Lines(strings.ReplaceAll(s.Content, "\\\n", " ")) {
		line, _, _ = strings.Cut(line, "#")
		for text := range strings.SplitSeq(line, ";") {
			text = strings.Join(strings.Fields(text), " ")
			included := nftInclude.FindStringSubmatch(text)
			switch {
			case included == nil && text != "":
				r.out = append(r.out, NFTStatement{text, name})
			case included == nil:
			default:
				if err := r.include(included[1]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// include looks where nft does: in /etc, and in / for what is relative to where
// systemd starts it.
func (r *nftReader) include(name string) error {
	if rest, ok := strings.CutPrefix(name, "./"); ok {
		name = "/" + rest
	} else if !path.IsAbs(name) {
		name = "/etc/" + name
	}
	if strings.ContainsAny(name, "*?[") {
		return r.glob(name)
	}
	return r.read(path.Clean(name))
}

func (r *nftReader) glob(pattern string) error {
	names, err := r.f.Glob(pattern)
	for _, name := range names {
		if err == nil && !strings.HasPrefix(path.Base(name), ".") {
			err = r.read(name)
		}
	}
	return err
}
