package hostexec

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/policy"
)

// TestSpare: where the owner comes from is banned by nothing while he may confirm, and
// like anybody after; what cannot be told is said.
func TestSpare(t *testing.T) {
	from := netip.MustParseAddr("192.0.2.7")
	for _, tt := range []struct {
		name   string
		from   netip.Addr
		allow  string // host.allow
		dark   bool   // nothing answers
		during []string
		after  []string
		told   string
	}{
		{"from an address that nobody named", from, "198.51.100.0/24", false, []string{
			"fail2ban-client set sshd addignoreip 192.0.2.7", "fail2ban-client set recidive addignoreip 192.0.2.7",
			"env RINGWALL_STATE=/srv/state DIR/ringwall ban spare 192.0.2.7 --for 6m0s",
		}, []string{"fail2ban-client set sshd delignoreip 192.0.2.7", "fail2ban-client set recidive delignoreip 192.0.2.7"}, ""},
		{"from one that is named", from, "192.0.2.0/24", false, nil, nil, ""},
		{"not over SSH", netip.Addr{}, "192.0.2.0/24", false, nil, nil, ""},
		{"where nobody listens", from, "198.51.100.0/24", true, []string{"fail2ban-client set sshd addignoreip 192.0.2.7"},
			[]string{"fail2ban-client set sshd delignoreip 192.0.2.7"}, "fail2ban may ban you, at 192.0.2.7, before you confirm: no answer"},
	} {
		var ran []string
		told := ""
		m := &Machine{dir: t.TempDir(), tell: func(s string) { told += s + "\n" }}
		run := func(argv ...string) (string, error) {
			line := strings.ReplaceAll(strings.Join(argv, " "), m.dir, "DIR")
			switch {
			case argv[0] != "systemctl":
				ran = append(ran, line)
			case tt.dark:
			case slices.Contains(argv, "--property=Environment"):
				return "A=b RINGWALL_STATE=/srv/state\n", nil
			default:
				return "ActiveState=active\nUnitFileState=enabled\n", nil
			}
			if tt.dark {
				return "", errors.New("no answer")
			}
			return "", nil
		}
		p := &policy.Policy{}
		p.Host.Allow = []netip.Prefix{netip.MustParsePrefix(tt.allow)}
		m.spare(run, p, tt.from, 5*time.Minute)
		if !slices.Equal(ran, tt.during) {
			t.Errorf("%s: while it waits: %q", tt.name, ran)
		}
		ran = nil
		m.unspare(run)
		if !slices.Equal(ran, tt.after) {
			t.Errorf("%s: confirmed: %q", tt.name, ran)
		}
		if _, err := os.Stat(m.spared()); err == nil || tt.told == "" && told != "" || !strings.Contains(told, tt.told) {
			t.Errorf("%s: %v, it told %q", tt.name, err, told)
		}
	}
}
