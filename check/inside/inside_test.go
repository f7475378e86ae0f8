package inside_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/inside"
)

// The forms of secrets, put together here so that no scanner takes them for some.
var (
	github = "ghp_" + strings.Repeat("aB3", 12)
	jwt    = "eyJhbGciOiJIUzI1NiJ9" + "." + "eyJzdWIiOiIxMjM0In0" + "." + strings.Repeat("x", 30)
	key    = "-----BEGIN " + "PRIVATE KEY-----\nMIIE\n"
)

func TestEveryCheck(t *testing.T) {
	const runs = "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\n"
	logrotate := timers("logrotate", "", "")
	cronOn := more(units(timers("x", "", "")), "systemctl show cron.service", runs)
	debianLogrotate := map[string]string{"etc/cron.daily/logrotate": "#!/bin/sh\nif [ -d /run/systemd/system ]; then\n    exit 0\nfi\n/usr/sbin/logrotate /etc/logrotate.conf\n", "usr/sbin/logrotate": ""}
	journal := map[string]string{"journalctl": "Started api.service\n"}
	shipped := map[string]string{"dpkg-query -S -- /usr/bin/su /bin/su": "util-linux: /bin/su\n"}
	proxy := map[string]string{"proc/net/tcp": tcpHead + https + local, "proc/9/fd/3": "-> socket:[13]", "proc/9/comm": "nginx\n", "proc/9/cgroup": "0::/system.slice/nginx.service\n"}
	held := map[string]string{"proc/net/tcp": tcpHead + https, "proc/1/fd/3": "-> socket:[13]", "proc/1/comm": "systemd\n", "proc/1/cgroup": "0::/init.scope\n"}
	for id, cases := range map[string]map[check.Verdict]map[string]fake{
		"inside/listeners": {
			check.Pass: {
				"loopback":            {files: map[string]string{"proc/net/tcp": tcpHead + local + https, "proc/net/tcp6": tcpHead + local6, "proc/net/if_inet6": anIPv6}, commands: ufw(t, "", "")},
				"behind the firewall": {files: map[string]string{"proc/net/tcp": tcpHead + all, "proc/net/tcp6": tcpHead + all6, "proc/net/if_inet6": anIPv6}, commands: ufw(t, "", "")},
				"another port":        {files: map[string]string{"proc/net/tcp": tcpHead + all}, commands: ufw(t, "-A ufw-user-input -p tcp -m multiport --dports 7000:7999,8001 -j ACCEPT", "")},
				"refused first":       {files: map[string]string{"proc/net/tcp": tcpHead + all}, commands: ufw(t, "-A ufw-user-input -p tcp -m tcp --dport 8000 -j DROP\n-A ufw-user-input -i eth0 -j ACCEPT", "")},
				"others of the kind":  {files: map[string]string{"proc/net/tcp": tcpHead + https}, commands: ufw(t, "-A ufw-user-input -i wg0 -j ACCEPT", "")},
				"behind nftables":     {files: map[string]string{"proc/net/tcp": tcpHead + all}, commands: nft("inet", "drop", nftLoopback, nftKnown, nftPorts(`{"set":[22,80,443]}`, "accept"))},
				"an nftables of ours": {files: map[string]string{"proc/net/tcp": tcpHead + all}, commands: nft("inet", "accept", nftLoopback, nftKnown, nftPorts(`{"set":[22,{"range":[80,443]}]}`, "accept"), `{"reject":null}`)},
				"of other protocols":  {files: map[string]string{"proc/net/tcp": tcpHead + all}, commands: nft("inet", "drop", `{"match":{"op":"!=","left":{"payload":{"protocol":"ip6","field":"saddr"}},"right":"::2"}},{"accept":null}`, `{"match":{"op":"==","left":{"payload":{"protocol":"udp","field":"sport"}},"right":67}},{"accept":null}`)},
				"where goto ends":     {files: map[string]string{"proc/net/tcp": tcpHead + all}, commands: nft("inet", "drop", `{"goto":{"target":"empty"}}`, `{"accept":null}`)},
				"for a VPN":           {files: routed(tcpHead + all), commands: ufw(t, "-A ufw-user-input -i tailscale0 -j ACCEPT\n-A ufw-user-input -i docker+ -j ACCEPT", "-A ufw6-user-input -i wg0 -j ACCEPT")},
				"for a VPN, nftables": {files: routed(tcpHead + all), commands: nft("inet", "drop", nftThrough(`{"set":["wg0","lo"]}`), nftThrough(`"docker*"`))},
				"from some":           {files: map[string]string{"proc/net/tcp": tcpHead + all}, commands: ufw(t, "-A ufw-user-input -s 192.0.2.0/24 -p tcp -m tcp --dport 8000 -j ACCEPT", "")},
				"from a network":      {files: map[string]string{"proc/net/tcp": tcpHead + all}, commands: ufw(t, "-A ufw-user-input -s 10.0.0.0/8 -j ACCEPT", "")},
				"from one, nftables":  {files: map[string]string{"proc/net/tcp": tcpHead + all}, commands: nft("inet", "drop", nftFrom("==", `{"set":["192.0.2.7",{"prefix":{"addr":"10.1.0.0","len":16}}]}`, "accept"))},
				"dropped but for one": {files: map[string]string{"proc/net/tcp": tcpHead + all}, commands: nft("inet", "accept", nftPorts(`{"set":[80,443]}`, "accept"), nftFrom("!=", `"192.0.2.7"`, "drop"))},
				"dropped for some":    {files: map[string]string{"proc/net/tcp": tcpHead + all}, commands: nft("inet", "drop", nftFrom("==", `"192.0.2.7"`, "drop"))},
				"dropped by port":     {files: map[string]string{"proc/net/tcp": tcpHead + all, "proc/net/tcp6": tcpHead + all6, "proc/net/if_inet6": anIPv6}, commands: nft("inet", "drop", nftPorts("8000", "drop"), `{"match":{"op":"==","left":{"meta":{"key":"iifname"}},"right":"eth0"}},{"accept":null}`)},
			},
			check.Fail: {
				"no firewall":        {files: map[string]string{"proc/net/tcp": tcpHead + all}, commands: map[string]string{"iptables": nothing, "nft": nftEmpty}},
				"let in":             {files: map[string]string{"proc/net/tcp": tcpHead + all}, commands: ufw(t, "-A ufw-user-input -p tcp -m tcp --dport 8000 -j ACCEPT", "")},
				"let in on IPv6":     {files: map[string]string{"proc/net/tcp": tcpHead, "proc/net/tcp6": tcpHead + all6, "proc/net/if_inet6": anIPv6}, commands: ufw(t, "", "-A ufw6-user-input -p tcp -m tcp --dport 8000:8010 -j ACCEPT")},
				"IPv4 on [::]":       {files: map[string]string{"proc/net/tcp": tcpHead, "proc/net/tcp6": tcpHead + all6, "proc/net/if_inet6": noIPv6}, commands: ufw(t, "-A ufw-user-input -p tcp -m tcp --dport 8000 -j ACCEPT", "")},
				"before ufw's":       {files: map[string]string{"proc/net/tcp": tcpHead + all}, commands: ufw(t, "-A ufw-before-logging-input -p tcp -m tcp --dport 8000 -j ACCEPT", "")},
				"a chain of another": {files: map[string]string{"proc/net/tcp": tcpHead + all}, commands: ufw(t, "-N mine\n-A mine ! -i lo -m comment --comment \"-p udp\" -j ACCEPT\n-A ufw-before-logging-input -g mine", "")},
				"nothing, unguarded": {files: map[string]string{"proc/net/tcp": tcpHead + local}, commands: map[string]string{"iptables": nothing, "nft": nftEmpty}},
				"a long comment":     {files: map[string]string{"proc/net/tcp": tcpHead + all}, commands: ufw(t, "-A ufw-user-input -p tcp -m tcp --dport 8000 -m comment --comment \"a \\\"\n-j DROP\" -j ACCEPT", "")},
				"IPv6, unguarded":    {files: map[string]string{"proc/net/tcp": tcpHead + local, "proc/net/if_inet6": anIPv6}, commands: nft("ip", "drop", nftLoopback)},
				"IPv4 alone dropped": {files: map[string]string{"proc/net/tcp": tcpHead, "proc/net/tcp6": tcpHead + all6, "proc/net/if_inet6": anIPv6}, commands: nft("ip", "drop", nftLoopback)},
				"IPv6 alone dropped": {files: map[string]string{"proc/net/tcp": tcpHead, "proc/net/tcp6": tcpHead + all6, "proc/net/if_inet6": anIPv6}, commands: nft("ip6", "drop", nftLoopback)},
				"another protocol":   {files: map[string]string{"proc/net/tcp": tcpHead + all}, commands: nft("inet", "accept", `{"match":{"op":"!=","left":{"payload":{"protocol":"udp","field":"dport"}},"right":53}},{"drop":null}`)},
				"but for a VPN":      {files: routed(tcpHead + all), commands: ufw(t, "-A ufw-user-input ! -i wg0 -j ACCEPT", "")},
				"but for one":        {files: map[string]string{"proc/net/tcp": tcpHead + all}, commands: nft("inet", "drop", nftFrom("!=", `"192.0.2.7"`, "accept"))},
				"from anywhere":      {files: map[string]string{"proc/net/tcp": tcpHead + all}, commands: ufw(t, "-A ufw-user-input -s 0.0.0.0/0 -p tcp -m tcp --dport 8000 -j ACCEPT", "")},
				"a map of verdicts":  {files: map[string]string{"proc/net/tcp": tcpHead + all}, commands: nft("inet", "drop", `{"vmap":{"key":{"payload":{"protocol":"tcp","field":"dport"}},"data":{"set":[[22,{"accept":null}],[8000,{"accept":null}]]}}}`)},
			},
			check.Unknown: {
				"not root":     {uid: 1000, files: map[string]string{"proc/net/tcp": tcpHead + all}},
				"no proc":      {},
				"no command":   {files: map[string]string{"proc/net/tcp": tcpHead + all}},
				"it fails":     {files: map[string]string{"proc/net/tcp": tcpHead + https}, commands: map[string]string{"iptables": "fails", "nft": "fails"}},
				"one fails":    {files: map[string]string{"proc/net/tcp": tcpHead + all}, commands: map[string]string{"iptables": nothing, "nft": "fails"}},
				"not a word":   {files: map[string]string{"proc/net/tcp": tcpHead + https}, commands: map[string]string{"iptables": "", "nft": "{}"}},
				"an uplink":    {files: routed(tcpHead + all), commands: ufw(t, "-A ufw-user-input -i eth0 -j ACCEPT", "")},
				"all uplinks":  {files: routed(tcpHead + all), commands: ufw(t, "-A ufw-user-input -i eth+ -j ACCEPT", "")},
				"any nftables": {files: routed(tcpHead + all), commands: nft("inet", "drop", nftThrough(`"et*"`))},
				"for IPv6":     {files: more(routed(tcpHead+all), "proc/net/ipv6_route", strings.Repeat("0", 32)+" 00 "+strings.Repeat("0", 32)+" 00 fe800000000000000000000000000001 00000400 1 0 00000003 ens4\n"), commands: nft("inet", "drop", nftThrough(`"ens4"`))},
				"half of IPv6": {files: more(routed(tcpHead+all), "proc/net/ipv6_route", "8"+strings.Repeat("0", 31)+" 01 "+strings.Repeat("0", 32)+" 00 fe800000000000000000000000000001 00000400 1 0 00000003 ens4\n"), commands: nft("inet", "drop", nftThrough(`"ens4"`))},
				"by a rule":    {files: routed(tcpHead + all), commands: more(ufw(t, "-A ufw-user-input -i eth1 -j ACCEPT", ""), "ip -4", "default via 192.0.2.1 dev eth0 \ndefault table 100 \\\tnexthop via 203.0.113.1 dev eth1 weight 1 \nunreachable default table 9\n")},
				"no routes":    {files: routed(tcpHead + all), commands: more(ufw(t, "-A ufw-user-input -i eth1 -j ACCEPT", ""), "ip -4", "fails")},
				"untracked":    {files: routed(tcpHead + all), commands: ufw(t, "-A ufw-user-input -m conntrack --ctstate RELATED,ESTABLISHED,UNTRACKED -j ACCEPT", "")},
				"not tracked":  {files: routed(tcpHead + all), commands: nft("inet", "drop", `{"match":{"op":"in","left":{"ct":{"key":"state"}},"right":["established","untracked"]}},{"accept":null}`)},
				"no uplink":    {files: more(routed(tcpHead+all), "proc/net/route", "*\t00000000\t00000000\t0201\t0\t0\t0\t00000000\t0\t0\t0\n"), commands: nft("inet", "drop", nftThrough(`"eth0"`))},
				"an interface": {files: map[string]string{"proc/net/tcp": tcpHead + all}, commands: nft("inet", "drop", `{"match":{"op":"==","left":{"meta":{"key":"iifname"}},"right":"eth0"}},{"accept":null}`)},
				"ufw, on eth0": {files: map[string]string{"proc/net/tcp": tcpHead + all}, commands: ufw(t, "-A ufw-user-input -i eth0 -j ACCEPT", "")},
				"from many":    {files: map[string]string{"proc/net/tcp": tcpHead + all}, commands: ufw(t, "-A ufw-user-input -s 192.0.0.0/8 -p tcp -m tcp --dport 8000 -j ACCEPT", "")},
				"half of all":  {files: map[string]string{"proc/net/tcp": tcpHead + all}, commands: nft("inet", "drop", nftFrom("==", `{"prefix":{"addr":"128.0.0.0","len":1}}`, "accept"))},
				"some, others": {files: map[string]string{"proc/net/tcp": tcpHead + all}, commands: ufw(t, "-A ufw-user-input -s 192.0.2.7/32 -j ACCEPT\n-A ufw-user-input -i eth0 -j ACCEPT", "")},
				"a named set":  {files: map[string]string{"proc/net/tcp": tcpHead + all}, commands: nft("inet", "drop", nftPorts(`"@open"`, "accept"))},
				"another's":    {files: map[string]string{"proc/net/tcp": tcpHead + all}, commands: ufw(t, "-A ufw-user-input -p tcp -j NFQUEUE --queue-num 0", "")},
			},
		},
		"inside/confinement": {
			check.Pass: {"confined": {files: proxy, commands: map[string]string{"systemd-analyze": "→ Overall exposure level for nginx.service: 3.1 OK :-)\n"}}},
			check.Fail: {"as shipped": {files: proxy, commands: map[string]string{"systemd-analyze": "→ Overall exposure level for nginx.service: 9.6 UNSAFE :-{\n"}},
				"a second on the port": {files: more(more(more(more(proxy, "proc/net/tcp", tcpHead+https+strings.Replace(https, " 13 ", " 16 ", 1)), "proc/10/fd/3", "-> socket:[16]"), "proc/10/comm", "x\n"), "proc/10/cgroup", "0::/system.slice/x.service\n"),
					commands: map[string]string{"systemd-analyze security --no-pager nginx": "→ Overall exposure level for nginx.service: 3.1 OK :-)\n", "systemd-analyze security --no-pager x": "→ Overall exposure level for x.service: 9.6 UNSAFE :-{\n"}},
				"named like SSH's":      {files: more(proxy, "proc/9/comm", "sshd\n"), commands: map[string]string{"systemd-analyze": "→ Overall exposure level for nginx.service: 9.6 UNSAFE :-{\n"}},
				"a socket of systemd's": {files: held, commands: map[string]string{"systemctl list-sockets": "[::]:22 ssh.socket ssh.service\n[::]:443 cockpit.socket cockpit.service\n", "systemd-analyze security --no-pager cockpit.service": "→ Overall exposure level for cockpit.service: 9.6 UNSAFE :-{\n"}}},
			check.Unknown: {"no systemd": {files: proxy}, "held for somebody": {files: held, commands: map[string]string{"systemctl list-sockets": "[::]:22 ssh.socket ssh.service\n"}}, "no service": {files: map[string]string{"proc/net/tcp": tcpHead + https}}, "no proc": {}},
		},
		"inside/key-files": {
			check.Pass:    {"closed": {files: map[string]string{"srv/api/.env": "JWT_SECRET=correcthorsebattery\n", "srv/api/.env.example!": "JWT_SECRET=changemechangeme\n", "srv/api/tls/a.pem!": "-----BEGIN CERTIFICATE-----\n"}}},
			check.Unknown: {"a large one": {files: map[string]string{"srv/api/.env!": strings.Repeat("X=1\n", 3<<20) + "JWT_SECRET=correcthorsebattery\n"}}},
			check.Fail: {"a link": {files: map[string]string{"srv/api/.env": "-> ../../data/env", "data/env!": "JWT_SECRET=correcthorsebattery\n"}}, "another disk": {files: map[string]string{"srv": "-> data", "data/api/.env!": "JWT_SECRET=correcthorsebattery\n"}},
				"after much else": {files: map[string]string{"srv/api/.env!": strings.Repeat("X=1\n", 1<<15) + "JWT_SECRET=correcthorsebattery\n"}},
				"env":             {files: map[string]string{"srv/api/.env!": "export JWT_SECRET='correcthorsebattery'\n"}}, "key": {files: map[string]string{"opt/api/server.key!": key}}},
		},
		"inside/root-files": {
			check.Pass: {"root's": {files: system(nil)},
				"lists that give nothing": {files: system(map[string]string{"etc/cron.d/x!": "", "usr/bin/y!": "", "etc/group!": "root:x:0:\nops:x:50:ann\nnone:x:60:\n"}), lists: map[string][]line{
					"etc/cron.d/x": {{'U', 0, 6}, {'u', 1000, 6}, {'G', 0, 4}, {'g', 50, 2}, {'m', 0, 4}, {'o', 0, 4}},           // the mask takes it away
					"usr/bin/y":    {{'U', 0, 6}, {'u', 0, 6}, {'G', 0, 4}, {'g', 0, 6}, {'g', 60, 6}, {'m', 0, 6}, {'o', 0, 4}}, // to root, and to nobody
					"etc/cron.d!":  {{'U', 0, 7}, {'u', 1000, 5}, {'G', 0, 5}, {'m', 0, 5}, {'o', 0, 5}},
				}},
				"its group is not what the mode says": {files: system(map[string]string{"usr/bin/y!": "", "etc/group!": "root:x:0:\nops:x:50:ann\n"}), groups: map[string]int{"usr/bin/y": 50},
					lists: map[string][]line{"usr/bin/y": {{'U', 0, 6}, {'u', 0, 6}, {'G', 0, 4}, {'m', 0, 6}, {'o', 0, 4}}}},
				"at, as shipped": {files: system(map[string]string{"usr/bin/at": ""}), owners: map[string]int{"usr/bin/at": 1}, modes: map[string]os.FileMode{"usr/bin/at": os.ModeSetuid | os.ModeSetgid | 0o755}}},
			check.Fail: {"a job": {files: system(map[string]string{"etc/cron.d/x+": "* * * * * root id\n"})}, "a program": {files: system(map[string]string{"usr/local/bin/x+": ""})},
				"what a link names": {files: system(map[string]string{"srv/tool+": "", "usr/local/bin/tool": "-> ../../../srv/tool"})}, "the policy": {files: system(map[string]string{"etc/ringwall/ringwall.yaml+": "site: x\n"})},
				"hashes of passwords":               {files: system(map[string]string{"etc/gshadow!": ""})},
				"/ is another's":                    {files: system(nil), owners: map[string]int{"": 1000}},
				"a list, to a user":                 {files: system(map[string]string{"usr/bin/y!": ""}), lists: map[string][]line{"usr/bin/y": {{'U', 0, 6}, {'u', 1000, 6}, {'G', 0, 4}, {'m', 0, 6}, {'o', 0, 4}}}},
				"a list, to a group":                {files: system(map[string]string{"etc/cron.d/x!": "", "etc/group!": "root:x:0:\nops:x:50:ann\n"}), lists: map[string][]line{"etc/cron.d/x": {{'U', 0, 6}, {'G', 0, 4}, {'g', 50, 6}, {'m', 0, 6}, {'o', 0, 4}}}},
				"a list, of a folder":               {files: system(nil), lists: map[string][]line{"usr/local/bin": {{'U', 0, 7}, {'u', 1000, 7}, {'G', 0, 5}, {'m', 0, 7}, {'o', 0, 5}}}},
				"a list, what is made in a folder":  {files: system(nil), lists: map[string][]line{"etc/cron.d!": {{'U', 0, 7}, {'u', 1000, 7}, {'G', 0, 5}, {'m', 0, 7}, {'o', 0, 5}}}},
				"a list, to everybody what is made": {files: system(nil), lists: map[string][]line{"etc/cron.d!": {{'U', 0, 7}, {'G', 0, 5}, {'o', 0, 7}}}},
				"a list, of hashes":                 {files: system(nil), lists: map[string][]line{"etc/shadow": {{'U', 0, 6}, {'u', 1000, 4}, {'G', 0, 0}, {'m', 0, 4}, {'o', 0, 0}}}},
				"a sticky folder":                   {files: system(nil), modes: map[string]os.FileMode{"usr/local/bin": os.ModeSticky | 0o777}},
				"at, of another":                    {files: system(map[string]string{"usr/bin/at": ""}), owners: map[string]int{"usr/bin/at": 1000}},
				"another of daemon's":               {files: system(map[string]string{"usr/bin/ab": ""}), owners: map[string]int{"usr/bin/ab": 1}},
				"at, written by all":                {files: system(map[string]string{"usr/bin/at": ""}), owners: map[string]int{"usr/bin/at": 1}, modes: map[string]os.FileMode{"usr/bin/at": 0o757}}},
			check.Unknown: {"nothing": {}, "not root": {uid: 1000, files: system(nil)}},
		},
		"inside/privileged": {
			check.Pass: {"as packages brought them": {files: system(nil), commands: shipped},
				"another system's": {files: system(map[string]string{"var/lib/docker/overlay2/1/diff/bin/su#": "", "var/snap/docker/common/su#": "", "var/snap/lxd/common/su#": "", "var/snap/microk8s/common/su#": "",
					"var/lib/rancher/k3s/su#": "", "var/lib/incus/su#": "", "var/lib/kubelet/su#": "", "var/cache/pbuilder/su#": ""}), commands: shipped},
				"docker's, moved": {files: system(map[string]string{"etc/docker/daemon.json!": "{\n\t\"log-driver\": \"journald\",\n\t\"data-root\": \"/mnt/big/docker/\"\n}\n", "mnt/big/docker/overlay2/1/diff/bin/su#": ""}),
					modes: map[string]os.FileMode{"mnt/big/docker": 0o710}, commands: shipped},
				"podman's, moved": {files: system(map[string]string{"etc/containers/storage.conf!": "[storage]\ndriver = \"overlay\"\ngraphroot = \"/srv/pods\"\n", "srv/pods/overlay/1/diff/bin/su#": ""}),
					modes: map[string]os.FileMode{"srv/pods": 0o700}, commands: shipped},
				"containerd's, moved": {files: system(map[string]string{"etc/containerd/config.toml!": "version = 2\nroot = '/srv/cd'\n", "srv/cd/io.containerd.snapshotter.v1.overlayfs/snapshots/1/fs/bin/su#": ""}),
					modes: map[string]os.FileMode{"srv/cd": 0o711, "srv/cd/io.containerd.snapshotter.v1.overlayfs": 0o700}, commands: shipped},
				"small ports": {files: system(map[string]string{"usr/local/bin/caddy": ""}), modes: map[string]os.FileMode{"usr/local/bin/caddy": 0o755},
					rights: map[string]string{"usr/local/bin/caddy": rights(0, 1<<10|1<<11|1<<13, 1<<10)}, commands: shipped},
				"a user's containers": {files: system(map[string]string{"home/a/.local/share/containers/x": ""}), modes: map[string]os.FileMode{"home/a/.local/share/containers/x": 0o755},
					rights: map[string]string{"home/a/.local/share/containers/x": rights(1000, 1<<7, 0)}, commands: shipped},
				"a comment": {files: system(map[string]string{"etc/ld.so.preload!": "# none: /usr/lib/libx.so\n"}), commands: shipped}},
			check.Fail: raisers(),
			check.Unknown: {"not root": {uid: 1000, files: system(nil)}, "no dpkg": {files: system(nil)}, "it fails": {files: system(nil), commands: map[string]string{"dpkg-query": "fails"}},
				"a long comment": {files: system(map[string]string{"etc/ld.so.preload!": "#" + strings.Repeat("a", 1<<16) + "\n/usr/lib/libx.so\n"}), commands: shipped}},
		},
		"inside/tracked": {
			check.Pass: {"none": {files: map[string]string{"srv/api/.git/index": index("README.md", "server.js"), "srv/api/.env": "JWT_SECRET=correcthorsebattery"}}},
			check.Fail: {"env": {files: map[string]string{"srv/api/.git/index": index(".env", "server.js"), "srv/api/.env": "JWT_SECRET=correcthorsebattery"}},
				"a second tree": {files: map[string]string{"srv/b/.git": "gitdir: ../../data/trees/b\n", "data/trees/b/index": index(".env"), "srv/b/.env": "JWT_SECRET=correcthorsebattery"}}},
			check.Unknown: {"broken": {files: map[string]string{"srv/api/.git/index": index(".env")[:40]}}, "gone from the folder": {files: map[string]string{"srv/api/.git/index": index(".env")}},
				"bare":        {files: map[string]string{"srv/api.git/HEAD": "ref: refs/heads/main\n", "srv/api.git/objects/info/x": "", "srv/api.git/refs/heads/main": "0123"}},
				"led nowhere": {files: map[string]string{"srv/api/.git": "x\n"}}},
		},
		"inside/environment": {
			check.Pass: {"none": {files: map[string]string{"proc/7/comm": "bash\n", "proc/7/environ": "HOME=/root\x00JWT_SECRET_FILE=/run/secrets/jwt\x00", "proc/8/comm": "node\n", "proc/8/environ": "JWT_SECRET=correcthorsebattery\x00"}}},
			check.Fail: {"exported": {files: map[string]string{"proc/7/comm": "bash\n", "proc/7/environ": "JWT_SECRET=correcthorsebattery\x00"}}, "token": {files: map[string]string{"proc/7/comm": "tmux\n", "proc/7/environ": "X=" + github + "\x00"}}},
			check.Unknown: {"no process": {}, "not root": {uid: 1000, files: map[string]string{"proc/7/comm": "bash\n", "proc/7/environ": "HOME=/root\x00"}},
				"one that cannot be read": {files: map[string]string{"proc/7/comm": "bash\n", "proc/7/environ": "HOME=/root\x00", "proc/8/comm": "bash\n", "proc/8/environ/x": ""}}},
		},
		"inside/history": {
			check.Pass: {"clean": {files: accounts(map[string]string{"root/.bash_history": "ls -la\nmysql -p\nexport PATH=$PATH:/x\ncurl -u user https://x\n"})},
				"one that is kept nowhere": {files: accounts(map[string]string{"root/.bash_history": "ls\n", "home/a/.bash_history": "-> /dev/null"})}},
			check.Fail: {"password": {files: accounts(map[string]string{"home/a/.bash_history": "ls\nmysql -u root -phunter22 app\n"})}, "token": {files: accounts(map[string]string{"root/.zsh_history": "git clone https://" + github + "@github.com/a/b\n"})}, "export": {files: accounts(map[string]string{"root/.bash_history": "export API_KEY=0123456789abcdef\n"})},
				"of a program's account": {files: accounts(map[string]string{"var/lib/postgresql/.psql_history": "ALTER ROLE api PASSWORD='0123456789abcdef';\n"})},
				"long ago":               {files: accounts(map[string]string{"root/.bash_history": "export API_KEY=0123456789abcdef\n" + strings.Repeat("ls -la /srv/api\n", 300_000)})}},
			check.Unknown: {"not root": {uid: 1000, files: accounts(nil)}, "not root, one read": {uid: 1000, files: accounts(map[string]string{"home/a/.bash_history": "ls\n"})}, "no accounts": {files: map[string]string{"root/.bash_history": "ls\n"}},
				"a link": {files: accounts(map[string]string{"home/a/.bash_history": "ls\n", "root/.bash_history": "-> .x", "root/.x": github})}},
		},
		"inside/logged": {
			check.Pass: {"clean": {files: map[string]string{"var/log/nginx/access.log": "192.0.2.1 GET /api/me 200\n", "var/log/api.log": `{"password":"[redacted]","token":"***"}` + "\n", "var/log/README": "-> ../../usr/share/doc/README", "usr/share/doc/README": "read\n"}, commands: journal}},
			check.Fail: {"jwt": {files: map[string]string{"var/log/nginx/access.log": "GET /?token=" + jwt + "\n"}}, "password": {files: map[string]string{"srv/api/out.log": `{"email":"a@example.com","password":"hunter22"}` + "\n"}}, "journal": {commands: map[string]string{"journalctl": "Authorization: Bearer " + strings.Repeat("a1", 20)}},
				"where root's link leads": {files: map[string]string{"var/log/api.log": "-> ../../data/api.log", "data/api.log": "GET /?token=" + jwt + "\n"}, commands: journal}},
			check.Unknown: {"none": {}, "no journal": {files: map[string]string{"var/log/api.log": "GET /\n"}}, "it fails": {files: map[string]string{"var/log/api.log": "GET /\n"}, commands: map[string]string{"journalctl": "fails"}},
				"it says nothing": {files: map[string]string{"var/log/api.log": "GET /\n"}, commands: map[string]string{"journalctl": ""}}, "not root": {uid: 1000, files: map[string]string{"var/log/api.log": "GET /\n"}, commands: journal},
				"another's link": {files: map[string]string{"var/log/api.log": "-> ../../home/a/x", "home/a/x": "y"}, owners: map[string]int{"var/log/api.log": 1000}, commands: journal}},
		},
		"inside/log-rotation": {
			check.Pass: {"timer": {commands: units(logrotate)}, "journal alone": {commands: units(map[string]string{"systemd-journald.service": runs})},
				"cron": {files: map[string]string{"etc/cron.daily/logrotate": "#!/bin/sh\n/usr/sbin/logrotate /etc/logrotate.conf\n", "usr/sbin/logrotate": ""}, modes: map[string]os.FileMode{"etc/cron.daily/logrotate": 0o755}, commands: units(map[string]string{"cron.service": runs})}},
			check.Fail: {"no logrotate": {files: map[string]string{"var/log/nginx/access.log": "x"}, commands: units(map[string]string{"systemd-journald.service": runs})},
				"stopped":              {commands: more(units(timers("logrotate", "ActiveState=inactive", "")), "systemctl show cron.service", runs), files: debianLogrotate, modes: map[string]os.FileMode{"etc/cron.daily/logrotate": 0o755}},
				"off with the restart": {commands: units(timers("logrotate", "UnitFileState=disabled", ""))},
				"its last run":         {commands: units(timers("logrotate", "", "Result=exit-code"))}},
			check.Unknown: {"no systemd": {}, "not root": {uid: 1000, commands: units(logrotate)}, "no journal": {commands: units(nil)}},
		},
		"inside/updates": {
			check.Pass: {"none": {files: map[string]string{"var/lib/apt/lists/x_dists_bookworm-security_InRelease": ""}, commands: map[string]string{"apt list": "Listing...\nzip/stable 3.0-13 amd64 [upgradable from: 3.0-12]\n"}}},
			check.Fail: {"waiting": {commands: map[string]string{"apt list": "Listing...\nopenssl/oldstable-security 3.0.17 amd64 [upgradable from: 3.0.15]\n"}}, "ubuntu": {commands: map[string]string{"apt list": "openssl/jammy-updates,jammy-security 3.0.2 amd64 [upgradable from: 3.0.1]\n"}}},
			check.Unknown: {"no apt": {}, "no lists": {commands: map[string]string{"apt list": "Listing...\n"}},
				"no list of security": {files: map[string]string{"var/lib/apt/lists/x_dists_bookworm_InRelease": ""}, commands: map[string]string{"apt list": "Listing...\n"}},
				"no answer":           {files: map[string]string{"var/lib/apt/lists/x_dists_bookworm-security_InRelease": ""}, commands: map[string]string{"apt list": ""}}},
		},
		"inside/renewal": {
			check.Pass: {"timer": {files: issued(t, 80), commands: units(timers("certbot", "LastTriggerUSec=", ""))}, "cron": {files: more(issued(t, 80), "etc/cron.d/renew", "0 3 * * * root certbot renew\n"), commands: units(map[string]string{"cron.service": runs})},
				"Ringwall": {acme: true, commands: map[string]string{"systemctl is-active ringwall.service": "active\n"}}},
			check.Fail: {"nothing": {files: more(issued(t, 80), "etc/cron.d/certbot", "0 */12 * * * root test -x /usr/bin/certbot -a \\! -d /run/systemd/system && certbot -q renew\n"), commands: units(map[string]string{"cron.service": runs})},
				"it ends":         {files: issued(t, 19), commands: units(timers("certbot", "", ""))},
				"the last run":    {files: issued(t, 80), commands: units(timers("certbot", "", "Result=exit-code"))},
				"stopped":         {files: issued(t, 80), commands: units(timers("certbot", "ActiveState=inactive", ""))},
				"cron is stopped": {files: more(issued(t, 80), "etc/cron.d/renew", "0 3 * * * root certbot renew\n"), commands: units(map[string]string{"cron.service": "LoadState=loaded\nActiveState=inactive\n"})}},
			check.Unknown: {"not root": {uid: 1000}, "no Ringwall": {acme: true, commands: map[string]string{"systemctl is-active ringwall.service": "inactive\n"}},
				"no certificate": {files: map[string]string{"etc/letsencrypt/live/a/fullchain.pem": "x"}, commands: units(timers("certbot", "", ""))},
				"no systemd":     {files: issued(t, 80)}},
		},
		"inside/backups": {
			check.Pass: {"timer": {commands: units(timers("restic-daily", "", ""))}, "cron": {files: map[string]string{"etc/cron.d/db": "PATH=/bin\n0 3 * * * postgres pg_dump api | ssh backup cat\n"}, commands: units(map[string]string{"cron.service": runs})},
				"a user's":         {files: map[string]string{"var/spool/cron/crontabs/root": "@daily cd /srv && sudo -u postgres ./backup.sh >/dev/null 2>&1\n"}, commands: units(map[string]string{"cron.service": runs})},
				"before the start": {commands: more(units(timers("restic-daily", "LastTriggerUSec=", "")), "journalctl --no-pager -q -o json", ended(1, "7ad2d189f7e94e70a38c781354912448"))},
				"by hand":          {commands: units(timers("restic-daily", "LastTriggerUSec=", "ExecMainExitTimestamp=Fri 2026-11-27 01:00:00 UTC"))},
				"a program":        {files: map[string]string{"etc/cron.daily/backup": "#!/bin/sh\n# all\ntar czf /mnt/all.tgz /srv\n"}, modes: map[string]os.FileMode{"etc/cron.daily/backup": 0o755}, commands: units(map[string]string{"cron.service": runs})}},
			check.Fail: {"none": {files: map[string]string{"etc/cron.daily/dpkg": "cp /var/lib/dpkg/status /var/backups\n"}, commands: units(timers("dpkg-db-backup", "", ""))},
				"failed before the start": {commands: more(units(timers("restic-daily", "LastTriggerUSec=", "")), "journalctl --no-pager -q -o json", ended(1, "d9b373ed55a64feb8242e02dbe79a49c"))},
				"stopped":                 {commands: units(timers("restic-daily", "ActiveState=inactive NextElapseUSecRealtime=", ""))},
				"off with the restart":    {commands: units(timers("restic-daily", "UnitFileState=disabled", ""))},
				"its last run":            {commands: units(timers("restic-daily", "", "Result=exit-code"))},
				"one of two":              {files: map[string]string{"etc/cron.d/db": "0 3 * * * postgres pg_dump api | ssh backup cat\n"}, commands: units(timers("restic-daily", "", "Result=timeout"))},
				"no time":                 {commands: units(timers("restic-daily", "NextElapseUSecRealtime=", ""))},
				"old ones go":             {files: map[string]string{"etc/cron.d/clean": "0 3 * * * root rm -rf /var/backups/old\n0 4 * * * root sudo -u root /bin/rm -rf /backup\n0 5 * * * root bash -c 'find /backups -delete'\n0 6 * * * root echo backup is next\n", "etc/crontab": "# backup\n@daily root echo >/var/log/backup.log\n"}, commands: cronOn},
				"only asked":              {files: map[string]string{"etc/cron.d/clean": "0 3 * * * root restic forget --prune --keep-daily 7\n"}, commands: cronOn},
				"not executable":          {files: map[string]string{"etc/cron.daily/backup": "#!/bin/sh\ntar czf /mnt/all.tgz /srv\n"}, commands: cronOn},
				"nothing in it":           {files: map[string]string{"etc/cron.daily/backup": "#!/bin/sh\n# tar czf /mnt/all.tgz /srv\nset -e\nexit 0\n"}, modes: map[string]os.FileMode{"etc/cron.daily/backup": 0o755}, commands: cronOn},
				"a name with a dot":       {files: map[string]string{"etc/cron.d/backup.sh": "0 3 * * * root restic backup /srv\n"}, commands: cronOn},
				"cron is stopped":         {files: map[string]string{"etc/cron.d/db": "0 3 * * * root restic backup /srv\n"}, commands: more(units(timers("x", "", "")), "systemctl show cron.service", "LoadState=loaded\nActiveState=inactive\nUnitFileState=enabled\n")}},
			check.Unknown: {"no systemd": {}, "no timers": {commands: map[string]string{"systemctl list-timers": ""}}, "never run": {commands: units(timers("restic-daily", "LastTriggerUSec=n/a", ""))},
				"never recorded":     {commands: more(units(timers("restic-daily", "LastTriggerUSec=", "")), "journalctl --no-pager -q -o json", "")},
				"two months ago":     {commands: more(units(timers("restic-daily", "LastTriggerUSec=", "")), "journalctl --no-pager -q -o json", ended(60*24, "7ad2d189f7e94e70a38c781354912448"))},
				"a record of others": {commands: more(units(timers("restic-daily", "LastTriggerUSec=", "")), "journalctl --no-pager -q -o json", ended(1, "39f53479d3a045ac8e11786248231fbf"))},
				"half a record":      {commands: more(units(timers("restic-daily", "LastTriggerUSec=", "")), "journalctl --no-pager -q -o json", `{"MESSAGE_ID":"7ad2d189f7e94e70a38c781354912448"`)},
				"not root":           {uid: 1000, commands: units(timers("x", "", ""))}, "cron, not seen": {files: map[string]string{"etc/cron.d/db": "0 3 * * * root restic backup /srv\n"}}},
		},
	} {
		for want, machines := range cases {
			for name, f := range machines {
				t.Run(id+"/"+want.String()+"/"+name, func(t *testing.T) {
					for _, c := range inside.Checks(f.machine(t)) {
						if c.ID != id {
							continue
						}
						got := c.Verify(t.Context())
						if got.Verdict != want || got.Moot || got.Got == "" || want == check.Fail && (got.Want == "" || got.Fix == "") {
							t.Errorf("%+v", got)
						}
						// What could be looked at is named; a log or a secret is not shown.
						if want != check.Unknown && len(got.Evidence) == 0 {
							t.Error("there is no evidence")
						}
						for _, secret := range []string{github, jwt, "hunter22", "correcthorse", "0123456789abcdef", "a1a1a1"} {
							if strings.Contains(got.Got+got.Fix+fmt.Sprint(got.Evidence), secret) {
								t.Errorf("the report has the secret: %s", got.Got)
							}
						}
					}
				})
			}
		}
	}
	// Of what is not there nothing is said.
	for id, f := range map[string]fake{
		"inside/history": {files: accounts(map[string]string{"home/a/.bash_history": "-> /dev/null"})},
		"inside/renewal": {commands: units(timers("certbot", "", ""))},
	} {
		for _, c := range inside.Checks(f.machine(t)) {
			if c.ID == id {
				if f := c.Verify(t.Context()); f.Verdict != check.Unknown || !f.Moot || f.Got == "" {
					t.Errorf("%s: %+v", id, f)
				}
			}
		}
	}
	// Cut short, a walk through files has seen nothing.
	over, end := context.WithCancel(t.Context())
	end()
	for _, c := range inside.Checks(fake{files: map[string]string{"srv/api/.env": "JWT_SECRET=correcthorsebattery\n"}}.machine(t)) {
		if c.ID == "inside/key-files" || c.ID == "inside/tracked" || c.ID == "inside/root-files" {
			if f := c.Verify(over); f.Verdict != check.Unknown || f.Moot {
				t.Errorf("%s: %+v", c.ID, f)
			}
		}
	}
	// However much there is in a user's folder, what was found before is judged.
	many := map[string]string{}
	for i := range 1001 {
		many[fmt.Sprintf("home/a/%d", i)] = ""
	}
	for want, files := range map[check.Verdict]map[string]string{check.Unknown: nil, check.Fail: {"usr/local/bin/.x#": "", "srv/.x#": ""}} {
		all := maps.Clone(many)
		maps.Copy(all, files)
		for _, c := range inside.Checks(fake{files: system(all), commands: map[string]string{"dpkg-query -S": "util-linux: /bin/su\n"}}.machine(t)) {
			if c.ID == "inside/privileged" {
				if f := c.Verify(over); f.Verdict != want {
					t.Errorf("%d files, cut short: %+v", len(all), f)
				}
			}
		}
	}
	// Of a large disk as much is seen as a while allows: enough in any case.
	for files, want := range map[int]check.Verdict{2000: check.Pass, 100: check.Unknown} {
		done := inside.Hurry(files, 0)
		for _, c := range inside.Checks(fake{files: system(many), commands: map[string]string{"dpkg-query -S": "util-linux: /bin/su\n"}}.machine(t)) {
			if c.ID == "inside/privileged" {
				if f := c.Verify(t.Context()); f.Verdict != want {
					t.Errorf("in no time, and %d files in any case: %+v", files, f)
				}
			}
		}
		done()
	}
	files, while := inside.Bounds()
	docs, err := os.ReadFile("../../docs/check.md")
	if says := fmt.Sprintf("looks at %d,%03d files however long it takes, and at what more there are until %.0f seconds are over", files/1000, files%1000, while.Seconds()); err != nil || !strings.Contains(string(docs), says) {
		t.Errorf("docs/check.md does not say: it %s; %v", says, err)
	}
	// What hides behind a path that is longer than the kernel takes at once is not seen.
	m := fake{files: system(nil), commands: map[string]string{"dpkg-query -S": "util-linux: /bin/su\n"}}.machine(t)
	fd, err := unix.Open(m.Root, unix.O_DIRECTORY, 0)
	for range 20 {
		long := strings.Repeat("a", 250)
		if err := errors.Join(err, unix.Mkdirat(fd, long, 0o755)); err != nil {
			t.Fatal(err)
		}
		next, nerr := unix.Openat(fd, long, unix.O_DIRECTORY, 0)
		unix.Close(fd)
		fd, err = next, nerr
	}
	unix.Close(fd)
	for _, c := range inside.Checks(m) {
		if c.ID == "inside/privileged" {
			if f := c.Verify(t.Context()); f.Verdict != check.Unknown {
				t.Errorf("behind a long path: %+v", f)
			}
		}
	}
	// Another owner takes the bit of a program that runs as its owner: no advice.
	for name, chown := range map[string]bool{"usr/bin/su": false, "usr/local/bin/deploy": true} {
		t.Run("advice for "+name, func(t *testing.T) {
			f := fake{files: system(nil), owners: map[string]int{name: 1000}}
			if !chown {
				f.modes = map[string]os.FileMode{name: os.ModeSetuid | 0o755}
			}
			for _, c := range inside.Checks(f.machine(t)) {
				if c.ID == "inside/root-files" {
					if f := c.Verify(t.Context()); f.Verdict != check.Fail || strings.Contains(f.Fix, "chown root:root") != chown || strings.Contains(f.Fix, "package anew") == chown {
						t.Errorf("%+v", f)
					}
				}
			}
		})
	}
	for _, c := range inside.Checks(&inside.Machine{}) {
		if c.Ring() != "host" || len(c.References().Blueprint) == 0 || !strings.HasSuffix(c.Why, ".") {
			t.Errorf("%s is not described", c.ID)
		}
	}
}

// TestWithoutSystemd: what systemctl says at length is one sentence, and stands in
// full in the evidence.
func TestWithoutSystemd(t *testing.T) {
	m := fake{}.machine(t)
	m.Run = func(_ context.Context, argv ...string) (string, error) {
		return "", errors.New("exit status 1: System has not been booted with systemd as init system (PID 1). Can't operate.")
	}
	for _, c := range inside.Checks(m) {
		if c.ID != "inside/backups" && c.ID != "inside/log-rotation" {
			continue
		}
		if f := c.Verify(t.Context()); strings.Contains(f.Got, "exit status") || !strings.Contains(f.Got, "systemd does not run here") || !strings.Contains(fmt.Sprint(f.Evidence), "not been booted") {
			t.Errorf("%s: %+v", c.ID, f)
		}
	}
}

// TestSaysWhy: what is said of a fault is so.
func TestSaysWhy(t *testing.T) {
	for id, tt := range map[string]struct {
		of  fake
		got string
	}{
		"inside/backups": {fake{commands: units(timers("restic-daily", "LastTriggerUSec=", ""))}, "restic-daily.timer has not run since the machine started, and the journal has no run of the last month: "},
		"inside/renewal": {fake{files: issued(t, -12), commands: units(timers("certbot", "", ""))}, "/etc/letsencrypt/live/a/fullchain.pem ended 12 days ago, and was not renewed"},
	} {
		for _, c := range inside.Checks(tt.of.machine(t)) {
			if c.ID == id {
				if f := c.Verify(t.Context()); !strings.Contains(f.Got, tt.got) {
					t.Errorf("%s: %s", id, f.Got)
				}
			}
		}
	}
}

// TestHalfAnAnswer: a command that prints more than is kept has not been seen.
func TestHalfAnAnswer(t *testing.T) {
	here := inside.Here()
	if text, err := here.Run(t.Context(), "head", "-c", "1000", "/dev/zero"); err != nil || len(text) != 1000 {
		t.Errorf("%d bytes, %v", len(text), err)
	}
	if _, err := here.Run(t.Context(), "head", "-c", "20000000", "/dev/zero"); err == nil {
		t.Error("20 MB were read")
	}
}

// TestGitsOwnIndex: what git itself writes is read, in each version.
func TestGitsOwnIndex(t *testing.T) {
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip("git is not installed")
	}
	for _, version := range []string{"2", "3", "4"} {
		root := t.TempDir()
		repo := filepath.Join(root, "srv", "api")
		for _, name := range []string{"a/long/name/of/a/file.js", "a/long/name/of/another.js", ".env", "z.js"} {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(repo, name)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(repo, name), []byte("JWT_SECRET=correcthorsebattery\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, argv := range [][]string{{"init", "-q"}, {"-c", "index.version=" + version, "add", "-A"}, {"update-index", "--index-version", version}} {
			cmd := exec.Command(git, argv...)
			cmd.Dir = repo
			cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("git %v: %v\n%s", argv, err, out)
			}
		}
		for _, c := range inside.Checks(&inside.Machine{Root: root}) {
			if c.ID == "inside/tracked" {
				if f := c.Verify(t.Context()); f.Verdict != check.Fail || f.Got != "/srv/api/.env" {
					t.Errorf("version %s: %+v", version, f)
				}
			}
		}
	}
}
