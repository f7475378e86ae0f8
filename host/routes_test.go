package host_test

import (
	"slices"
	"testing"

	"github.com/ringwall/ringwall/host"
)

// TestUplinks: whatever table a way out is in, as ip lists it, and by whatever name.
func TestUplinks(t *testing.T) {
	const four, six = "ip -j -4 route show table all", "ip -j -6 route show table all"
	for _, tt := range []struct {
		name, command, said string
		want                []string // nil: it is not seen
	}{
		{"one", four, routes, []string{"eth0"}},
		{"none", four, "[]", []string{}},
		{"by a rule", four, `[{"dst":"default","gateway":"203.0.113.1","dev":"eth1","table":"100","flags":[]},{"dst":"default","gateway":"198.51.100.1","dev":"eth0","flags":[]}]`, []string{"eth1", "eth0"}},
		{"several at once", four, `[{"dst":"default","table":"9","flags":[],"nexthops":[{"gateway":"198.51.100.1","dev":"eth0","weight":1,"flags":[]},{"gateway":"203.0.113.1","dev":"eth1","weight":2,"flags":[]}]}]`, []string{"eth0", "eth1"}},
		{"an object of its own", four, `[{"dst":"default","nhid":5,"gateway":"203.0.113.1","dev":"eth1","table":"12","flags":[]}]`, []string{"eth1"}},
		{"two halves of all, by a tunnel", four, `[{"dst":"0.0.0.0/1","gateway":"10.8.0.1","dev":"tun0","flags":[]},{"dst":"128.0.0.0/1","gateway":"10.8.0.1","dev":"tun0","flags":[]}]`, []string{"tun0"}},
		{"a large private network", four, `[{"dst":"10.0.0.0/8","gateway":"10.8.0.1","dev":"tun0","flags":[]},{"dst":"10.1.0.0","dev":"tun0"}]`, []string{}},
		{"nowhere", four, `[{"type":"unreachable","dst":"default","table":"7","flags":[]},{"type":"blackhole","dst":"default","dev":"eth2"},{"type":"local","dst":"default","dev":"lo","table":"100"}]`, []string{}},
		{"over IPv6", six, `[{"dst":"default","gateway":"2001:db8::1","dev":"eth1","table":"100","metric":1024},{"dst":"2000::/3","dev":"he0"},{"dst":"fe80::/64","dev":"eth2"},{"type":"multicast","dst":"ff00::/8","dev":"eth3","table":"local"},{"type":"unreachable","dst":"default","dev":"lo"}]`, []string{"eth1", "he0"}},
		{"no list", four, "", nil},
		{"not asked", four + "x", "", nil},
	} {
		f := host.NewFacts(texts{files: map[string]host.FileState{"/proc/net/if_inet6": file("1")}, said: map[string]string{tt.command: tt.said}})
		ask := f.Uplinks
		if tt.command == six {
			ask = f.Uplinks6
		}
		if got, err := ask(); (err != nil) != (tt.want == nil) || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, %v; want %q", tt.name, got, err, tt.want)
		}
	}
	if got, err := host.NewFacts(texts{}).Uplinks6(); err != nil || len(got) > 0 {
		t.Errorf("without IPv6: %q, %v", got, err)
	}
}
