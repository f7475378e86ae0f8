package e2e

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/inside"
)

// TestTheKernelAgrees: what inside/listeners says of a port, by the rules of nftables
// alone, is what happens to who connects from another machine, over IPv4 and IPv6.
func TestTheKernelAgrees(t *testing.T) {
	tool(t, "nft")
	w := newWorld(t)
	l, err := in(t, w.server, func() (net.Listener, error) { return net.Listen("tcp", "[::]:8000") })
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	reached := func() (families []string) {
		for family, address := range map[string]string{"IPv4": "192.0.2.1:8000", "IPv6": "[2001:db8::1]:8000"} {
			c, err := in(t, w.outside, func() (net.Conn, error) { return net.DialTimeout("tcp", address, 2*time.Second) })
			if err == nil {
				c.Close()
				families = append(families, family)
			}
		}
		return families
	}
	run := func(_ context.Context, argv ...string) (string, error) {
		if argv[0] != "nft" {
			return "", exec.ErrNotFound
		}
		out, err := exec.Command("ip", append([]string{"netns", "exec", w.server}, argv...)...).Output()
		return string(out), err
	}
	const open, shut, perhaps = check.Fail, check.Pass, check.Unknown
	for _, tt := range []struct {
		rules string
		want  check.Verdict
	}{
		{"", open},
		{"chain in { type filter hook input priority 0; policy accept; tcp dport 8000 drop; }", open}, // nothing keeps out the rest
		{"chain in { type filter hook input priority 0; policy drop; iif lo accept; ct state established,related accept; tcp dport { 22, 80-443 } accept; icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept; }", shut},
		{"chain in { type filter hook input priority 0; policy drop; ct state vmap { established : accept, invalid : drop }; meta l4proto ipv6-icmp accept; tcp dport vmap { 22 : accept, 8000 : drop }; iifname \"cable\" accept; }", shut},
		{"chain in { type filter hook input priority 0; policy drop; iifname \"cable\" accept; }", perhaps},
		{"chain in { type filter hook input priority 0; policy drop; ip saddr 192.0.0.0/8 accept; }", perhaps},
		{"chain in { type filter hook input priority 0; policy drop; ip saddr 192.0.2.2 accept; }", shut}, // but for who connects here
		{"chain in { type filter hook input priority 0; policy drop; ip saddr { 203.0.113.7, 10.0.0.0/8 } tcp dport 8000 accept; meta l4proto ipv6-icmp accept; }", shut},
		{"chain in { type filter hook input priority 0; policy accept; ip saddr != 203.0.113.7 drop; ip6 saddr != 2001:db8:1::/48 meta l4proto tcp drop; }", shut},
		{"chain in { type filter hook input priority 0; policy drop; ip saddr != 203.0.113.7 accept; }", open},
		{"chain in { type filter hook input priority 0; policy drop; tcp dport 7000-8000 accept; meta l4proto ipv6-icmp accept; }", open},
		{"chain in { type filter hook input priority 0; policy drop; meta nfproto ipv6 accept; }", open},
		{"chain in { type filter hook input priority 0; policy drop; meta nfproto ipv4 accept; }", open},
		{"chain in { type filter hook input priority 0; policy drop; udp dport != 53 accept; ip6 nexthdr icmpv6 accept; }", shut},
		{"chain in { type filter hook input priority 0; policy drop; goto more; accept; }\nchain more { tcp dport 8000 return; accept; }", open},
		{"chain in { type filter hook input priority 0; policy drop; jump more; tcp dport 8000 accept; }\nchain more { fib daddr type local return; accept; }", open},
		{"chain in { type filter hook input priority 0; policy accept; iifname != \"lo\" jump more; }\nchain more { meta l4proto ipv6-icmp accept; ct state new reject; }", shut},
		{"chain in { type filter hook input priority 0; policy accept; tcp dport != { 22, 80, 443 } ct state new drop; }\nchain late { type filter hook input priority 10; policy accept; }", shut},
		{"set ports { type inet_service; elements = { 8000 }; }\nchain in { type filter hook input priority 0; policy drop; tcp dport @ports accept; }", perhaps},
	} {
		rules := "flush ruleset\ntable inet f {\nchain empty {}\n" + tt.rules + "\n}\n"
		file := filepath.Join(t.TempDir(), "rules")
		if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
			t.Fatal(err)
		}
		ip(t, "netns", "exec", w.server, "nft", "-f", file)
		m := &inside.Machine{Root: t.TempDir(), Run: run, Now: time.Now()}
		if err := os.MkdirAll(filepath.Join(m.Root, "proc/net"), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"tcp", "tcp6", "if_inet6"} {
			text, err := exec.Command("ip", "netns", "exec", w.server, "cat", "/proc/net/"+name).Output()
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(m.Root, "proc/net", name), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range inside.Checks(m) {
			if c.ID != "inside/listeners" {
				continue
			}
			got, came := c.Verify(t.Context()), reached()
			if got.Verdict != tt.want || got.Verdict == shut && len(came) > 0 && !strings.Contains(tt.rules, "ip saddr 192.0.2.2 ") {
				t.Errorf("%s\n%v: %s; reached over %v", tt.rules, got.Verdict, got.Got, came)
			}
			t.Logf("%v, reached over %v", got.Verdict, came)
		}
	}
}
