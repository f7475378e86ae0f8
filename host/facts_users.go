package host

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"
)

// An Account is a user of the system.
type Account struct {
	Name   string
	UID    int
	Home   string
	Shell  string
	Groups []string

	gid string // of its first group
}

// Account looks a user up; nil is none of that name.
func (f *Facts) Account(name string) (*Account, error) {
	said, err := f.ask(askPasswd, name)
	var no *Refusal
	if errors.As(err, &no) && no.Code == 2 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	a, err := account(said)
	if err != nil {
		return nil, err
	}
	groups, err := f.ask(askGroups, name)
	a.Groups = strings.Fields(groups)
	return a, err
}

// account reads a line of passwd(5).
func account(line string) (*Account, error) {
	part := strings.Split(strings.TrimSpace(line), ":")
	if len(part) != 7 {
		return nil, fmt.Errorf("getent passwd: %q is no account", line)
	}
	uid, err := strconv.Atoi(part[2])
	if err != nil {
		return nil, fmt.Errorf("getent passwd: %w", err)
	}
	return &Account{Name: part[0], UID: uid, Home: part[5], Shell: part[6], gid: part[3]}, nil
}

// Members lists who is in a group by the group's own line, which leaves out
// those whose first group it is. ok is false when there is no such group.
func (f *Facts) Members(group string) (names []string, ok bool, err error) {
	line, ok, err := f.group(group)
	return line.members, ok, err
}

// A groupLine is one of group(5).
type groupLine struct {
	gid     string
	members []string
}

func (f *Facts) group(name string) (line groupLine, ok bool, err error) {
	said, err := f.ask(askGroup, name)
	var no *Refusal
	if errors.As(err, &no) && no.Code == 2 {
		return line, false, nil
	}
	if err != nil {
		return line, false, err
	}
	part := strings.Split(strings.TrimSpace(said), ":")
	if len(part) != 4 {
		return line, false, fmt.Errorf("getent group %s: %q is no group", name, said)
	}
	return groupLine{part[2], strings.FieldsFunc(part[3], func(r rune) bool { return r == ',' })}, true, nil
}

// PasswordLocked reports whether no password lets a user in.
func (f *Facts) PasswordLocked(name string) (bool, error) {
	said, err := f.ask(askPassword, name)
	if err != nil {
		return false, err
	}
	field := strings.Fields(said)
	if len(field) < 2 {
		return false, fmt.Errorf("passwd -S %s: %q", name, said)
	}
	return field[1] == "L" || field[1] == "LK", nil
}

// Keys are the public keys of a text as authorized_keys has it. Lines that are
// none, and keys with options, which may forbid all or allow only one command,
// are returned as skipped.
func keys(text string) (found []ssh.PublicKey, lines, skipped []string) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		key, _, options, _, err := ssh.ParseAuthorizedKey([]byte(line))
		if err != nil || len(options) > 0 {
			skipped = append(skipped, line)
			continue
		}
		found, lines = append(found, key), append(lines, line)
	}
	return found, lines, skipped
}
