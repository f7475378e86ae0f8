package edge_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/edge"
)

func TestReprieve(t *testing.T) {
	r := newBanRig(t, banPolicy(), edge.BansConfig{})
	one, six := netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("2001:db8::1/128")
	r.did("192.0.2.1", audit.ScannerRefused, "edge/scanners", 5)
	r.did("2001:db8::1", audit.ScannerRefused, "edge/scanners", 4)
	if !r.out("192.0.2.1") {
		t.Fatal("it is not banned")
	}
	for _, p := range []netip.Prefix{one, six} {
		if _, err := r.Spare(p, 10*time.Minute, "ops"); err != nil {
			t.Fatal(err)
		}
	}
	if r.out("192.0.2.1") {
		t.Error("the ban is still there")
	}
	r.did("192.0.2.1", audit.ScannerRefused, "edge/scanners", 50)
	r.did("2001:db8::99", audit.ScannerRefused, "edge/scanners", 50) // of the same /64
	if r.out("192.0.2.1") || r.out("2001:db8::1") {
		t.Error("it is banned while it is spared")
	}
	if got := r.Reprieves(); len(got) != 2 || got[0].By != "ops" {
		t.Errorf("%+v", got)
	}
	if s := r.Why(one.Addr()); s.Reprieve == nil || s.Banned || s.Points != 0 {
		t.Errorf("%+v", s)
	}
	r.did("192.0.2.2", audit.ScannerRefused, "edge/scanners", 5)
	if !r.out("192.0.2.2") {
		t.Error("its neighbour is spared as well")
	}
	r.clock.move(10 * time.Minute)
	r.did("192.0.2.1", audit.ScannerRefused, "edge/scanners", 5)
	if !r.out("192.0.2.1") || len(r.Reprieves()) != 0 {
		t.Error("a reprieve does not end")
	}

	// A ban around it holds for the others alone; one by hand ends it.
	if _, err := r.Add(netip.MustParsePrefix("198.51.100.0/24"), time.Hour, "", "ops"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Spare(netip.MustParsePrefix("198.51.100.7/32"), time.Minute, "ops"); err != nil {
		t.Fatal(err)
	}
	if r.out("198.51.100.7") || !r.out("198.51.100.8") {
		t.Error("the wider ban holds for it, or not for its neighbour")
	}
	if _, err := r.Add(netip.MustParsePrefix("198.51.100.0/24"), time.Hour, "", "ops"); err != nil || !r.out("198.51.100.7") {
		t.Errorf("a ban by hand does not hold: %v", err)
	}

	for want, p := range map[string]string{"too wide": "192.0.0.0/23", "is too wide: the widest is a /48": "2001:db8::/47"} {
		if _, err := r.Spare(netip.MustParsePrefix(p), time.Minute, "ops"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", p, err)
		}
	}
	for _, d := range []time.Duration{0, 25 * time.Hour} {
		if _, err := r.Spare(one, d, "ops"); err == nil || !strings.Contains(err.Error(), "24 hours") {
			t.Errorf("%v: %v", d, err)
		}
	}
	for i := range 64 {
		if _, err := r.Spare(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 32), time.Minute, "ops"); err != nil {
			t.Fatal(i, err)
		}
	}
	if _, err := r.Spare(one, time.Minute, "ops"); err == nil {
		t.Error("there is no end to them")
	}
}
