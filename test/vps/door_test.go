//go:build linux

package vps_test

import (
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write what the docs have of a run anew")

// TestFromABareServer is the whole way: plan, apply, a new session, confirm.
func TestFromABareServer(t *testing.T) {
	t.Parallel()
	for suite, system := range map[string]string{"bookworm": "Debian 12", "jammy": "Ubuntu 22.04", "noble": "Ubuntu 24.04"} {
		t.Run(suite, func(t *testing.T) {
			inTurn(t)
			s, o := bare(t, suite, "")
			site(s)
			plan := o.MustSSH("root", ringwall+"plan")
			contains(t, "the plan", plan, "make the user deploy", "+PasswordAuthentication no", "$ ufw limit 22/tcp", "$ ufw --force enable", "nothing was done")
			if s.Read("/etc/ssh/sshd_config.d/00-ringwall.conf") != "" || s.Read("/var/lib/ringwall/host/lock") != "" {
				t.Error("planning wrote")
			}
			// The first session stays open, as who applies is told.
			first, began := o.Session("root"), time.Now()
			asRoot := func(verb string) string {
				out, err := first.Run(ringwall + verb + " 2>&1")
				if err != nil {
					t.Errorf("%s: %v\n%s", verb, err, out)
				}
				return out
			}
			session := "On a fresh " + system + ", with a policy, a certificate and the secrets in /etc/ringwall, as root:\n\n$ ringwall host apply --yes\n" + asRoot("apply --yes")
			if out, err := s.RunEnv([]string{"RINGWALL_STATE=/var/lib/ringwall/serve"}, "ringwall", "ban", "list"); err != nil || !strings.Contains(out, " is spared until ") {
				t.Errorf("before he confirms, the owner may be banned: %v: %s", err, out)
			}
			session += "\nFrom another terminal of the owner's:\n\n$ ssh deploy@SERVER sudo ringwall host confirm\n" + o.MustSSH("deploy", "sudo env "+ringwall+"confirm 2>&1")
			firstLook(s)
			out := asRoot("status")
			took := time.Since(began).Round(time.Second)
			t.Logf("%s: from bare to green in %v", suite, took)
			if took > 10*time.Minute { // 3 are what is promised; here other servers run beside it
				t.Errorf("it took %v from a bare server to a green one", took)
			}
			if !strings.Contains(out, " 0 fail, 0 unknown, ") {
				t.Errorf("%s: status: %s", suite, out)
			}
			session += "\nIn the first one, a minute later:\n\n$ ringwall host status\n" + out
			if out, err := o.SSH("root", "true"); err == nil {
				t.Errorf("root gets in: %s", out)
			}
			if err := o.GetsIn("deploy"); err != nil {
				t.Error(err)
			}
			if out := o.MustSSH("deploy", "sudo env "+ringwall+"plan"); !strings.Contains(out, "nothing to do") {
				t.Errorf("a second plan: %s", out)
			}
			if out := o.MustSSH("deploy", "sudo env "+ringwall+"apply --yes"); !strings.Contains(out, "nothing to do") {
				t.Errorf("a second apply: %s", out)
			}
			if suite == "bookworm" {
				transcript(t, session)
			} else {
				t.Log(session)
			}
		})
	}
}

// timeless is what a server said but for what is another every time: when it was,
// which machine, and whose key.
func timeless(said string) string {
	for was, name := range map[string]string{`SHA256:[\w+/]{43}`: "SHA256:" + strings.Repeat("k", 43), `\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`: "2026-01-02 03:04:05", `\b[0-9a-f]{32}\b`: "0123456789abcdef0123456789abcdef", `\b10\.99\.\d+\.\d+\b`: "203.0.113.9"} {
		said = regexp.MustCompile(was).ReplaceAllString(said, name)
	}
	return said
}

// transcript compares the whole way with the one in the docs.
func transcript(t *testing.T, session string) {
	t.Helper()
	session = timeless(session)
	const path = "../../docs/host.txt"
	if *update {
		if err := os.WriteFile(path, []byte(session), 0o644); err != nil {
			t.Error(err)
		}
	}
	docs, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(docs) != session {
		t.Errorf("docs/host.txt tells of another way; -update writes it anew:%s%s", differing("-", string(docs), session), differing("+", session, string(docs)))
	}
}
