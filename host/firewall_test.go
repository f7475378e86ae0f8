package host_test

import (
	"io/fs"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/host"
	"github.com/ringwall/ringwall/policy"
)

// TestWhatTakesTheFirewallAway: what nftables.service reads when the machine starts,
// wherever it stands.
func TestWhatTakesTheFirewallAway(t *testing.T) {
	const (
		unit     = "systemctl show --no-pager --property=LoadState,ActiveState,UnitFileState -- "
		starts   = "systemctl show --no-pager --property=ExecStart -- nftables.service"
		stock    = "ExecStart={ path=/usr/sbin/nft ; argv[]=/usr/sbin/nft -f /etc/nftables.conf ; ignore_errors=no ; start_time=[n/a] ; stop_time=[n/a] ; pid=0 ; code=(null) ; status=0/0 }\n"
		harmless = "#!/usr/sbin/nft -f\n# flush ruleset\ntable inet mine {\n\tchain input {\n\t\ttype filter hook input priority 10; policy accept;\n\t}\n}\n"
	)
	link := func(to string) host.FileState {
		return host.FileState{Exists: true, Mode: fs.ModeSymlink | 0o777, Owner: "root:root", Target: to}
	}
	folder := host.FileState{Exists: true, Mode: fs.ModeDir | 0o755, Owner: "root:root"}
	right := map[string]string{
		unit + "nftables.service":       "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\n",
		unit + "ufw.service":            "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\n",
		starts:                          stock,
		"ip -j -4 route show table all": routes,
		"ss -Hlntup":                    "tcp LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:((\"sshd\",pid=1,fd=3))\n",
		"iptables -S":                   "-P INPUT DROP\n-A INPUT -j ufw-before-input\n-A ufw-before-input -j ufw-user-input\n-A ufw-user-limit-accept -j ACCEPT\n-A ufw-user-input -p tcp -m tcp --dport 22 -j ufw-user-limit-accept\n-A ufw-user-input -p tcp -m tcp --dport 80 -j ACCEPT\n-A ufw-user-input -p tcp -m tcp --dport 443 -j ACCEPT\n",
		"dpkg-query -W -f ${db:Status-Status} ${Version}\n -- ufw": "installed 0.36\n",
	}
	for _, tt := range []struct {
		name  string
		files map[string]host.FileState
		said  map[string]string
		want  check.Verdict
		got   string
	}{
		{"a table of its own", map[string]host.FileState{"/etc/nftables.conf": file(harmless)}, nil, check.Pass, "INPUT drops"},
		{"off", map[string]host.FileState{"/etc/nftables.conf": file("flush ruleset\n")}, map[string]string{unit + "nftables.service": "LoadState=loaded\nActiveState=inactive\nUnitFileState=disabled\n"}, check.Pass, "INPUT drops"},
		{"as Debian has it", map[string]host.FileState{"/etc/nftables.conf": file("#!/usr/sbin/nft -f\n\nflush ruleset\n")}, nil, check.Fail, "/etc/nftables.conf takes away"},
		{"on one line", map[string]host.FileState{"/etc/nftables.conf": file("add table x; flush  ruleset; add table y\n")}, nil, check.Fail, "flush ruleset"},
		{"on two lines", map[string]host.FileState{"/etc/nftables.conf": file("flush \\\n ruleset\n")}, nil, check.Fail, "flush ruleset"},
		{"the table of iptables", map[string]host.FileState{"/etc/nftables.conf": file("delete table ip filter\n")}, nil, check.Fail, "delete table ip filter"},
		{"included", map[string]host.FileState{"/etc/nftables.conf": file("include \"/etc/nftables.d/*.nft\"\n"), "/etc/nftables.d/a.nft": file(harmless), "/etc/nftables.d/b.nft": file("flush ruleset\n"), "/etc/nftables.d/c.off": file("")}, nil, check.Fail, "/etc/nftables.d/b.nft takes away"},
		{"not included", map[string]host.FileState{"/etc/nftables.conf": file("include \"/etc/nftables.d/*.nft\"\n"), "/etc/nftables.d/a.nft": file(harmless), "/etc/nftables.d/b.off": file("flush ruleset\n"), "/etc/nftables.d/.c.nft": file("flush ruleset\n")}, nil, check.Pass, "INPUT drops"},
		{"included from /etc", map[string]host.FileState{"/etc/nftables.conf": file("include 'x.nft'\n"), "/etc/x.nft": file("include \"./srv/y.nft\"\n"), "/srv/y.nft": file("flush ruleset\n")}, nil, check.Fail, "/srv/y.nft takes away"},
		{"a folder", map[string]host.FileState{"/etc/nftables.conf": file("include \"/etc/rules/\"\n"), "/etc/rules": folder, "/etc/rules/a": file("flush ruleset\n")}, nil, check.Fail, "/etc/rules/a takes away"},
		{"itself", map[string]host.FileState{"/etc/nftables.conf": file("include \"/etc/nftables.conf\"\n")}, nil, check.Pass, "INPUT drops"},
		{"a link", map[string]host.FileState{"/etc/nftables.conf": link("../srv/x.nft"), "/srv/x.nft": link("/srv/y.nft"), "/srv/y.nft": file("flush ruleset\n")}, nil, check.Fail, "/srv/y.nft takes away"},
		{"a ring of links", map[string]host.FileState{"/etc/nftables.conf": link("nftables.conf")}, nil, check.Unknown, "too many links"},
		{"another file", map[string]host.FileState{"/srv/x.nft": file("flush ruleset\n")}, map[string]string{starts: strings.ReplaceAll(stock, "/etc/nftables.conf", "/srv/x.nft")}, check.Fail, "/srv/x.nft takes away"},
		{"a script", nil, map[string]string{starts: strings.ReplaceAll(stock, "/usr/sbin/nft -f /etc/nftables.conf", "/srv/rules.sh")}, check.Unknown, "systemctl cat nftables"},
		{"and a script", map[string]host.FileState{"/etc/nftables.conf": file(harmless)}, map[string]string{starts: stock + strings.ReplaceAll(stock, "-f /etc/nftables.conf", "flush ruleset")}, check.Unknown, "systemctl cat nftables"},
		{"nothing said", nil, map[string]string{starts: "ExecStart=\n"}, check.Unknown, "systemctl cat nftables"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := texts{files: map[string]host.FileState{"/etc/os-release": debian, "/etc/ufw/ufw.conf": file("ENABLED=yes\n")}, said: maps.Clone(right)}
			maps.Copy(m.files, tt.files)
			maps.Copy(m.said, tt.said)
			p := policy.Default()
			p.Host.SSH.Port = 22
			f, _ := host.Verify("host/firewall", p, host.NewFacts(m), time.Now())
			if f.Verdict != tt.want || !strings.Contains(f.Got, tt.got) {
				t.Errorf("%v: %s; want %v: %s", f.Verdict, f.Got, tt.want, tt.got)
			}
		})
	}
}
