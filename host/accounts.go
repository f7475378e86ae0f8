package host

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/policy"
)

var accounts = Control{
	Meta: check.Meta{
		ID:    "host/accounts",
		Title: "Nobody comes in or becomes root but who did when it was confirmed",
		Why:   "who broke in once leaves a second root, a line in sudoers or a key of his own, and comes back by the front door",
		Ref:   "CIS Debian 12, 7.2; sudoers(5); sshd(8), AUTHORIZED_KEYS; MITRE ATT&CK T1098.004, T1136.001; blueprint H1, H2, T9, checklist 8",
	},
	Plan:   planAccounts,
	Verify: verifyAccounts,
}

// WaysInFile is where the ways in are kept that the owner confirmed, a line each.
const WaysInFile = "/var/lib/ringwall/host/ways-in"

// planAccounts never takes away an account, a key or a rule: whose it is the
// owner knows. It tells of what no server should have.
func planAccounts(_ *policy.Policy, f *Facts) ([]Change, error) {
	wrong, _, err := strangeAccounts(f)
	switch {
	case err != nil: // it changes nothing, and stands in nobody's way
		return nil, Hint(err.Error())
	case wrong != "":
		return nil, Hint(wrong)
	}
	return nil, nil
}

// strangeAccounts says what is wrong with the accounts of any server, "" when
// nothing is, and what to type.
func strangeAccounts(f *Facts) (wrong, fix string, err error) {
	all, err := f.Accounts()
	if err != nil {
		return "", "", err
	}
	for _, a := range all {
		if a.UID == 0 && a.Name != "root" {
			return a.Name + " has the uid 0, and is root by another name", "who made it? userdel -f " + a.Name, nil
		}
	}
	open, err := f.WithoutPassword()
	if err != nil {
		return "", "", err
	}
	if len(open) > 0 {
		return some(open) + ": no password is asked for", "usermod -L " + open[0], nil
	}
	sudo, err := f.Installed("sudo")
	if err != nil || !sudo {
		return "", "", err
	}
	began := time.Now()
	for i, a := range all {
		if !a.service() {
			continue
		}
		if time.Since(began) > longestLook {
			return "", "", unasked(all, i)
		}
		said, err := f.ask(askSudo, a.Name)
		if err != nil {
			return "", "", err
		}
		if may, _ := sudoAll(said); may {
			return a.Name + " is the account of a service, and may do everything as root", "sudo -l -U " + a.Name + "; then take it out of /etc/sudoers, /etc/sudoers.d or the group sudo", nil
		}
	}
	return "", "", nil
}

// longestLook bounds what is asked of each account: where a directory of people lists a
// hundred thousand of them, or their homes are on a server that does not answer, the
// rest is unseen.
const longestLook = time.Minute

// unasked tells who was not looked at.
func unasked(all []Account, from int) error {
	return fmt.Errorf("%d of %d accounts, from %s on: the others took %v", len(all)-from, len(all), all[from].Name, longestLook)
}

// WaysIn lists by what somebody comes in, or becomes root, on this server as it is:
// a line each, in order. What an account itself writes, the options of its keys, is
// quoted and cut. What could not be looked at within longestLook, or at all, is a line
// that begins with Unseen.
//
// An account without a shell is none without a way in: to who has its key or password
// sshd opens connections to what listens on this machine alone.
func WaysIn(f *Facts) ([]string, error) {
	all, err := f.Accounts()
	if err != nil {
		return nil, err
	}
	sudo, err := f.Installed("sudo")
	if err != nil {
		return nil, err
	}
	open, err := f.withPassword()
	if err != nil {
		return nil, err
	}
	var ways []string
	began := time.Now()
	for i, a := range all {
		if time.Since(began) > longestLook {
			ways = append(ways, Unseen+unasked(all, i).Error())
			break
		}
		if a.UID == 0 {
			ways = append(ways, "root: "+a.Name)
		} else if sudo {
			said, err := f.ask(askSudo, a.Name)
			if err != nil {
				return nil, err
			}
			for _, rule := range rules(said) {
				ways = append(ways, "sudo: "+a.Name+" "+rule)
			}
		}
		if slices.Contains(open, a.Name) {
			ways = append(ways, "password: "+a.who())
		}
		ways = append(ways, waysOf(a, f)...)
	}
	for _, group := range asRoot {
		names, _, err := f.Members(group)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			ways = append(ways, "group "+group+": "+name)
		}
	}
	slices.Sort(ways)
	return slices.Compact(ways), nil
}

// asRoot are groups whose members are root by another way: they start containers
// with the server's disk in them, or read the disk, or everybody's passwords.
var asRoot = []string{"docker", "lxd", "incus-admin", "disk", "shadow"}

// rules are those that sudo -l lists for an account, a line each.
func rules(said string) (out []string) {
	for line := range strings.Lines(said) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "(") {
			out = append(out, line)
		}
	}
	return out
}

// Unseen begins what could not be looked at, of one account, which hides no other.
const Unseen = "unseen: "

// waysOf are the keys that let an account in, wherever sshd looks for them.
func waysOf(a Account, f *Facts) (ways []string) {
	s, err := f.SSHD(a.Name, "192.0.2.1")
	if err != nil {
		return []string{Unseen + err.Error()}
	}
	for _, keyword := range []string{"trustedusercakeys", "authorizedkeyscommand", "authorizedprincipalscommand", "authorizedprincipalsfile"} {
		if v := s.Get(keyword); v != "" && v != "none" {
			ways = append(ways, "sshd: "+keyword+" "+v)
		}
	}
	for _, name := range strings.Fields(strings.Join(s["authorizedkeysfile"], " ")) {
		if name == "none" {
			continue
		}
		name = strings.NewReplacer("%%", "%", "%h", a.Home, "%u", a.Name, "%U", fmt.Sprint(a.UID)).Replace(name)
		if !strings.HasPrefix(name, "/") {
			name = a.Home + "/" + name
		}
		file, err := f.File(name)
		switch {
		case err != nil:
			ways = append(ways, Unseen+"keys of "+a.Name+": "+err.Error())
		case file.Exists && !file.Mode.IsRegular():
			ways = append(ways, "key: "+a.who()+", behind the link "+name)
		}
		for line := range strings.Lines(file.Content) {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
				ways = append(ways, "key: "+a.who()+" "+keyOf(line))
			}
		}
	}
	return ways
}

// keyOf names the key of a line of authorized_keys, and what bounds it. sshd takes some
// lines that our parser does not, such as one with a zero byte behind the key, or an RSA
// key with a long exponent: whatever is none here may be one there.
func keyOf(line string) string {
	key, _, options, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		sum := sha256.Sum256([]byte(line))
		return fmt.Sprintf("on a line that only sshd may understand, %x: %.40q", sum[:8], line)
	}
	way := ssh.FingerprintSHA256(key)
	if slices.Contains(options, "cert-authority") {
		way = "certificates of " + way
	}
	if len(options) > 0 { // which bound what it may do
		way += fmt.Sprintf(" with %.120q", strings.Join(options, ","))
	}
	return way
}

func verifyAccounts(_ *policy.Policy, f *Facts) check.Finding {
	const want = "one root, no account without a password or a lock, no service that is root by sudo"
	wrong, fix, err := strangeAccounts(f)
	switch {
	case err != nil:
		return check.Unseen("%v", err)
	case wrong != "":
		return check.Failed(wrong, want, fix)
	}
	ways, err := WaysIn(f)
	if err != nil {
		return check.Unseen("%v", err)
	}
	dark := slices.IndexFunc(ways, func(w string) bool { return strings.HasPrefix(w, Unseen) })
	kept, err := f.File(WaysInFile)
	switch {
	case err != nil:
		return check.Unseen("%v", err)
	case !kept.Exists:
		return check.Moot("one root, and %d ways in and to root, of which nobody has confirmed that they are right: that is done with ringwall host apply, by its confirm", len(ways))
	}
	if more := NewWays(kept.Content, ways); len(more) > 0 {
		return check.Failed("since it was confirmed: "+some(more), "the ways in that were confirmed", "when it is yours: ringwall host confirm; otherwise take it away, and look for who left it")
	}
	if dark >= 0 {
		return check.Unseen("%s", ways[dark])
	}
	return check.Passed("%d ways in, and to root, and each was confirmed", len(ways))
}

// NewWays are those that are not among what was kept, without what was not seen.
func NewWays(kept string, ways []string) []string {
	old := map[string]bool{}
	for way := range strings.SplitSeq(kept, "\n") {
		old[way] = true
	}
	return slices.DeleteFunc(slices.Clone(ways), func(w string) bool { return old[w] || strings.HasPrefix(w, Unseen) })
}

// Accounts are all users of the system, without their groups.
func (f *Facts) Accounts() ([]Account, error) {
	said, err := f.ask(askAccounts)
	if err != nil {
		return nil, err
	}
	var all []Account
	for line := range strings.Lines(said) {
		a, err := account(line)
		if err != nil {
			return nil, err
		}
		all = append(all, *a)
	}
	if len(all) == 0 {
		return nil, errors.New("getent passwd names nobody")
	}
	return all, nil
}

// service reports an account that is no person's, login.defs(5), UID_MIN.
func (a Account) service() bool { return a.UID < 1000 && a.UID != 0 || a.noShell() }

// noShell reports an account that nobody gets a shell of.
func (a Account) noShell() bool {
	return slices.Contains([]string{"nologin", "false", "sync"}, path.Base(a.Shell))
}

// who names an account in a way in, which is another once it has a shell.
func (a Account) who() string {
	if a.noShell() {
		return a.Name + " (no shell)"
	}
	return a.Name
}

// withPassword are the accounts that are not locked for passwords.
func (f *Facts) withPassword() (names []string, err error) {
	said, err := f.ask(askPasswords)
	for line := range strings.Lines(said) {
		if field := strings.Fields(line); len(field) > 1 && field[1] != "L" && field[1] != "LK" {
			names = append(names, field[0])
		}
	}
	return names, err
}

// WithoutPassword are the accounts that let in whoever gives no password at all.
func (f *Facts) WithoutPassword() (names []string, err error) {
	said, err := f.ask(askPasswords)
	for line := range strings.Lines(said) {
		if field := strings.Fields(line); len(field) > 1 && field[1] == "NP" {
			names = append(names, field[0])
		}
	}
	return names, err
}
