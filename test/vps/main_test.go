//go:build linux

package vps_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/host"
	"github.com/ringwall/ringwall/internal/pebbletest"
	"github.com/ringwall/ringwall/test/vps"
)

var start = flag.Duration("start", 0, "how long after the begin the last server may be started; 0: no bound")

var binary string // the freshly built ringwall, which can be killed at any step

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(func() int {
		if testing.Short() || os.Geteuid() != 0 {
			return m.Run() // each test says why it is skipped
		}
		dir, err := os.MkdirTemp("", "vps")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		defer pebbletest.Remove()
		binary = filepath.Join(dir, "ringwall")
		build := exec.Command("go", "build", "-trimpath", "-tags", "faults", "-o", binary, "../../cmd/ringwall")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
			return 1
		}
		if *start > 0 {
			vps.Until = time.Now().Add(*start)
			vps.Always = []string{"TestFromABareServer/bookworm", "TestKilledAtEveryStep/" + vps.Ready, "TestAttackers/bookworm", "TestSecurityServices/bookworm", "TestSystem/bookworm"}
		}
		return m.Run()
	}())
}

// inTurn lets a test's servers run beside each other; but where the time is bounded,
// one after the other in their test's place: else those of all tests come last.
func inTurn(t *testing.T) {
	if *start == 0 {
		t.Parallel()
	}
}

const policyFile = "/etc/ringwall/ringwall.yaml"

// bare boots a server as a provider hands it out, with ringwall and a policy on
// it, and returns its owner, whose key root has.
func bare(t *testing.T, suite, section string) (*vps.Server, *vps.Owner) {
	t.Helper()
	s := vps.New(t, suite)
	o := s.NewOwner().Install()
	s.Copy(binary, "/usr/local/bin/ringwall", 0o755)
	policy(s, section)
	return s, o
}

// policy writes the server's policy, with lines of its host section.
func policy(s *vps.Server, section string) {
	text := "site: api.example.com\nupstream: http://127.0.0.1:8000\n"
	if section != "" {
		text += "host:\n" + section + "\n"
	}
	s.Write(policyFile, text, 0o644)
}

// door writes a policy that waives every control that is not about the way in,
// and those that are named too, so that a test of the door is quick.
func door(s *vps.Server, section string, waive ...string) {
	text := "site: api.example.com\nupstream: http://127.0.0.1:8000\nwaivers:\n"
	until := time.Now().AddDate(0, 0, 30).Format(time.DateOnly)
	for _, c := range host.Controls() {
		if !slices.Contains([]string{"host/deploy-user", "host/ssh", "host/firewall"}, c.ID) || slices.Contains(waive, c.ID) {
			text += "  - {control: " + c.ID + ", reason: \"somebody else's firewall does it\", until: " + until + "}\n"
		}
	}
	if section != "" {
		text += "host:\n" + section + "\n"
	}
	s.Write(policyFile, text, 0o644)
}

const ringwall = "RINGWALL_POLICY=" + policyFile + " ringwall host "

// apply applies from a session of root's and confirms from one of deploy's.
func apply(t *testing.T, o *vps.Owner) string {
	t.Helper()
	out := o.MustSSH("root", ringwall+"apply --yes 2>&1")
	o.MustSSH("deploy", "sudo env "+ringwall+"confirm 2>&1")
	return out
}

func contains(t *testing.T, what, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("%s does not say %q:\n%s", what, want, text)
		}
	}
}
