package host_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/host"
	"github.com/ringwall/ringwall/policy"
)

// TestVerdictsOfContainers has rulesets as nft 1.0.6 lists them.
func TestVerdictsOfContainers(t *testing.T) {
	const nat = "table ip nat {\n\tchain DOCKER {\n\t\tiifname != \"docker0\" tcp dport 5432 counter packets 0 bytes 0 dnat to 172.30.0.2:80\n\t}\n}\n"
	const right = nat + `table inet ringwall_published {
	chain forward {
		type filter hook forward priority filter - 1; policy accept;
		ct status ! dnat accept
		ct state established,related accept
		iifname { "br-*", "cni*", "docker*", "lo", "podman*" } accept
		meta l4proto tcp ct original proto-dst { 0x50 [invalid type], 0x1bb [invalid type] } accept
		counter packets 7 bytes 420 drop
	}
}
`
	const first, last = "\t\tct status ! dnat accept\n", "\t\tcounter packets 7 bytes 420 drop\n"
	put := func(rule string) string { return strings.Replace(right, first, "\t\t"+rule+"\n"+first, 1) }
	for name, tt := range map[string]struct {
		rules string
		want  check.Verdict
		got   string
	}{
		"nothing here":             {"", check.Unknown, "no container engine"},
		"no table of ours":         {nat, check.Fail, "1 ports are published past ufw"},
		"right":                    {right, check.Pass, "1 ports are published"},
		"one port, in decimal":     {strings.Replace(right, "{ 0x50 [invalid type], 0x1bb [invalid type] }", "443", 1), check.Pass, "1 ports"},
		"more is dropped":          {put("ip saddr 192.0.2.1 drop"), check.Pass, "1 ports"},
		"after the drop":           {strings.Replace(right, last, last+"\t\ttcp dport 80 accept\n", 1), check.Pass, "1 ports"},
		"in the engine's chain":    {right + "table ip filter {\n\tchain DOCKER-USER {\n\t\tcounter packets 0 bytes 0 accept\n\t}\n}\n", check.Pass, "1 ports"},
		"all is accepted first":    {put("accept"), check.Fail, "not ours: accept"},
		"a port is accepted first": {put("ct original proto-dst 5432 accept"), check.Fail, "5432 accept"},
		"counted, and accepted":    {put("counter packets 0 bytes 0 accept"), check.Fail, "not ours: counter"},
		"it returns":               {put("return"), check.Fail, "not ours: return"},
		"it jumps":                 {put("jump mine"), check.Fail, "jump mine"},
		"another interface":        {strings.Replace(right, `"lo"`, `"eth0"`, 1), check.Fail, "eth0"},
		"a port more":              {strings.Replace(right, "{ 0x50 [invalid type],", "{ 0x50 [invalid type], 0x1538 [invalid type],", 1), check.Fail, "does not name"},
		"a range":                  {strings.Replace(right, "{ 0x50 [invalid type], 0x1bb [invalid type] }", "80-443", 1), check.Fail, "does not name"},
		"by UDP":                   {strings.Replace(right, "l4proto tcp", "l4proto udp", 1), check.Fail, "does not name"},
		"nothing is dropped":       {strings.Replace(right, last, "", 1), check.Fail, "drops nothing"},
		"some is dropped":          {strings.Replace(right, last, "\t\ttcp dport 22 drop\n", 1), check.Fail, "drops nothing"},
		"switched off":             {strings.Replace(right, "\tchain forward {", "\tflags dormant\n\n\tchain forward {", 1), check.Fail, "flags dormant"},
	} {
		m := texts{files: map[string]host.FileState{"/etc/os-release": debian}, said: map[string]string{"nft list ruleset": tt.rules, showUnit + "ringwall-published.service": enabled}}
		for name, says := range map[string]string{"nftables": "installed 1", "docker.io": "no", "docker-ce": "no", "podman": "no", "iptables": "no"} {
			m.said[strings.Join(host.Query("dpkg-query").Argv(name), " ")] = says
		}
		f, _ := host.Verify("host/containers", policy.Default(), host.NewFacts(m), time.Now())
		if f.Verdict != tt.want || !strings.Contains(f.Got, tt.got) || f.Moot != (tt.rules == "") {
			t.Errorf("%s: %v %q, want %v %q", name, f.Verdict, f.Got, tt.want, tt.got)
		}
	}
}
