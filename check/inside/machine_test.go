package inside_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringwall/ringwall/check/inside"
)

// A machine in a folder, as a test wants it.
type fake struct {
	files    map[string]string      // name: content, or "-> " and where it links to; a name that ends in ! is readable by all, in + written by all, in # run as its owner by all
	owners   map[string]int         // of a file or folder, "" is the root folder; only root can make them
	groups   map[string]int         // of a file; only root can change them
	modes    map[string]os.FileMode // of a file or folder
	rights   map[string]string      // of a file, by capabilities(7); only root can give them
	lists    map[string][]line      // access list of a file, or after a ! the default one of a folder
	commands map[string]string      // command line: output; "fails" fails
	uid      int
	acme     bool
}

func (f fake) machine(t *testing.T) *inside.Machine {
	t.Helper()
	if (f.owners != nil || f.groups != nil || f.rights != nil) && os.Geteuid() != 0 {
		t.Skip("only root can make this machine")
	}
	root := t.TempDir()
	for name, content := range f.files {
		mode := os.FileMode(0o600)
		if open, ok := strings.CutSuffix(name, "!"); ok {
			name, mode = open, 0o644
		} else if open, ok := strings.CutSuffix(name, "+"); ok {
			name, mode = open, 0o666
		} else if run, ok := strings.CutSuffix(name, "#"); ok {
			name, mode = run, os.ModeSetuid|0o755
		}
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if to, ok := strings.CutPrefix(content, "-> "); ok {
			if err := os.Symlink(to, file); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil { // whatever the umask is
			t.Fatal(err)
		}
	}
	for name, uid := range f.owners {
		if err := os.Lchown(filepath.Join(root, name), uid, 0); err != nil {
			t.Fatal(err)
		}
	}
	for name, gid := range f.groups {
		if err := os.Chown(filepath.Join(root, name), -1, gid); err != nil {
			t.Fatal(err)
		}
	}
	for name, mode := range f.modes { // after the owner, whose change takes bits away
		if err := os.Chmod(filepath.Join(root, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	for name, rights := range f.rights {
		if err := unix.Setxattr(filepath.Join(root, name), "security.capability", []byte(rights), 0); err != nil {
			t.Fatal(err)
		}
	}
	for name, lines := range f.lists {
		attr := "system.posix_acl_access"
		if folder, ok := strings.CutSuffix(name, "!"); ok {
			name, attr = folder, "system.posix_acl_default"
		}
		if err := unix.Setxattr(filepath.Join(root, name), attr, accessList(lines), 0); errors.Is(err, unix.ENOTSUP) {
			t.Skip("this file system has no access lists")
		} else if err != nil {
			t.Fatal(err)
		}
	}
	return &inside.Machine{Root: root, UID: f.uid, ACME: f.acme, Now: time.Now(), Run: func(_ context.Context, argv ...string) (string, error) {
		line := strings.Join(argv, " ")
		for k, out := range f.commands {
			if strings.HasPrefix(line, k) {
				if out == "fails" {
					return "", errors.New("exit status 1")
				}
				return out, nil
			}
		}
		return "", exec.ErrNotFound
	}}
}

const (
	tcpHead = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	local   = "   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1\n" // 127.0.0.1:8000
	all     = "   0: 00000000:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12 1\n" // 0.0.0.0:8000
	https   = "   0: 00000000:01BB 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 13 1\n"
	all6    = "   0: 00000000000000000000000000000000:1F40 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 14 1\n"
	local6  = "   0: 00000000000000000000000001000000:1F40 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 15 1\n"
	noIPv6  = "00000000000000000000000000000001 01 80 10 80       lo\n"
	anIPv6  = noIPv6 + "20010db8000000000000000000000001 02 40 00 80     eth0\n"
	nothing = "-P INPUT ACCEPT\n-P FORWARD ACCEPT\n-P OUTPUT ACCEPT\n"
)

// system is what root believes, on every server; with more.
func system(more map[string]string) map[string]string {
	files := map[string]string{"etc/passwd!": "root:x:0:0::/root:/bin/bash\n", "etc/group!": "root:x:0:\n", "etc/shadow": "", "etc/crontab!": "", "etc/cron.d/backup!": "", "etc/sudoers": "",
		"etc/systemd/system/api.service!": "[Service]\n", "usr/bin/su#": "", "usr/local/bin/deploy!": "", "etc/systemd/system/off.service": "-> /dev/null"}
	maps.Copy(files, more)
	return files
}

// accounts are root and a program's, with more files.
func accounts(more map[string]string) map[string]string {
	files := map[string]string{"etc/passwd!": "root:x:0:0::/root:/bin/bash\npostgres:x:101:101::/var/lib/postgresql:/bin/bash\n"}
	maps.Copy(files, more)
	return files
}

// rights is an extended attribute of capabilities(7): root is whose user
// namespace it is good in, 0 for this system.
func rights(root uint32, permitted, inheritable uint64) string {
	version := uint32(0x02000001)
	if root != 0 {
		version = 0x03000001
	}
	var b []byte
	for _, n := range []uint32{version, uint32(permitted), uint32(inheritable), uint32(permitted >> 32), uint32(inheritable >> 32)} {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	if root != 0 {
		b = binary.LittleEndian.AppendUint32(b, root)
	}
	return string(b)
}

// A line of an access list, acl(5): u is a user, g a group, m the mask, o everybody;
// U and G are the owner and the group of the file.
type line struct {
	tag  byte
	id   uint32
	perm uint16
}

// accessList is the extended attribute that the kernel takes, of lines in its order.
func accessList(lines []line) []byte {
	b := []byte{2, 0, 0, 0}
	for _, l := range lines {
		id := l.id
		if !strings.ContainsRune("ug", rune(l.tag)) {
			id = ^uint32(0)
		}
		b = binary.LittleEndian.AppendUint16(b, map[byte]uint16{'U': 1, 'u': 2, 'G': 4, 'g': 8, 'm': 16, 'o': 32}[l.tag])
		b = binary.LittleEndian.AppendUint16(b, l.perm)
		b = binary.LittleEndian.AppendUint32(b, id)
	}
	return b
}

// raisers are machines with a program or a library that an intruder left.
func raisers() map[string]fake {
	packages := map[string]string{"dpkg-query -S": "util-linux: /bin/su\n"}
	left := func(name string) fake { return fake{files: system(map[string]string{name: ""}), commands: packages} }
	with := func(rights string) fake {
		return fake{files: system(map[string]string{"usr/local/bin/x": ""}), modes: map[string]os.FileMode{"usr/local/bin/x": 0o755}, rights: map[string]string{"usr/local/bin/x": rights}, commands: packages}
	}
	loaded := func(text string) fake {
		return fake{files: system(map[string]string{"etc/ld.so.preload!": text}), commands: packages}
	}
	anothers := left("var/tmp/.x#")
	anothers.owners = map[string]int{"": 1000}
	machines := map[string]fake{
		"a copy of a shell":      left("var/tmp/.x#"),
		"in a snap":              left("snap/x/1/sh#"),
		"in a user's containers": left("home/a/.local/share/containers/.x#"),
		"/ is another's":         anothers,
		"a storage open to all":  {files: system(map[string]string{"etc/docker/daemon.json!": `{"data-root": "/mnt/docker"}`, "mnt/docker/overlay2/1/diff/bin/su#": ""}), modes: map[string]os.FileMode{"mnt/docker": 0o711}, commands: packages},
		"a storage, commented":   {files: system(map[string]string{"etc/containers/storage.conf!": "# graphroot = \"/srv/pods\"\n", "srv/pods/su#": ""}), modes: map[string]os.FileMode{"srv/pods": 0o700}, commands: packages},
		"beside a storage":       {files: system(map[string]string{"etc/docker/daemon.json!": `{"data-root": "/mnt/docker"}`, "mnt/docker-2/su#": ""}), modes: map[string]os.FileMode{"mnt/docker-2": 0o700}, commands: packages},
		"it may set its user":    with(rights(0, 1<<7, 0)),
		"it may do what is new":  with(rights(0, 1<<10|1<<39, 0)),
		"it may inherit":         with(rights(0, 1<<10, 1<<7)),
		"a library in all":       loaded("/usr/lib/libx.so\n"),
		"after a comment":        loaded("# none\n/usr/lib/libx.so\n"),
		"in no comment":          loaded("# " + strings.Repeat("a", 40) + "\n# /usr/lib/libx.so\n"),
	}
	for _, name := range []string{"bash", "ld-linux-x86-64.so.2", "ld-2.31.so", "perl5.36-x86_64-linux-gnu", "start-stop-daemon", "ionice", "taskset", "flock", "stdbuf", "base64",
		"screen", "tmux", "ksh", "ksh93", "mksh", "zsh", "csh", "bsd-csh", "tcsh", "fish", "rbash", "bash-static"} {
		machines["a package's own "+name] = fake{files: system(map[string]string{"usr/bin/" + name + "#": ""}), commands: map[string]string{"dpkg-query -S": "util-linux: /bin/su\nx: /bin/" + name + "\n"}}
	}
	return machines
}

// ufw is what iptables lists of ufw as Debian 12 ships it, with SSH and the web let
// in, and with more rules before its last ones.
func ufw(t *testing.T, four, six string) map[string]string {
	t.Helper()
	// What iptables made, nft shows in part.
	commands := map[string]string{"nft": `{"nftables":[{"chain":{"family":"ip","table":"filter","name":"INPUT","type":"filter","hook":"input","policy":"drop"}},{"chain":{"family":"ip","table":"filter","name":"ufw"}},` +
		`{"rule":{"family":"ip","table":"filter","chain":"INPUT","expr":[{"jump":{"target":"ufw"}}]}},{"rule":{"family":"ip","table":"filter","chain":"ufw","expr":[{"xt":null},{"accept":null}]}}]}`}
	for name, more := range map[string]string{"": four, "6": six} {
		b, err := os.ReadFile("testdata/ufw" + name + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		commands["ip"+name+"tables -S"] = string(b) + more + "\n"
	}
	return commands
}

const (
	nftEmpty    = `{"nftables":[{"metainfo":{"version":"1.0.6"}}]}`
	nftLoopback = `{"match":{"op":"==","left":{"meta":{"key":"iif"}},"right":"lo"}},{"accept":null}`
	nftKnown    = `{"match":{"op":"in","left":{"ct":{"key":"state"}},"right":["established","related"]}},{"accept":null}`
)

func nftThrough(interfaces string) string {
	return `{"match":{"op":"==","left":{"meta":{"key":"iifname"}},"right":` + interfaces + `}},{"accept":null}`
}

// routed has sockets, and eth0 as the way out.
func routed(tcp string) map[string]string {
	return map[string]string{"proc/net/tcp": tcp, "proc/net/route": "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n" +
		"eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\nwg0\t0000080A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"}
}

func nftPorts(ports, verdict string) string {
	return `{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":` + ports + `}},{"counter":{"packets":0,"bytes":0}},{"` + verdict + `":null}`
}

func nftFrom(op, source, verdict string) string {
	return `{"match":{"op":"` + op + `","left":{"payload":{"protocol":"ip","field":"saddr"}},"right":` + source + `}},{"` + verdict + `":null}`
}

// nft is what nftables lists of one table with one chain.
func nft(family, end string, rules ...string) map[string]string {
	text := `{"nftables":[{"metainfo":{"version":"1.0.6"}},{"table":{"family":"` + family + `","name":"f"}},{"chain":{"family":"` + family + `","table":"f","name":"in","type":"filter","hook":"input","prio":0,"policy":"` + end + `"}},{"chain":{"family":"` + family + `","table":"f","name":"empty"}}`
	for i, r := range rules {
		text += fmt.Sprintf(`,{"rule":{"family":%q,"table":"f","chain":"in","handle":%d,"expr":[%s]}}`, family, i, r)
	}
	return map[string]string{"nft": text + "]}"}
}

// timers are a timer that does its work, and its service, but for what differs.
func timers(name, timer, service string) map[string]string {
	text := "LoadState=loaded\nActiveState=active\nSubState=waiting\nUnitFileState=enabled\nUnit=" + name + ".service\nLastTriggerUSec=Thu 2026-11-26 03:00:00 UTC\nNextElapseUSecRealtime=Fri 2026-11-27 03:00:00 UTC\nNextElapseUSecMonotonic=infinity\n"
	return map[string]string{name + ".timer": text + strings.ReplaceAll(timer, " ", "\n") + "\n", name + ".service": "LoadState=loaded\nResult=success\n" + service + "\n"}
}

// ended is what the journal has of the end of a service's run, some hours ago.
func ended(hours int, id string) string {
	return fmt.Sprintf(`{"__REALTIME_TIMESTAMP":"%d","_PID":"1","MESSAGE_ID":"%s","UNIT":"restic-daily.service","UNIT_RESULT":"exit-code"}`+"\n", time.Now().Add(-time.Duration(hours)*time.Hour).UnixMicro(), id)
}

// units is what systemd tells of these; others it does not have.
func units(all map[string]string) map[string]string {
	commands := map[string]string{"systemctl list-timers": "Mon 2026-11-30 03:00:00 UTC 3 days - - e2scrub_all.timer e2scrub_all.service\n"}
	for name, text := range all {
		commands["systemctl show "+name] = text
		if strings.HasSuffix(name, ".timer") {
			commands["systemctl list-timers"] += "- - - - " + name + " x.service\n"
		}
	}
	for _, name := range []string{"certbot.timer", "snap.certbot.renew.timer", "lego.timer", "acme.timer", "logrotate.timer", "cron.service", "crond.service", "systemd-journald.service"} {
		if all[name] == "" {
			commands["systemctl show "+name] = "LoadState=not-found\nActiveState=inactive\n"
		}
	}
	return commands
}

func more(all map[string]string, name, content string) map[string]string {
	all = maps.Clone(all)
	all[name] = content
	return all
}

// issued is a certificate of 90 days, as certbot keeps it, that has some left.
func issued(t *testing.T, days int) map[string]string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(time.Duration(days) * 24 * time.Hour)
	one := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: end.Add(-90 * 24 * time.Hour), NotAfter: end}
	der, err := x509.CreateCertificate(rand.Reader, one, one, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"etc/letsencrypt/archive/a/1.pem": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), "etc/letsencrypt/live/a/fullchain.pem": "-> ../../archive/a/1.pem"}
}

// index is git's, version 2.
func index(names ...string) string {
	b := binary.BigEndian.AppendUint32([]byte("DIRC\x00\x00\x00\x02"), uint32(len(names)))
	for _, n := range names {
		entry := make([]byte, 62)
		entry[61] = byte(len(n))
		entry = append(append(entry, n...), 0)
		for len(entry)%8 != 0 {
			entry = append(entry, 0)
		}
		b = append(b, entry...)
	}
	return string(b)
}
