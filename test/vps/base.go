//go:build linux

package vps

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// packages are what a small server image has.
const packages = "systemd,systemd-sysv,dbus,openssh-server,iproute2,nftables,sudo,ca-certificates,curl,procps,kmod,cron,libpam-systemd,apt-utils,less"

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
	debs := filepath.Join(Cache(), "debs-"+suite)
	if err := os.MkdirAll(debs, 0o755); err != nil {
		return "", err
	}
	cmd := exec.Command("debootstrap", "--variant=minbase", "--include="+packages, "--cache-dir="+debs, suite, half)
	if out, err := cmd.CombinedOutput(); err != nil {
		log, _ := os.ReadFile(filepath.Join(half, "debootstrap/debootstrap.log"))
		return "", fmt.Errorf("debootstrap: %w\n%s\n%s", err, tail(string(out)), tail(string(log)))
	}
	if err := finish(suite, half); err != nil {
		return "", err
	}
	return dir, os.Rename(half, dir)
}

// finish makes of a debootstrap what a provider's image is.
func finish(suite, root string) error {
	lists := fmt.Sprintf("deb http://deb.debian.org/debian %[1]s main\ndeb http://deb.debian.org/debian %[1]s-updates main\ndeb http://deb.debian.org/debian-security %[1]s-security main\n", suite)
	if err := os.WriteFile(filepath.Join(root, "etc/apt/sources.list"), []byte(lists), 0o644); err != nil {
		return err
	}
	return each([][]string{
		{"chroot", root, "apt-get", "update", "-q"},
		{"chroot", root, "apt-get", "clean"},
		{"chroot", root, "ssh-keygen", "-A"},
	})
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
