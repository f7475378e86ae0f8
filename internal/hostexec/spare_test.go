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
		{"where nobody listens", from, "198.51.100.0/24", true, []string{"fail2ban-client set sshd addignoreip 192.0.2.7", "fail2ban-client set recidive addignoreip 192.0.2.7"},
			[]string{"fail2ban-client set sshd delignoreip 192.0.2.7", "fail2ban-client get sshd ignoreip", "fail2ban-client set recidive delignoreip 192.0.2.7", "fail2ban-client get recidive ignoreip"},
			"fail2ban's jail recidive may ban you, at 192.0.2.7, before you confirm: no answer"},
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

// TestUnspare: a jail that forgot the address by itself is no fault, and one that keeps
// it is told, whatever the other one says.
func TestUnspare(t *testing.T) {
	for _, tt := range []struct{ name, sshd, recidive, told string }{
		{"both forgot it", "These IP addresses/networks are ignored:\n|- 127.0.0.0/8\n`- 192.0.2.77\n", "No IP address/network is ignored\n", ""},
		{"one keeps it", "No IP address/network is ignored\n", "These IP addresses/networks are ignored:\n`- 192.0.2.7\n", "fail2ban's jail recidive still spares 192.0.2.7: systemctl restart fail2ban (list.remove)\n"},
		{"one is gone", "No IP address/network is ignored\n", "NOK: Sorry but the jail 'recidive' does not exist\n", ""},
		{"one does not answer", "NOK: timed out\n", "No IP address/network is ignored\n", "fail2ban's jail sshd may still spare 192.0.2.7: systemctl restart fail2ban (list.remove)\n"},
	} {
		told := ""
		m := &Machine{dir: t.TempDir(), tell: func(s string) { told += s + "\n" }}
		if err := os.WriteFile(m.spared(), []byte("192.0.2.7\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		m.unspare(func(argv ...string) (string, error) {
			said := map[string]string{"sshd": tt.sshd, "recidive": tt.recidive}[argv[2]]
			switch {
			case argv[1] == "set":
				return "", errors.New("list.remove")
			case strings.HasPrefix(said, "NOK"):
				return said, errors.New(said)
			}
			return said, nil
		})
		if _, err := os.Stat(m.spared()); err == nil || told != tt.told {
			t.Errorf("%s: %v, it told %q; want %q", tt.name, err, told, tt.told)
		}
	}
}

// TestWithin: a service that hangs takes no more of the time to confirm than it may.
func TestWithin(t *testing.T) {
	began := time.Now()
	if _, err := within(50*time.Millisecond)("sleep", "60"); err == nil || time.Since(began) > 30*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}
