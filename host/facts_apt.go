package host

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// AptSettings are the values of one of apt's settings, in force.
func (f *Facts) AptSettings(name string) ([]string, error) {
	said, err := f.ask(askApt)
	if err != nil {
		return nil, err
	}
	var values []string
	for line := range strings.Lines(said) {
		key, value, ok := strings.Cut(strings.TrimSuffix(strings.TrimSpace(line), ";"), " ")
		if value = strings.Trim(value, `"`); ok && value != "" && strings.EqualFold(strings.TrimSuffix(key, "::"), name) {
			values = append(values, value)
		}
	}
	return values, nil
}

// An aptPattern is one as unattended-upgrades reads it: of Python's, and a name begins
// with it.
type aptPattern struct {
	text string
	*regexp.Regexp
}

func (f *Facts) aptPatterns(name string) (out []aptPattern, err error) {
	values, err := f.AptSettings(name)
	for _, v := range values {
		re, rerr := regexp.Compile("^(?:" + v + ")")
		if rerr != nil {
			return nil, fmt.Errorf("%s: %w", name, rerr)
		}
		out = append(out, aptPattern{v, re})
	}
	return out, err
}

// An Archive is a release that packages may come from.
type Archive struct {
	Priority int      // apt_preferences(5): of several, packages come from the highest
	Release  []string // fields, such as l=Debian-Security
}

// AptArchives are the archives by the lists that apt has fetched.
func (f *Facts) AptArchives() ([]Archive, error) {
	said, err := f.ask(askAptPolicy)
	var out []Archive
	priority := 0
	for line := range strings.Lines(said) {
		line = strings.TrimSpace(line)
		if release, ok := strings.CutPrefix(line, "release "); ok {
			a := Archive{priority, strings.Split(release, ",")}
			if !slices.ContainsFunc(out, func(o Archive) bool { return o.Priority == a.Priority && slices.Equal(o.Release, a.Release) }) {
				out = append(out, a)
			}
		} else if first, _, _ := strings.Cut(line, " "); first != "" {
			if n, err := strconv.Atoi(first); err == nil {
				priority = n
			}
		}
	}
	return out, err
}

// has reports a field of the release.
func (a Archive) has(field string) bool { return slices.Contains(a.Release, field) }

// security reports an archive of security updates of the distribution's own.
func (a Archive) security() bool {
	return a.has("l=Debian-Security") || a.has("o=Ubuntu") && slices.ContainsFunc(a.Release, func(s string) bool { return strings.HasPrefix(s, "a=") && strings.HasSuffix(s, "-security") })
}

// HeldFromSecurity are packages of a list that are installed and of which the security
// archive has a newer version that apt would not take, with what it would keep.
func (f *Facts) HeldFromSecurity(names ...string) ([]string, error) {
	said, err := f.ask(askAptPolicy, names...)
	if err != nil {
		return nil, err
	}
	// NAME:, then its lines: the versions from the newest on, and below each the
	// archives that have it.
	var out []string
	var name, candidate, newer string
	there, judged := false, false
	for line := range strings.Lines(said) {
		text := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "*** "))
		field, value, _ := strings.Cut(text, ": ")
		switch word := strings.Fields(text); {
		case len(word) == 0:
		case !strings.HasPrefix(line, " "):
			name, candidate, newer, there, judged = strings.TrimSuffix(text, ":"), "", "", false, false
		case field == "Installed":
			there = value != "(none)"
		case field == "Candidate":
			candidate = value
		case !there || judged:
		case strings.HasPrefix(line, " *** "), strings.HasPrefix(line, "     ") && !strings.HasPrefix(line, "       "):
			newer, judged = word[0], word[0] == candidate
		case newer != "" && strings.Contains(text, "-security/") && !strings.Contains(text, "//esm.ubuntu.com/"): // that needs a contract
			out, judged = append(out, fmt.Sprintf("%s %s, and %s stays", name, newer, candidate)), true
		}
	}
	return out, nil
}

var (
	// deb [option=value option=value] URI suite component, sources.list(5)
	aptLine = regexp.MustCompile(`^deb\s+\[([^\]]*)\]\s*(\S+)`)

	// the names of both forms: allow-insecure=yes, Allow-Insecure: yes
	unsignedOption = regexp.MustCompile(`(?i)^(trusted|allow-insecure|allow-weak|allow-downgrade-to-insecure)[=:]\s*(yes|true|with|on|enable|1)$`)
)

// UnsignedSource is a source of packages whose signature apt does not ask for, with
// the file that says so; "" for none. What comes from a disk of this machine is root's
// own choice.
func (f *Facts) UnsignedSource() (string, error) {
	lists, err1 := f.Glob("/etc/apt/sources.list.d/*.list")
	stanzas, err2 := f.Glob("/etc/apt/sources.list.d/*.sources")
	if err := errors.Join(err1, err2); err != nil {
		return "", err
	}
	for _, name := range append([]string{"/etc/apt/sources.list"}, lists...) {
		_, s, err := f.Follow(name)
		if err != nil {
			return "", err
		}
		for line := range strings.Lines(s.Content) {
			m := aptLine.FindStringSubmatch(strings.TrimSpace(line))
			if m != nil && !fromDisk(m[2]) && slices.ContainsFunc(strings.Fields(m[1]), unsignedOption.MatchString) {
				return name + ": " + strings.TrimSpace(line), nil
			}
		}
	}
	for _, name := range stanzas {
		_, s, err := f.Follow(name)
		if err != nil {
			return "", err
		}
		for text := range strings.SplitSeq(s.Content, "\n\n") {
			if said := unsignedStanza(text); said != "" {
				return name + ": " + said, nil
			}
		}
	}
	return "", nil
}

// unsignedStanza is the field of a stanza that has apt ask for no signature.
func unsignedStanza(text string) (said string) {
	local, off := false, false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch field = strings.ToLower(field); {
		case unsignedOption.MatchString(line):
			said = line
		case field == "uris":
			local = value != "" && !slices.ContainsFunc(strings.Fields(value), func(u string) bool { return !fromDisk(u) })
		case field == "enabled":
			off = slices.Contains(aptOff, strings.ToLower(value))
		}
	}
	if local || off {
		return ""
	}
	return said
}

// aptOff is how apt spells that a switch is off.
var aptOff = []string{"0", "no", "false", "without", "off", "disable"}

func fromDisk(uri string) bool {
	return slices.ContainsFunc([]string{"file:", "copy:", "cdrom:"}, func(s string) bool { return strings.HasPrefix(uri, s) })
}
