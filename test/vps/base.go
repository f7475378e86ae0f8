//go:build linux

package vps

import (
	_ "embed"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// packages are what a small server image has.
const packages = "systemd,systemd-sysv,dbus,openssh-server,iproute2,nftables,sudo,ca-certificates,curl,procps,kmod,cron,libpam-systemd,apt-utils,less"

// ubuntu has the suites of Ubuntu's, and what their server image has besides;
// every other suite is Debian's.
var ubuntu = map[string]string{
	"jammy": "ufw,unattended-upgrades,needrestart,rsyslog,netplan.io,apparmor,systemd-timesyncd",
	"noble": "ufw,unattended-upgrades,needrestart,rsyslog,netplan.io,apparmor,systemd-timesyncd,systemd-resolved",
}

const ubuntuArchive = "http://archive.ubuntu.com/ubuntu"

// ubuntuKeys are who signs Ubuntu's archive: the file of Debian 13's package
// ubuntu-keyring, which Debian 12 has not.
//
//go:embed testdata/ubuntu-archive-keyring.gpg
var ubuntuKeys []byte

// errArchive is in the error for a suite whose archive does not answer.
var errArchive = errors.New("its archive does not answer")

// Cache is the folder of bases and packages, kept between runs:
// $RINGWALL_TEST_CACHE, else /var/cache/ringwall-test.
func Cache() string {
	if dir := os.Getenv("RINGWALL_TEST_CACHE"); dir != "" {
		return dir
	}
	return "/var/cache/ringwall-test"
}

// In the place of a suite: Debian 12 with packages that Ringwall installs, where
// a test is not about installing them.
const (
	Ready = "ready" // those of the way in
	Full  = "full"  // all
)

var installed = map[string][]string{
	Ready: {"ufw"},
	Full:  {"ufw", "fail2ban", "python3-systemd", "unattended-upgrades", "needrestart", "logrotate", "systemd-timesyncd"},
}

// baseOf returns the folder of a suite's base, which is made when it is
// missing: about a minute. Processes that want it at the same time wait.
func baseOf(suite string) (string, error) {
	name := suite + "-2"
	for _, p := range installed[suite] {
		name += "-" + p
	}
	dir := filepath.Join(Cache(), name)
	if err := os.MkdirAll(Cache(), 0o755); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	half := dir + ".half"
	if err := os.RemoveAll(half); err != nil {
		return "", err
	}
	if installed[suite] != nil {
		if err := install(half, installed[suite]); err != nil {
			return "", err
		}
		return dir, os.Rename(half, dir)
	}
	if err := debootstrap(suite, half); err != nil {
		return "", err
	}
	if err := finish(suite, half); err != nil {
		return "", err
	}
	return dir, os.Rename(half, dir)
}

func debootstrap(suite, root string) error {
	debs := filepath.Join(Cache(), "debs-"+suite)
	if err := os.MkdirAll(debs, 0o755); err != nil {
		return err
	}
	argv := []string{"--variant=minbase", "--include=" + packages, "--cache-dir=" + debs, suite, root}
	if more := ubuntu[suite]; more != "" {
		asking := http.Client{Timeout: 20 * time.Second}
		res, err := asking.Head(ubuntuArchive + "/dists/" + suite + "/InRelease")
		if err != nil {
			return fmt.Errorf("%w: %w", errArchive, err)
		}
		if res.Body.Close(); res.StatusCode != http.StatusOK {
			return fmt.Errorf("%w: it says %s", errArchive, res.Status)
		}
		keys := filepath.Join(Cache(), "ubuntu-archive-keyring.gpg")
		if err := os.WriteFile(keys, ubuntuKeys, 0o644); err != nil {
			return err
		}
		// Every suite of Ubuntu's is made by the same script, of which debootstrap
		// does not know the names of the later ones.
		argv = []string{"--variant=minbase", "--include=" + packages + "," + more, "--cache-dir=" + debs, "--keyring=" + keys, "--components=main,universe",
			suite, root, ubuntuArchive, "/usr/share/debootstrap/scripts/gutsy"}
	}
	if out, err := exec.Command("debootstrap", argv...).CombinedOutput(); err != nil {
		log, _ := os.ReadFile(filepath.Join(root, "debootstrap/debootstrap.log"))
		return fmt.Errorf("debootstrap: %w\n%s\n%s", err, tail(string(out)), tail(string(log)))
	}
	return nil
}

// finish makes of a debootstrap what a provider's image is.
func finish(suite, root string) error {
	lists := fmt.Sprintf("deb http://deb.debian.org/debian %[1]s main\ndeb http://deb.debian.org/debian %[1]s-updates main\ndeb http://deb.debian.org/debian-security %[1]s-security main\n", suite)
	if ubuntu[suite] != "" {
		lists = fmt.Sprintf("deb %[1]s %[2]s main universe\ndeb %[1]s %[2]s-updates main universe\ndeb http://security.ubuntu.com/ubuntu %[2]s-security main universe\n", ubuntuArchive, suite)
	}
	if suite == "noble" { // as Ubuntu writes it since then
		lists = ""
		sources := fmt.Sprintf("Types: deb\nURIs: %[1]s\nSuites: %[2]s %[2]s-updates\nComponents: main universe\nSigned-By: /usr/share/keyrings/ubuntu-archive-keyring.gpg\n\n"+
			"Types: deb\nURIs: http://security.ubuntu.com/ubuntu\nSuites: %[2]s-security\nComponents: main universe\nSigned-By: /usr/share/keyrings/ubuntu-archive-keyring.gpg\n", ubuntuArchive, suite)
		if err := os.WriteFile(filepath.Join(root, "etc/apt/sources.list.d/ubuntu.sources"), []byte(sources), 0o644); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(root, "etc/apt/sources.list"), []byte(lists), 0o644); err != nil {
		return err
	}
	commands := [][]string{{"chroot", root, "apt-get", "update", "-q"}}
	if ubuntu[suite] != "" { // the suite itself stays as it came out, years ago
		commands = append(commands, []string{"chroot", root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "dist-upgrade", "-y", "-q"})
	}
	return each(append(commands, []string{"chroot", root, "apt-get", "clean"}, []string{"chroot", root, "ssh-keygen", "-A"}))
}

// install installs into a copy of Debian 12's base, without starting anything.
func install(root string, packages []string) error {
	from, err := baseOf("bookworm")
	if err != nil {
		return err
	}
	return each([][]string{
		{"cp", "-a", from, root},
		append([]string{"chroot", root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-q", "--no-install-recommends"}, packages...),
		{"chroot", root, "apt-get", "clean"},
	})
}

func each(commands [][]string) error {
	for _, argv := range commands {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, tail(string(out)))
		}
	}
	return nil
}

func tail(s string) string { return s[max(0, len(s)-2000):] }
