//go:build linux

package vps_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/host"
	"github.com/ringwall/ringwall/test/vps"
)

// TestDocker has Debian's own engine publish a port of a container, as docker run -p
// does: it is reached from outside before an apply, and not after it, but from the server
// itself. at is on the same server, and takes jobs of nobody no more.
func TestDocker(t *testing.T) {
	t.Parallel()
	s, o := bare(t, vps.Ready, "")
	text, until := "site: api.example.com\nupstream: http://127.0.0.1:8000\nwaivers:\n", time.Now().AddDate(0, 0, 30).Format(time.DateOnly)
	for _, c := range host.Controls() {
		if !slices.Contains([]string{"host/deploy-user", "host/ssh", "host/firewall", "host/containers", "host/jobs"}, c.ID) {
			text += "  - {control: " + c.ID + ", reason: \"not what is looked at here\", until: " + until + "}\n"
		}
	}
	s.Write(policyFile, text, 0o644)
	s.Write("/etc/docker/daemon.json", `{"storage-driver": "vfs", "exec-opts": ["native.cgroupdriver=cgroupfs"]}`+"\n", 0o644)
	// The groups of this machine are closed to a server that is booted on it, but for those
	// of version 2, in which the engine's containers stay below its own.
	s.Write("/usr/local/sbin/engine", `#!/bin/sh
mount -t cgroup2 none /sys/fs/cgroup || exit 1
exec dockerd -H fd:// --cgroup-parent "$(sed -n s/^0:://p /proc/self/cgroup)/containers"
`, 0o755)
	s.Write("/etc/systemd/system/docker.service.d/test.conf", "[Unit]\nWants=\nAfter=\nAfter=network-online.target docker.socket\n[Service]\nPrivateMounts=yes\nMountFlags=private\nExecStart=\nExecStart=/usr/local/sbin/engine\n", 0o644)
	// systemd-nspawn closes all of /proc/sys; the network's part is the server's own.
	s.Run("sh", "-c", "mkdir /run/p && mount -t proc proc /run/p && mount --bind /run/p/sys/net /proc/sys/net && umount /run/p")
	s.Run("systemctl", "mask", "-q", "containerd.service") // the engine starts its own, which sees what it sees
	s.Run("apt-get", "install", "-y", "-q", "--no-install-recommends", "docker.io", "iptables", "busybox-static", "at")
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.Run("journalctl", "-u", "docker.service", "-n", "14", "-o", "cat", "--no-pager"), s.Run("sh", "-c", "cat /proc/1/cgroup; grep cgroup /proc/mounts; cat /proc/$(pgrep dockerd)/cgroup; grep cgroup /proc/$(pgrep dockerd)/mounts; true"))
		}
	})
	s.Run("systemctl", "start", "docker.service")
	s.Run("sh", "-c", "mkdir -p /root/image/bin /root/image/www && cp /bin/busybox /root/image/bin/ && echo published >/root/image/www/index.html && tar -C /root/image -c . | docker import - box")
	run := func(name, publish string) {
		s.Run("docker", "run", "-d", "--name", name, "-p", publish, "box", "/bin/busybox", "httpd", "-f", "-p", "80", "-h", "/www")
	}
	run("wide", "8080:80")
	outside := func() string {
		out, _ := s.Outside("curl", "-s", "--max-time", "3", "http://"+s.Address.String()+":8080/")
		return strings.TrimSpace(out)
	}
	within := func() string {
		out, _ := s.Try("curl", "-s", "--max-time", "10", "http://127.0.0.1:8080/")
		return strings.TrimSpace(out)
	}
	s.Await("the container answers", 20*time.Second, func() bool { return outside() == "published" && within() == "published" })
	s.Run("useradd", "-m", "stranger")
	leave := func(name string) (string, error) {
		return s.Try("runuser", "-u", name, "--", "sh", "-c", "cd; echo true | at now + 1 day")
	}
	if out, err := leave("stranger"); err != nil {
		t.Errorf("before it, at takes no job of a stranger: %v %s", err, out)
	}

	contains(t, "the apply", apply(t, o), "1 ports are published; from outside only those of host.firewall.open are reached", "no job is taken of the account nobody, by cron or at")
	closed := func(when string) {
		t.Helper()
		if got := outside(); got != "" {
			t.Errorf("%s: from outside the container answers %q", when, got)
		}
		if got := within(); got != "published" {
			t.Errorf("%s: from the server itself the container answers %q", when, got)
		}
	}
	closed("applied")
	// The engine writes its rules anew, and a container that comes later is closed, too.
	s.Run("systemctl", "restart", "docker.service")
	s.Run("docker", "start", "wide")
	s.Await("it is back", 20*time.Second, func() bool { return within() == "published" })
	closed("the engine began again")
	s.Run("docker", "rm", "-f", "wide")
	run("later", "8080:80")
	s.Await("the later one answers", 20*time.Second, func() bool { return within() == "published" })
	closed("a later container")
	// Containers reach each other, and what one asks for outside comes back.
	if out, err := s.Try("sh", "-c", "docker exec later /bin/busybox wget -q -O - http://$(docker inspect -f '{{.NetworkSettings.IPAddress}}' later)/"); err != nil || strings.TrimSpace(out) != "published" {
		t.Errorf("from a container: %v %s", err, out)
	}
	if got := find(inside(t, s, policyFile), "host/containers"); got.Verdict != check.Pass {
		t.Errorf("host/containers: %v %s", got.Verdict, got.Got)
	}
	if out, err := leave("stranger"); err == nil || !strings.Contains(out, "do not have permission") {
		t.Errorf("at takes a job of a stranger: %v %s", err, out)
	}
	if out, err := leave("deploy"); err != nil {
		t.Errorf("at takes none of deploy: %v %s", err, out)
	}
	s.Run("ringwall", "host", "rollback")
	s.Await("rolled back, it is reached again", 20*time.Second, func() bool { return outside() == "published" })
}
