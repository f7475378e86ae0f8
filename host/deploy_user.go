package host

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/policy"
)

// loginGroup is the group of those who may sign in over SSH.
const loginGroup = "ssh-login"

const sudoers = "/etc/sudoers.d/ringwall"

var deployUser = Control{
	Meta: check.Meta{
		ID:    "host/deploy-user",
		Title: "A user with sudo and a key works in the place of root",
		Why:   "every attacker knows the name root, and what runs as root needs no second mistake",
		Ref:   "CIS Debian 12, 5.2; blueprint H1, T9",
	},
	Plan:   planDeployUser,
	Verify: verifyDeployUser,
}

func planDeployUser(p *policy.Policy, f *Facts) ([]Change, error) {
	name := p.Host.DeployUser
	who, err := f.Account(name)
	if err != nil {
		return nil, err
	}
	changes, err := f.install("sudo")
	if err != nil {
		return nil, err
	}
	home, owner := "/home/"+name, name+":"+name
	if who != nil {
		home = who.Home
		if s := who.Shell; strings.HasSuffix(s, "/nologin") || strings.HasSuffix(s, "/false") {
			return nil, fmt.Errorf("the account %s cannot sign in: its shell is %s; name another in host.deploy_user, or: chsh -s /bin/bash %s", name, s, name)
		}
	}
	if who == nil || !slices.Contains(who.Groups, "sudo") || !slices.Contains(who.Groups, loginGroup) {
		title := "make the user " + name + ", without a password, in the groups sudo and " + loginGroup
		if who != nil {
			title = "put " + name + " into the groups sudo and " + loginGroup
		}
		changes = append(changes, Change{Title: title, Early: true, User: &User{Name: name, Groups: []string{"sudo", loginGroup}}})
	}
	for _, other := range p.Host.SSH.Users {
		a, err := f.Account(other)
		switch {
		case err != nil:
			return nil, err
		case a == nil:
			return nil, fmt.Errorf("host.ssh.users names %s, and there is no such account: adduser %s", other, other)
		case !slices.Contains(a.Groups, loginGroup):
			changes = append(changes, Change{Title: "let " + other + " sign in over SSH, too", Early: true, User: &User{Name: other, Groups: []string{loginGroup}}})
		}
	}
	lines, err := deployKeys(p, f, who)
	if err != nil {
		return nil, err
	}
	file, err := f.File(home + "/.ssh/authorized_keys")
	if err != nil {
		return nil, err
	}
	// What is there stays: it may hold keys that the policy does not know.
	content := file.Content
	for _, line := range lines {
		if !strings.Contains("\n"+content, "\n"+line+"\n") {
			if content != "" && !strings.HasSuffix(content, "\n") {
				content += "\n"
			}
			content += line + "\n"
		}
	}
	for _, change := range []Change{
		{Title: "let " + name + " use sudo without a password, which it does not have", File: &File{
			Path: sudoers, Mode: 0o440, Content: "# " + name + " has no password: the key is what it signs in with.\n" + name + " ALL=(ALL:ALL) NOPASSWD: ALL\n",
			Check: []string{"visudo", "-c", "-q"}}},
		{Title: "make the folder of its keys", File: &File{Path: home + "/.ssh", Mode: 0o700, Owner: owner, Folder: true}},
		{Title: "give it its keys", File: &File{Path: home + "/.ssh/authorized_keys", Mode: 0o600, Owner: owner, Content: content}},
	} {
		change.Early = true
		more, err := f.need(change)
		if err != nil {
			return nil, err
		}
		changes = append(changes, more...)
	}
	locked, err := f.PasswordLocked("root")
	if err != nil || locked {
		return changes, err
	}
	undo := []string{"usermod", "-U", "root"}
	if open, err := f.WithoutPassword(); err != nil {
		return nil, err
	} else if slices.Contains(open, "root") { // usermod unlocks none that is empty
		undo = []string{"passwd", "-d", "root"}
	}
	return append(changes, Change{Title: "lock root's password", Command: &Command{Argv: []string{"usermod", "-L", "root"}, Undo: undo}}), nil
}

// deployKeys are the lines that must be in the deploy user's authorized_keys:
// the policy's; else root's and those of who called sudo, as long as the user
// has none of its own. It is an error when no key would be there at all.
func deployKeys(p *policy.Policy, f *Facts, who *Account) ([]string, error) {
	if len(p.Host.Keys) > 0 {
		_, lines, skipped := keys(strings.Join(p.Host.Keys, "\n"))
		if len(skipped) > 0 {
			return nil, fmt.Errorf("host.keys: %.40q is not a public key", skipped[0])
		}
		return lines, nil
	}
	if who != nil {
		file, err := f.File(who.Home + "/.ssh/authorized_keys")
		if err != nil {
			return nil, err
		}
		if found, _, _ := keys(file.Content); len(found) > 0 {
			return nil, nil
		}
	}
	homes := []string{"/root"}
	if name := f.Caller(); name != "" {
		a, err := f.Account(name)
		if err != nil {
			return nil, err
		}
		if a != nil {
			homes = append(homes, a.Home)
		}
	}
	more := ""
	var lines []string
	for _, home := range homes {
		file, err := f.File(home + "/.ssh/authorized_keys")
		if err != nil {
			return nil, err
		}
		_, found, skipped := keys(file.Content)
		if lines = append(lines, found...); len(skipped) > 0 {
			more += fmt.Sprintf(" (%s/.ssh/authorized_keys has %d lines that are no key, or keys with options)", home, len(skipped))
		}
	}
	if len(lines) == 0 {
		return nil, fmt.Errorf("no key would let %s in, and passwords are to go%s; give host.keys: [\"ssh-ed25519 AAAA... you@laptop\"]: the file on your own machine that ends in .pub", p.Host.DeployUser, more)
	}
	return lines, nil
}

// ownersKeys are the keys that the deploy user has.
func ownersKeys(p *policy.Policy, f *Facts) ([]ssh.PublicKey, error) {
	who, err := f.Account(p.Host.DeployUser)
	if err != nil {
		return nil, err
	}
	if who == nil {
		return nil, fmt.Errorf("there is no user %s", p.Host.DeployUser)
	}
	file, err := f.File(who.Home + "/.ssh/authorized_keys")
	if err != nil {
		return nil, err
	}
	found, _, _ := keys(file.Content)
	if len(found) == 0 {
		return nil, errors.New(who.Home + "/.ssh/authorized_keys holds no key")
	}
	return found, nil
}

func verifyDeployUser(p *policy.Policy, f *Facts) check.Finding {
	const want, fix = "an account with a key and sudo, and no password for root", "ringwall host apply"
	name := p.Host.DeployUser
	who, err := f.Account(name)
	if err != nil {
		return check.Unseen("%v", err)
	}
	if who == nil {
		return check.Failed("there is no user "+name, want, fix)
	}
	found, err := ownersKeys(p, f)
	if err != nil {
		return check.Failed(err.Error(), want, fix)
	}
	said, err := f.ask(askSudo, name)
	may, asked := sudoAll(said)
	switch {
	case err != nil:
		return check.Unseen("%v", err)
	case !may:
		return check.Failed("sudo -l says that "+name+" may not do everything as root", want, fix)
	}
	if asked {
		locked, err := f.PasswordLocked(name)
		switch {
		case err != nil:
			return check.Unseen("%v", err)
		case locked:
			return check.Failed("sudo asks "+name+" for a password, and there is none", want, fix)
		}
	}
	locked, err := f.PasswordLocked("root")
	switch {
	case err != nil:
		return check.Unseen("%v", err)
	case !locked:
		return check.Failed("root's password lets in", want, fix)
	}
	return check.Passed("%s has uid %d, %d key(s) and sudo; root's password is locked", name, who.UID, len(found))
}

// sudoRule is a line of sudo -l for every command: as whom, and what is said of it.
var sudoRule = regexp.MustCompile(`(?m)^\s+\(([^):]*)(?::[^)]*)?\) ((?:[A-Z_]+: )*)ALL$`)

// sudoAll reads from sudo -l whether an account may do everything as root, and whether
// it is asked for a password then. Of several rules the last one counts, sudoers(5).
func sudoAll(said string) (may, asked bool) {
	for _, m := range sudoRule.FindAllStringSubmatch(said, -1) {
		as := strings.Split(strings.ReplaceAll(m[1], " ", ""), ",")
		root := slices.Contains(as, "ALL") || slices.Contains(as, "root") || slices.Contains(as, "#0")
		if root && !slices.Contains(as, "!root") && !slices.Contains(as, "!#0") {
			may, asked = true, !strings.Contains(m[2], "NOPASSWD: ")
		}
	}
	return may, asked
}
