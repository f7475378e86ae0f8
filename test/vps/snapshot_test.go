//go:build linux

package vps_test

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ringwall/ringwall/test/vps"
)

// leftovers are what Debian's own tools leave behind or touch, whoever runs
// them.
var leftovers = []string{
	"/etc/passwd-", "/etc/shadow-", "/etc/group-", "/etc/gshadow-", "/etc/subuid-", "/etc/subgid-", "/etc/.pwd.lock", "/etc/ld.so.cache",
	"/etc/mtab", "/etc/resolv.conf", "/etc/ringwall", "/etc/python3", "/etc/python3.11", "/etc/alternatives",
}

// A snapshot is what a server is: its settings, its accounts, what is in force.
type snapshot map[string]string

func snap(t *testing.T, s *vps.Server) snapshot {
	t.Helper()
	now := snapshot{}
	for _, top := range []string{"/etc", "/home", "/root"} {
		err := filepath.WalkDir(filepath.Join(s.Root, top), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			name := strings.TrimPrefix(path, s.Root)
			for _, l := range leftovers {
				if name == l || strings.HasPrefix(name, l+"/") {
					return nil
				}
			}
			fi, err := os.Lstat(path)
			if err != nil {
				return err
			}
			st := fi.Sys().(*syscall.Stat_t)
			text := fmt.Sprintf("%v %d:%d", fi.Mode(), st.Uid, st.Gid)
			switch {
			case fi.Mode()&fs.ModeSymlink != 0:
				to, _ := os.Readlink(path)
				text += " -> " + to
			case fi.Mode().IsRegular():
				b, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				text += fmt.Sprintf(" %x", sha256.Sum256(b))
			}
			now[name] = text
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, ask := range []string{
		"sshd -T", "dpkg-query -W -f '${db:Status-Status} ${Package}\n' | grep ^installed", "systemctl list-unit-files --state=enabled --no-legend --no-pager",
		"systemctl show ssh.service ssh.socket ufw.service -p ActiveState,UnitFileState", "ufw status verbose 2>/dev/null || true",
		"(iptables -S; ip6tables -S) 2>/dev/null | grep -v ufw || true",
	} {
		now["$ "+ask] = s.Run("sh", "-c", ask)
	}
	return now
}

// same reports what differs between two snapshots.
func same(t *testing.T, when string, before, after snapshot) {
	t.Helper()
	var out []string
	for k, v := range before {
		if after[k] != v {
			out = append(out, k+differing("-", v, after[k])+differing("+", after[k], v))
		}
	}
	for k, v := range after {
		if _, ok := before[k]; !ok {
			out = append(out, k+" is new: "+v)
		}
	}
	slices.Sort(out)
	if len(out) > 0 {
		t.Errorf("%s: not as it was:\n%s", when, strings.Join(out, "\n"))
	}
}

// differing are the lines of a text that another lacks.
func differing(sign, text, other string) (out string) {
	theirs := strings.Split(other, "\n")
	for line := range strings.SplitSeq(text, "\n") {
		if !slices.Contains(theirs, line) {
			out += "\n\t" + sign + line
		}
	}
	return out
}
