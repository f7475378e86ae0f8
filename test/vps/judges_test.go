//go:build linux

package vps_test

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/test/vps"
)

// judges are others who look at the server before and after an apply: ssh-audit
// from outside, and Lynis inside. docs/check.md has what came of it, line by line,
// and says why where they differ from ours.
type judges struct {
	t     *testing.T
	s     *vps.Server
	ours  check.Report
	ssh   map[string]algorithm
	lynis map[string]bool
	known bool // this is the ssh-audit that docs/check.md has
}

// lynisTests are those that are about the same as a control of ours.
var lynisTests = [][2]string{
	{"SSH-7408", "host/ssh"}, {"FIRE-4590", "host/firewall"}, {"DEB-0880", "host/fail2ban"}, {"PKGS-7420", "host/updates"}, {"KRNL-6000", "host/sysctl"},
	{"KRNL-5820", "host/core-dumps"}, {"AUTH-9328", "host/umask"}, {"AUTH-9262", "host/passwords"}, {"PKGS-7370", "host/packages"}, {"BANN-7126", "host/banner"}, {"BANN-7130", "host/banner"},
	{"NETW-3200", "host/protocols"}, {"FILE-6310", "host/mounts"}, {"BOOT-5264", "inside/confinement"},
}

// lynisDiffers are the tests whose verdict after an apply is known to differ.
var lynisDiffers = []string{"SSH-7408", "DEB-0880", "NETW-3200", "FILE-6310", "BOOT-5264"}

func newJudges(t *testing.T, s *vps.Server) *judges {
	t.Helper()
	j := &judges{t: t, s: s, ours: inside(t, s, policyFile)}
	j.ssh, _ = j.sshAudit()
	help, _ := s.Outside("ssh-audit", "-h")
	j.known = strings.Contains(help, "v2.5.0")
	if s.Suite != "bookworm" { // one is enough: Lynis takes longest of all
		return j
	}
	s.Run("apt-get", "install", "-y", "-q", "--no-install-recommends", "lynis")
	// What belongs to the machine around the server is no work of ours: its USB
	// devices, and settings of its kernel.
	profile := "skip-test=USB-3000\n"
	for _, name := range []string{"dev.tty.ldisc_autoload", "fs.protected_fifos", "fs.protected_hardlinks", "fs.protected_regular", "fs.protected_symlinks", "fs.suid_dumpable", "kernel.core_uses_pid",
		"kernel.ctrl-alt-del", "kernel.dmesg_restrict", "kernel.kptr_restrict", "kernel.modules_disabled", "kernel.perf_event_paranoid", "kernel.randomize_va_space", "kernel.sysrq",
		"kernel.unprivileged_bpf_disabled", "kernel.yama.ptrace_scope", "net.core.bpf_jit_harden"} {
		profile += "skip-test=KRNL-6000:" + name + "\n"
	}
	s.Write("/etc/lynis/custom.prf", profile, 0o644)
	tests := "SSH-7402 SSH-7404 SSH-7406" // which find sshd for the others
	for _, lt := range lynisTests {
		tests += " " + lt[0]
	}
	j.lynis, _ = j.audit("--tests", tests)
	return j
}

// compare looks again, holds what is different now to what is different for us,
// and wants a line for each in the docs.
func (j *judges) compare(after check.Report) {
	j.t.Helper()
	docs, err := os.ReadFile("../../docs/check.md")
	if err != nil {
		j.t.Fatal(err)
	}
	row := func(agree bool, known bool, format string, args ...any) {
		line := fmt.Sprintf(format, args...)
		word := "agree"
		if !agree {
			word = "differ"
		}
		j.t.Log(line + " " + word)
		if !agree && !known {
			j.t.Errorf("this differs, and docs/check.md does not say why: %s", line)
		}
		// The docs are of Debian 12, and of what it has of ssh-audit.
		if j.s.Suite == "bookworm" && (j.known || strings.HasPrefix(line, "| Lynis")) && !strings.Contains(string(docs), line+" "+word) {
			j.t.Errorf("docs/check.md has no line %s %s", line, word)
		}
	}
	j.compareSSH(after, row)
	if j.lynis == nil {
		return
	}
	now, index := j.audit()
	for _, lt := range lynisTests {
		test, id := lt[0], lt[1]
		before, later := verdict(j.ours, id), verdict(after, id)
		said := func(content, ran bool) string {
			return map[bool]string{true: "content", false: "not content"}[content && ran]
		}
		then, ran := j.lynis[test]
		content, ranNow := now[test]
		if !ran || !ranNow {
			j.t.Errorf("Lynis did not make %s", test)
		}
		row(then == (before == "pass") && content == (later == "pass"), slices.Contains(lynisDiffers, test) && then == (before == "pass"), "| Lynis | %s | %s, then %s | `%s` %s, then %s |", test, said(then, ran), said(content, ranNow), id, before, later)
	}
	if n, err := strconv.Atoi(index); err != nil || n < 80 {
		j.t.Errorf("Lynis gives %q of 100", index)
	}
	j.t.Logf("Lynis gives %s of 100", index)
}

// verdict is ours in a word.
func verdict(r check.Report, id string) string {
	if slices.ContainsFunc(r.Inside, func(in check.Inside) bool { return in.ID == id }) {
		return "listed apart"
	}
	return find(r, id).Verdict.String()
}

// compareSSH: what ssh-audit blames is what an apply leaves out.
func (j *judges) compareSSH(after check.Report, row func(agree, known bool, format string, args ...any)) {
	j.t.Helper()
	now, said := j.sshAudit()
	if strings.Contains(said, "Debian") || strings.Contains(said, "deb1") {
		j.t.Error("SSH names the version of its package")
	}
	got := find(j.ours, "host/ssh")
	if got.Verdict != check.Fail || find(after, "host/ssh").Verdict != check.Pass {
		j.t.Errorf("host/ssh is %v, and %v after an apply", got.Verdict, find(after, "host/ssh").Verdict)
	}
	contains(j.t, "host/ssh of a bare server", got.Got, "kexalgorithms has", "macs has")
	if strings.Contains(got.Got, "ciphers has") {
		j.t.Errorf("host/ssh blames ciphers: %s", got.Got)
	}
	groups := map[string][]string{}
	for name, a := range j.ssh {
		_, kept := now[name]
		groups[fmt.Sprintf("%s|%s|%v", a.kind, a.said, kept)] = append(groups[fmt.Sprintf("%s|%s|%v", a.kind, a.said, kept)], "`"+name+"`")
	}
	for name, a := range now {
		if _, ok := j.ssh[name]; !ok && a.said != "nothing" {
			j.t.Errorf("after an apply SSH has %s, and had not: %s", name, a.said)
		}
	}
	for _, g := range slices.Sorted(maps.Keys(groups)) {
		slices.Sort(groups[g])
		part := strings.Split(g, "|")
		good, kept := part[1] == "nothing", part[2] == "true"
		// It does not know these two, and calls OpenSSH's default an experiment;
		// it does not ask how many bits clients get.
		known := !j.known || kept && (part[1] == "warn: unknown algorithm" || part[1] == "warn: using experimental algorithm") ||
			!kept && good && part[0] == "kex" && strings.Contains(strings.Join(groups[g], " "), "diffie-hellman-group14-sha256")
		row(good == kept, known, "| ssh-audit | %s | %s | %s |", strings.Join(groups[g], ", "), part[1], map[bool]string{true: "kept", false: "left out"}[kept])
	}
}

// An algorithm is what ssh-audit says of one.
type algorithm struct{ kind, said string }

var auditLine = regexp.MustCompile(`^\((kex|key|enc|mac)\) (\S+)(?: \(\d+-bit\))? +-- \[(\w+)\] (.*)`)

// sshAudit has ssh-audit look from outside. Of several reasons it gives the worst
// first.
func (j *judges) sshAudit() (found map[string]algorithm, out string) {
	j.t.Helper()
	out, _ = j.s.Outside("ssh-audit", "-n", j.s.Address.String())
	found = map[string]algorithm{}
	for line := range strings.Lines(out) {
		if m := auditLine.FindStringSubmatch(line); m != nil {
			a := algorithm{m[1], m[3] + ": " + strings.TrimSpace(m[4])}
			if m[3] == "info" {
				a.said = "nothing"
			}
			found[m[2]] = a
		}
	}
	if _, ok := found["chacha20-poly1305@openssh.com"]; !ok {
		j.t.Fatalf("ssh-audit saw nothing:\n%s", out)
	}
	return found, out
}

// audit has Lynis look: for each test that it made whether it is content, and
// what it gives of 100.
func (j *judges) audit(args ...string) (content map[string]bool, index string) {
	j.t.Helper()
	j.s.Run(append([]string{"lynis", "audit", "system", "--cronjob", "--quick"}, args...)...)
	content = map[string]bool{}
	var blamed []string
	for line := range strings.Lines(j.s.Read("/var/log/lynis-report.dat")) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key {
		case "tests_executed":
			for test := range strings.SplitSeq(strings.Trim(value, "|"), "|") {
				content[test] = true
			}
		case "suggestion[]", "warning[]":
			test, _, _ := strings.Cut(value, "|")
			blamed = append(blamed, test)
		case "hardening_index":
			index = value
		}
	}
	for _, test := range blamed {
		content[test] = false
	}
	j.t.Logf("Lynis blames %s", strings.Join(blamed, " "))
	return content, index
}
