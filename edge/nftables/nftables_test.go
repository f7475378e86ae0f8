package nftables_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/edge/nftables"
)

// kernel is a network namespace of its own, with a Holder in it.
type kernel struct {
	t      *testing.T
	name   string
	socket string
}

func newKernel(t *testing.T, allow ...netip.Prefix) *kernel {
	t.Helper()
	if testing.Short() {
		t.Skip("changes the kernel's rules, in a namespace")
	}
	why := ""
	if os.Geteuid() != 0 {
		why = "only root can make a network namespace"
	}
	for _, name := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(name); err != nil {
			why = err.Error()
		}
	}
	if why != "" && os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	if why != "" {
		t.Skip(why)
	}
	k := &kernel{t, fmt.Sprintf("rwnft%d", os.Getpid()), filepath.Join(t.TempDir(), "bans.sock")}
	if out, err := exec.Command("ip", "netns", "add", k.name).CombinedOutput(); err != nil {
		t.Fatalf("ip netns add: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", k.name).Run() })
	k.hold(allow)
	return k
}

// hold runs a Holder until the test ends.
func (k *kernel) hold(allow []netip.Prefix) (stop func()) {
	k.t.Helper()
	l, err := net.Listen("unix", k.socket)
	if err != nil {
		k.t.Fatal(err)
	}
	h := &nftables.Holder{Allow: allow, Nft: func(ctx context.Context, script string) error {
		out, err := k.nft(ctx, script)
		if err != nil {
			return errors.New(out)
		}
		return nil
	}}
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- h.Serve(ctx, l, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-done:
		k.t.Fatal(err)
	}
	stop = func() {
		if cancel(); done != nil {
			if err := <-done; err != nil {
				k.t.Error(err)
			}
			done = nil
		}
	}
	k.t.Cleanup(stop)
	return stop
}

func (k *kernel) nft(ctx context.Context, script string) (string, error) {
	cmd := exec.CommandContext(ctx, "ip", "netns", "exec", k.name, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(script)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (k *kernel) listing() string {
	k.t.Helper()
	out, _ := k.nft(context.Background(), "list ruleset")
	return out
}

// has looks for words in the listing, in the order of the words.
func (k *kernel) has(what string, words ...string) {
	k.t.Helper()
	text := k.listing()
	rest := text
	for _, w := range words {
		_, after, ok := strings.Cut(rest, w)
		if !ok {
			k.t.Errorf("%s: %q is missing in\n%s", what, w, text)
			return
		}
		rest = after
	}
}

func ban(p string, length time.Duration) edge.Ban {
	return edge.Ban{Prefix: netip.MustParsePrefix(p), Until: time.Now().Add(length)}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestBansAreInTheKernel(t *testing.T) {
	k := newKernel(t, netip.MustParsePrefix("203.0.113.7/32"))
	b := nftables.NewBanner(k.socket)
	if err := b.Ban(ban("192.0.2.1/32", time.Hour)); err == nil {
		t.Error("one ban was taken of who has told nothing else")
	}
	must(t, b.Replace([]edge.Ban{ban("192.0.2.1/32", time.Hour), ban("192.0.2.0/24", time.Minute), ban("2001:db8:1::/64", 10*time.Minute)},
		[]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("2001:db8::/48")}))
	k.has("the frame", "spared4", "10.0.0.0/8, 203.0.113.7", "2001:db8::/48", "hook prerouting", `iifname "lo" accept`, "ct state established,related accept", "@spared4 accept")
	k.has("an address", "banned4_32", "192.0.2.1 timeout 1h")
	k.has("within a prefix", "banned4_24", "192.0.2.0 timeout 1m", "ip saddr & 255.255.255.0", "@banned4_24 counter packets 0 bytes 0 drop")
	k.has("an IPv6 /64", "banned6_64", "2001:db8:1:: timeout 10m", "ip6 saddr & ffff:ffff:ffff:ffff::", "@banned6_64 counter")

	must(t, b.Ban(ban("192.0.2.1/32", 2*time.Hour)))
	k.has("a longer one", "192.0.2.1 timeout 2h")
	must(t, b.Ban(ban("192.0.2.1/32", time.Minute)))
	k.has("a shorter one", "192.0.2.1 timeout 1m")
	must(t, b.Ban(ban("198.51.0.0/16", time.Minute)))
	k.has("a new length", "@banned4_16")
	must(t, b.Unban(netip.MustParsePrefix("192.0.2.1/32")))
	must(t, b.Unban(netip.MustParsePrefix("192.0.2.77/32"))) // who is not banned
	must(t, b.Unban(netip.MustParsePrefix("2001:db8:9000::/40")))
	if text := k.listing(); strings.Contains(text, "192.0.2.1 ") || strings.Contains(text, "192.0.2.77") || !strings.Contains(text, "192.0.2.0 ") {
		t.Errorf("unbanned:\n%s", text)
	}

	// Somebody removes all rules of the machine.
	must(t, b.Check())
	if out, err := k.nft(t.Context(), "flush ruleset"); err != nil {
		t.Fatal(out)
	}
	if err := b.Check(); err == nil {
		t.Error("the table is gone, and nobody says so")
	}
	must(t, b.Replace([]edge.Ban{ban("192.0.2.5/32", time.Hour)}, nil))
	k.has("again", "192.0.2.5 timeout 1h")
}

func TestTableGoesWithItsHolder(t *testing.T) {
	k := newKernel(t)
	b := nftables.NewBanner(k.socket)
	must(t, b.Replace([]edge.Ban{ban("192.0.2.5/32", time.Hour)}, nil))
	other := filepath.Join(t.TempDir(), "other.sock")
	k.socket = other
	stop := k.hold(nil) // the one that follows has its own table
	if strings.Contains(k.listing(), "192.0.2.5") {
		t.Error("what another process was told is still there")
	}
	stop()
	if text := k.listing(); strings.Contains(text, "ringwall") {
		t.Errorf("left behind:\n%s", text)
	}
}

// A table that stays shuts out people with nobody left to let them in: that is
// an error, which names the command.
func TestTableThatStays(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "bans.sock"))
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	h := &nftables.Holder{Nft: func(context.Context, string) error {
		if calls++; calls > 1 { // the first makes it
			return errors.New("netlink: Operation not permitted")
		}
		return nil
	}}
	err = h.Serve(ctx, l, cancel)
	if err == nil || !strings.Contains(err.Error(), "nft delete table inet ringwall") || !strings.Contains(err.Error(), "not permitted") {
		t.Errorf("got %v", err)
	}
}

// TestManyBans is the largest list that the edge keeps.
func TestManyBans(t *testing.T) {
	k := newKernel(t)
	b := nftables.NewBanner(k.socket)
	bans := make([]edge.Ban, 100_000)
	for i := range bans {
		bans[i] = edge.Ban{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{100, byte(i >> 16), byte(i >> 8), byte(i)}), 32), Until: time.Now().Add(time.Hour)}
	}
	began := time.Now()
	must(t, b.Replace(bans, nil))
	t.Logf("100,000 bans in %v", time.Since(began))
	began = time.Now()
	must(t, b.Ban(ban("192.0.2.1/32", time.Hour)))
	t.Logf("one more in %v", time.Since(began))
	if n := strings.Count(k.listing(), "expires"); n != 100_001 {
		t.Errorf("%d bans are held", n)
	}
}

// TestOrdersOfStrangers: what comes over the socket is addresses and seconds,
// or nothing at all. A server that was taken over cannot have the kernel run
// anything, shut out everybody, or fill its memory.
func TestOrdersOfStrangers(t *testing.T) {
	k := newKernel(t)
	before := k.listing()
	for _, text := range []string{
		"replace\nban 192.0.2.1/32 600 }; flush ruleset; #\nend\n",
		"replace\nban 192.0.2.1/32 600\rban 192.0.2.2/32 600\nend\n",
		"replace\nban 192.0.2.1/32;flush 600\nend\n",
		"replace\nspare 0.0.0.0/0 } ; delete table inet ringwall\nend\n",
		"replace\nspare ::ffff:192.0.2.0/120\nend\n",
		"replace\nban 0.0.0.0/0 600\nend\n",
		"replace\nban 0.0.0.0/7 600\nend\n",
		"replace\nban ::/8 600\nend\n",
		"replace\nban 2001:db8::1/128 600\nend\n",
		"replace\nban 192.0.2.1/24 600\nend\n",
		"replace\nban 192.0.2.1 600\nend\n",
		"replace\nban 192.0.2.1/32 0\nend\n",
		"replace\nban 192.0.2.1/32 -5\nend\n",
		"replace\nban 192.0.2.1/32 99999999999\nend\n",
		"replace\nban 192.0.2.1/32  600\nend\n",
		"replace\nban fe80::1%eth0/64 600\nend\n",
		"replace\n" + strings.Repeat("x", 200) + "\nend\n",
		"ban 192.0.2.1/32 600\n",
		"list ruleset\n",
		strings.Repeat("A", 1<<20),
		"\x00\xff\n",
	} {
		c, err := net.Dial("unix", k.socket)
		must(t, err)
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		_, _ = c.Write([]byte(text))
		_ = c.(*net.UnixConn).CloseWrite()
		if answer, err := bufio.NewReader(c).ReadString('\n'); err == nil && !strings.HasPrefix(answer, "no ") {
			t.Errorf("%.60q: %q", text, answer)
		}
		c.Close()
	}
	if after := k.listing(); after != before {
		t.Errorf("the rules are\n%s\nand were\n%s", after, before)
	}
	// Half a list is none.
	c, err := net.Dial("unix", k.socket)
	must(t, err)
	_, _ = c.Write([]byte("replace\nban 192.0.2.1/32 600\n"))
	c.Close()
	b := nftables.NewBanner(k.socket)
	must(t, b.Replace(nil, nil))
	if strings.Contains(k.listing(), "192.0.2.1") {
		t.Error("half a list was taken")
	}
}

func TestNobodyListens(t *testing.T) {
	b := nftables.NewBanner(filepath.Join(t.TempDir(), "none.sock"))
	if err := b.Replace(nil, nil); err == nil || !strings.Contains(err.Error(), "none.sock") {
		t.Errorf("got %v", err)
	}
	if b.Check() == nil || b.Ban(ban("192.0.2.1/32", time.Hour)) == nil {
		t.Error("nobody was told, and that is no error")
	}
}

// Who is told to end while the table is being made ends well, and leaves none.
func TestEndsWhileItBegins(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var scripts []string
	h := &nftables.Holder{Nft: func(ctx context.Context, script string) error {
		scripts = append(scripts, script)
		cancel()
		return ctx.Err()
	}}
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Serve(ctx, l, func() { t.Error("it was said to be ready") }); err != nil {
		t.Error(err)
	}
	if last := scripts[len(scripts)-1]; len(scripts) != 2 || !strings.HasSuffix(last, "delete table inet ringwall\n") {
		t.Errorf("%d scripts, the last is %q", len(scripts), last)
	}
}
