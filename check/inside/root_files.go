package inside

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/ringwall/ringwall/check"
)

// believed is what root runs, or takes for true: programs on its path, jobs, units,
// accounts, rules, and the folders that hold them.
var believed = []string{
	"/", "/etc", "/usr", "/usr/local", "/root", "/opt",
	"/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/etc/sudoers", "/etc/sudoers.d", "/etc/sudoers.d/*",
	"/etc/crontab", "/etc/cron.*", "/etc/cron.*/*",
	"/etc/systemd/system", "/etc/systemd/system/*", "/etc/systemd/system/*/*", "/usr/lib/systemd/system", "/usr/lib/systemd/system/*", "/etc/init.d", "/etc/init.d/*", "/etc/rc.local",
	"/etc/profile", "/etc/profile.d", "/etc/profile.d/*", "/etc/bash.bashrc", "/etc/environment",
	"/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/ld.so.conf.d/*", "/etc/ld.so.preload",
	"/etc/pam.d", "/etc/pam.d/*", "/etc/security", "/etc/security/*", "/etc/ssh", "/etc/ssh/*", "/etc/ssh/sshd_config.d/*",
	"/etc/apt", "/etc/apt/*", "/etc/apt/*/*", "/etc/modprobe.d", "/etc/modprobe.d/*", "/etc/sysctl.d", "/etc/sysctl.d/*", "/etc/ufw", "/etc/ufw/*", "/etc/fail2ban", "/etc/fail2ban/*", "/etc/fail2ban/*/*",
	"/etc/nginx", "/etc/nginx/*", "/etc/nginx/*/*", "/etc/ringwall", "/etc/ringwall/*", "/etc/ringwall/*/*",
	"/root/.ssh", "/root/.ssh/*", "/root/.bashrc", "/root/.profile",
	"/usr/bin", "/usr/bin/*", "/usr/sbin", "/usr/sbin/*", "/usr/local/bin", "/usr/local/bin/*", "/usr/local/sbin", "/usr/local/sbin/*", "/usr/local/lib",
}

// closed are those that others may not even read.
var closed = []string{"/etc/shadow", "/etc/gshadow", "/etc/sudoers"}

// rootFiles finds what somebody else could write and root would then run.
var rootFiles = Check{
	Meta: check.Meta{
		ID:    "inside/root-files",
		Title: "What root runs and believes only root can write",
		Why:   "A program in root's path, a job or an account file that another can write makes every foothold the whole server.",
		Ref:   "CIS Debian 12, 7.1; CIS Controls v8 3.3; CWE-732; blueprint H1, T9",
		Layer: "host",
	},
	Verify: func(ctx context.Context, m *Machine) check.Finding {
		var open, fix []string
		var dark error
		n := 0
		advise := func(how string) {
			if !slices.Contains(fix, how) {
				fix = append(fix, how)
			}
		}
		for _, pattern := range believed {
			for _, name := range m.glob(pattern) {
				if ctx.Err() != nil {
					return check.Unseen("%d files are root's alone, and then: %v", n, ctx.Err())
				}
				// What a link names is what is run; /dev/null is a unit that is off.
				fi, err := os.Stat(m.path(name))
				if err != nil || !fi.IsDir() && !fi.Mode().IsRegular() {
					continue
				}
				n++
				list, inherited, err := m.accessLists(name, fi)
				if err != nil {
					dark = fmt.Errorf("%s: %w", name, err)
				}
				given := m.granted(list, mayWrite)
				switch who := m.writers(name, fi, list); {
				case who != "":
					// chown takes the bit from a program that runs as its owner or group.
					if fi.Mode().IsRegular() && fi.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
						advise("install the package anew that brought what runs as its owner or group, or remove it where none did")
					} else {
						advise("chown root:root each of them, and chmod go-w")
					}
					open = append(open, fmt.Sprintf("%s (%04o, %s)", name, fi.Mode().Perm(), who))
				case given != "":
					advise("setfacl -b what an access list opens")
					open = append(open, fmt.Sprintf("%s (its access list lets %s write it)", name, given))
				case m.granted(inherited, mayWrite) != "":
					advise("setfacl -k the folders")
					open = append(open, fmt.Sprintf("%s (its default access list lets %s write what is made in it)", name, m.granted(inherited, mayWrite)))
				case slices.Contains(closed, name) && fi.Mode().Perm()&0o004 != 0:
					advise("chmod o-r what everybody reads")
					open = append(open, fmt.Sprintf("%s (%04o, everybody reads it)", name, fi.Mode().Perm()))
				case slices.Contains(closed, name) && m.granted(list, mayRead) != "":
					advise("setfacl -b what an access list opens")
					open = append(open, fmt.Sprintf("%s (its access list lets %s read it)", name, m.granted(list, mayRead)))
				}
			}
		}
		m.note(check.Exchange{Sent: "[owner, mode and access list of what root runs: " + strings.Join(believed[:6], " ") + " ...]", Received: fmt.Sprintf("[%d files and folders]", n)})
		switch {
		case len(open) > 0:
			return check.Failed(some(open), "root's, and written by nobody else", strings.Join(fix, "; ")+"; where that was open for long, look what stands in it")
		case dark != nil:
			return check.Unseen("%d files are root's alone by owner and mode, and one has an access list that cannot be read: %v", n, dark)
		case n < 10:
			return check.Unseen("only %d files of root's were found", n)
		case m.UID != 0:
			return check.Unseen("%d files are root's alone, and some cannot be seen: %v", n, errNotRoot)
		}
		return check.Passed("%d files and folders that root runs or believes, each root's alone to write", n)
	},
}

// daemons are the programs that a package gives to daemon, which is 1 on every
// Debian and Ubuntu.
var daemons = []string{"/usr/bin/at", "/usr/bin/atq", "/usr/bin/atrm"}

// writers says who beside root may write a file, "" for nobody. What root believes
// is no folder for everybody: that nobody removes another's file is not enough.
func (m *Machine) writers(name string, fi fs.FileInfo, list accessList) string {
	itsGroup := uint16(fi.Mode().Perm() >> 3)
	if list.there {
		itsGroup = list.group
	}
	switch uid := uidOf(fi); {
	case uid != m.root() && !(uid == 1 && slices.Contains(daemons, name)):
		return fmt.Sprintf("the user %s owns it", m.named("/etc/passwd", uid))
	case fi.Mode().Perm()&0o002 != 0:
		return "everybody writes it"
	case itsGroup&mayWrite != 0:
		if gid := gidOf(fi); gid != 0 && m.hasMembers(gid) {
			return fmt.Sprintf("the group %s writes it", m.named("/etc/group", gid))
		}
	}
	return ""
}

// accessLists are those of a file and, of a folder, of what is made in it.
func (m *Machine) accessLists(name string, fi fs.FileInfo) (list, inherited accessList, err error) {
	if list, err = accessListOf(m.path(name), false); err == nil && fi.IsDir() {
		inherited, err = accessListOf(m.path(name), true)
	}
	return list, inherited, err
}

// granted names who beside root may do something by an access list, "" for nobody.
func (m *Machine) granted(list accessList, perm uint16) string {
	if list.everybody&perm != 0 {
		return "everybody"
	}
	for _, g := range list.more {
		switch {
		case g.perm&perm == 0:
		case g.group && g.id != 0 && m.hasMembers(g.id):
			return "the group " + m.named("/etc/group", g.id)
		case !g.group && g.id != m.root():
			return "the user " + m.named("/etc/passwd", g.id)
		}
	}
	return ""
}

// named is the name of a number in passwd(5) or group(5), or the number.
func (m *Machine) named(file string, id uint32) string {
	b, _ := m.head(file, 1<<20) // without it the number is all that is known
	for _, line := range lines(b) {
		if part := strings.Split(string(line), ":"); len(part) > 2 && part[2] == strconv.Itoa(int(id)) {
			return part[0]
		}
	}
	return strconv.Itoa(int(id))
}

// hasMembers reports a group that somebody is in.
func (m *Machine) hasMembers(gid uint32) bool {
	id := strconv.Itoa(int(gid))
	groups, gerr := m.head("/etc/group", 1<<20)
	users, uerr := m.head("/etc/passwd", 1<<20)
	if gerr != nil || uerr != nil {
		return true
	}
	for _, line := range lines(groups) {
		if part := strings.Split(strings.TrimSpace(string(line)), ":"); len(part) > 3 && part[2] == id && part[3] != "" {
			return true
		}
	}
	for _, line := range lines(users) {
		if part := strings.Split(string(line), ":"); len(part) > 3 && part[3] == id {
			return true
		}
	}
	return false
}

// root is the number of root: on a copy, who made it. Whoever owns / is not asked,
// as that may be the mistake.
func (m *Machine) root() uint32 {
	if m.Root == "" {
		return 0
	}
	return uint32(os.Geteuid())
}

func uidOf(fi fs.FileInfo) uint32 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return st.Uid
	}
	return ^uint32(0)
}

func gidOf(fi fs.FileInfo) uint32 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return st.Gid
	}
	return ^uint32(0)
}

func devOf(fi fs.FileInfo) uint64 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Dev)
	}
	return 0
}
