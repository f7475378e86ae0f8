package host_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/host"
	"github.com/ringwall/ringwall/policy"
)

// machine is a server with a kernel of its own, which the disposable one of
// test/vps does not have.
type machine struct {
	host.Source // what is not asked here is nil

	files map[string]string
	said  map[host.Query]string
	units map[string]string // those that run
}

func (m *machine) ReadFile(path string) (host.FileState, error) {
	content, ok := m.files[path]
	return host.FileState{Exists: ok, Content: content, Mode: 0o644, Owner: "root:root"}, nil
}

func (m *machine) Glob(string) ([]string, error) { return nil, nil }

func (m *machine) Ask(q host.Query, args ...string) (string, error) {
	switch q {
	case "systemctl show":
		if name := args[len(args)-1]; m.units[name] != "" {
			return "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\n", nil
		}
		return "LoadState=not-found\nActiveState=inactive\nUnitFileState=\n", nil
	case "dpkg-query":
		return "installed 1", nil
	}
	if said, ok := m.said[q]; ok {
		return said, nil
	}
	return "", errors.New("not asked in this test: " + string(q))
}

func (m *machine) Offer(string, string, ssh.PublicKey) (host.Offer, error) {
	return host.Offer{}, errors.New("no SSH server")
}

const routes = `[{"dst":"default","gateway":"192.168.1.1","dev":"eth0","flags":[]},{"dst":"192.168.1.0/24","dev":"eth0","protocol":"kernel","scope":"link"},{"type":"local","dst":"192.168.1.2","dev":"eth0","table":"local"}]`

// rightMachine has what the controls ask for.
func rightMachine() *machine {
	m := &machine{
		files: map[string]string{
			"/etc/os-release": "ID=debian\nVERSION_ID=\"12\"\n", "/proc/modules": "ext4 100 1 - Live 0x0\nusb_storage 81920 2 uas, Live 0x0\n",
			"/proc/self/mountinfo":       "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n",
			"/proc/sys/kernel/osrelease": "6.1.0-40-amd64\n", "/lib/modules/6.1.0-40-amd64/modules.builtin": "kernel/fs/ext4/ext4.ko\nkernel/crypto/rxrpc-like.ko\n",
		},
		said: map[host.Query]string{"systemd-detect-virt": "none\n", "timedatectl show": "yes\n", "ip -4 route": routes},
		units: map[string]string{
			"systemd-timesyncd.service": "active",
		},
	}
	for name, value := range map[string]string{
		"kernel/randomize_va_space": "2", "kernel/kptr_restrict": "2", "kernel/dmesg_restrict": "1", "kernel/yama/ptrace_scope": "2", "kernel/sysrq": "0",
		"kernel/unprivileged_bpf_disabled": "1", "fs/suid_dumpable": "0", "fs/protected_regular": "2",
		"net/ipv4/conf/all/rp_filter": "1", "net/ipv4/conf/all/accept_redirects": "0", "net/ipv4/tcp_syncookies": "1",
	} {
		m.files["/proc/sys/"+name] = value + "\n"
	}
	var config strings.Builder
	for _, name := range []string{"dccp", "sctp", "rds", "tipc", "n_hdlc", "ax25", "netrom", "x25", "rose", "decnet", "econet", "af-802154", "ipx", "appletalk", "psnap", "p8023", "p8022", "can", "atm",
		"bluetooth", "caif_socket", "ieee802154_socket", "kcm", "llc2", "mISDN_core", "n_gsm", "nfc", "phonet", "qrtr", "rxrpc", "smc", "cramfs", "freevxfs", "jffs2", "hfs", "hfsplus", "firewire-ohci"} {
		config.WriteString("install " + name + " /bin/false\n")
	}
	m.said["modprobe --showconfig"] = config.String()
	return m
}

func TestVerdictsOfTheKernel(t *testing.T) {
	file := func(path, content string) func(*machine) {
		return func(m *machine) { m.files[path] = content }
	}
	say := func(q host.Query, text string) func(*machine) { return func(m *machine) { m.said[q] = text } }
	for _, tt := range []struct {
		name, control string
		change        func(*machine)
		want          check.Verdict
		got           string
	}{
		{"right", "host/kernel", nil, check.Pass, "8 settings"},
		{"loose", "host/kernel", file("/proc/sys/kernel/yama/ptrace_scope", "0\n"), check.Fail, "kernel.yama.ptrace_scope is 0"},
		{"a container", "host/kernel", say("systemd-detect-virt", "lxc\n"), check.Unknown, "lxc"},
		{"no answer", "host/kernel", say("systemd-detect-virt", "\n"), check.Unknown, "empty answer"},
		{"no /proc", "host/kernel", func(m *machine) {
			for path := range m.files {
				if strings.HasPrefix(path, "/proc/sys/") {
					delete(m.files, path)
				}
			}
		}, check.Unknown, "none of the settings"},

		{"right", "host/sysctl", nil, check.Pass, "3 settings"},
		{"redirects", "host/sysctl", file("/proc/sys/net/ipv4/conf/all/accept_redirects", "1\n"), check.Fail, "accept_redirects is 1"},
		{"loose with one uplink", "host/sysctl", file("/proc/sys/net/ipv4/conf/all/rp_filter", "2\n"), check.Fail, "rp_filter is 2"},
		{"loose with two uplinks", "host/sysctl", func(m *machine) {
			m.files["/proc/sys/net/ipv4/conf/all/rp_filter"] = "2\n"
			m.said["ip -4 route"] = `[{"dst":"default","dev":"eth0"},{"dst":"default","dev":"eth1","table":"100"}]`
		}, check.Pass, "3 settings"},
		{"no routes seen", "host/sysctl", func(m *machine) { delete(m.said, "ip -4 route") }, check.Unknown, "which interfaces lead out"},
		{"closed to a container", "host/sysctl", func(m *machine) {
			m.said["systemd-detect-virt"] = "docker\n"
			m.files["/proc/self/mountinfo"] += "22 21 0:5 / /proc/sys ro,nosuid - proc proc rw\n"
		}, check.Unknown, "docker"},

		{"right", "host/protocols", nil, check.Pass, "in use: usb_storage"},
		{"open", "host/protocols", say("modprobe --showconfig", "install dccp /bin/false\nblacklist sctp\n"), check.Fail, "would load sctp"},
		{"another's line first", "host/protocols", func(m *machine) {
			m.said["modprobe --showconfig"] = "install sctp /sbin/modprobe --ignore-install sctp\n" + m.said["modprobe --showconfig"]
		}, check.Fail, "would load sctp"},
		{"idle", "host/protocols", file("/proc/modules", "sctp 400 0 - Live 0x0\nusb_storage 1 1 - Live 0x0\n"), check.Unknown, "modprobe -r sctp"},
		{"built in", "host/protocols", file("/lib/modules/6.1.0-40-amd64/modules.builtin", "kernel/net/can/can.ko\nkernel/drivers/firewire/firewire-ohci.ko\n"), check.Unknown, "modprobe refuses nothing: can, firewire_ohci;"},
		{"no list of what is built in", "host/protocols", func(m *machine) { delete(m.files, "/lib/modules/6.1.0-40-amd64/modules.builtin") }, check.Unknown, "there is no /lib/modules/6.1.0-40-amd64/modules.builtin"},

		{"right", "host/time", nil, check.Pass, "systemd-timesyncd.service"},
		{"no service", "host/time", func(m *machine) { m.units = nil }, check.Fail, "no service"},
		{"not yet", "host/time", say("timedatectl show", "no\n"), check.Unknown, "not call the clock"},
		{"a container", "host/time", say("systemd-detect-virt", "openvz\n"), check.Unknown, "openvz"},
	} {
		t.Run(tt.control+"/"+tt.name, func(t *testing.T) {
			m := rightMachine()
			if tt.change != nil {
				tt.change(m)
			}
			f, _ := host.Verify(tt.control, &policy.Policy{}, host.NewFacts(m), time.Now())
			if f.Verdict != tt.want || !strings.Contains(f.Got, tt.got) {
				t.Errorf("%v: %s; want %v: %s", f.Verdict, f.Got, tt.want, tt.got)
			}
		})
	}
}

// TestPlansOfTheKernel: what is loaded may be what the machine starts from, and
// a container is left alone.
func TestPlansOfTheKernel(t *testing.T) {
	plan := func(m *machine, id string) []host.Change {
		t.Helper()
		for _, c := range host.Controls() {
			if c.ID == id {
				changes, err := c.Plan(&policy.Policy{}, host.NewFacts(m))
				if err != nil {
					t.Fatal(err)
				}
				return changes
			}
		}
		t.Fatalf("no control %s", id)
		return nil
	}
	m := rightMachine()
	m.files["/proc/sys/kernel/yama/ptrace_scope"] = "0\n"
	changes := plan(m, "host/kernel")
	if len(changes) != 2 || strings.Join(changes[1].Command.Argv, " ") != "sysctl -q kernel.yama.ptrace_scope=1" || strings.Join(changes[1].Command.Undo, " ") != "sysctl -q -e kernel.yama.ptrace_scope=0" {
		t.Errorf("%+v", changes)
	}
	changes = plan(m, "host/protocols")
	if len(changes) != 1 || strings.Contains(changes[0].File.Content, "usb_storage") || !strings.Contains(changes[0].File.Content, "install sctp /bin/false\n") {
		t.Errorf("%+v", changes)
	}
	m.units = nil
	if changes = plan(m, "host/time"); len(changes) != 1 || changes[0].Unit == nil {
		t.Errorf("%+v", changes)
	}
	m.units = map[string]string{"chrony.service": "active"}
	if changes = plan(m, "host/time"); len(changes) != 0 {
		t.Errorf("a second service: %+v", changes)
	}
	m.said["systemd-detect-virt"] = "lxc\n"
	for _, id := range []string{"host/kernel", "host/time"} {
		if changes = plan(m, id); len(changes) != 0 {
			t.Errorf("%s in a container: %+v", id, changes)
		}
	}
}
