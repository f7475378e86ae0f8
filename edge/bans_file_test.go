package edge_test

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/internal/state"
)

// A clock that is set back makes no ban longer than it was, also over a restart.
func TestTrapClockSetBack(t *testing.T) {
	dir := banDir(t)
	r := newBanRig(t, banPolicy(), edge.BansConfig{Dir: dir})
	r.did("192.0.2.1", audit.ScannerRefused, "", 5)
	if err := r.Save(); err != nil {
		t.Fatal(err)
	}
	for _, back := range []time.Duration{0, 5 * time.Minute, -time.Hour, -24 * 365 * time.Hour} {
		again := &banRig{clock: &banClock{t: banDay.Add(back)}}
		again.Bans = edge.NewBans(edge.BansConfig{Dir: dir, Now: again.clock.now})
		again.Follow(banPolicy())
		if err := again.Load(); err != nil {
			t.Fatal(err)
		}
		want := 10*time.Minute - max(back, 0)
		if l := again.List(); len(l) != 1 || l[0].Until.Sub(again.clock.now()) != want {
			t.Errorf("clock moved by %v: %+v, want one for %v", back, l, want)
		}
	}
	r.clock.move(-time.Hour) // of points too
	r.did("192.0.2.2", audit.ScannerRefused, "", 5)
	if !r.out("192.0.2.2") {
		t.Error("nobody is banned any more")
	}
}

func banDir(t testing.TB) state.Dir {
	t.Helper()
	dir, err := state.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestBansAreKept(t *testing.T) {
	dir := banDir(t)
	r := newBanRig(t, banPolicy(), edge.BansConfig{Dir: dir})
	r.did("192.0.2.1", audit.ScannerRefused, "", 5)
	r.did("2001:db8::1", audit.TokenForged, "app/authentication", 10)
	if _, err := r.Add(netip.MustParsePrefix("198.51.100.0/24"), time.Hour, "spam", "ops"); err != nil {
		t.Fatal(err)
	}
	if err := r.Save(); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(dir.Path("bans.json")); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("bans.json: %v, %v; want mode 0600", fi, err)
	}
	before, _ := json.Marshal(r.List())
	r.clock.move(time.Minute)
	again := newBanRig(t, banPolicy(), edge.BansConfig{Dir: dir, Now: r.clock.now})
	if err := again.Load(); err != nil {
		t.Fatal(err)
	}
	if after, _ := json.Marshal(again.List()); string(after) != string(before) {
		t.Errorf("after a restart\n%s\nwant\n%s", after, before)
	}
	if !again.out("192.0.2.1") || !again.out("2001:db8::9") || !again.out("198.51.100.4") || again.out("198.51.101.4") {
		t.Error("they do not hold")
	}
	// Repeats are remembered too: the next is longer.
	r.clock.move(15 * time.Minute)
	again.End()
	if err := again.Save(); err != nil {
		t.Fatal(err)
	}
	third := newBanRig(t, banPolicy(), edge.BansConfig{Dir: dir, Now: r.clock.now})
	if err := third.Load(); err != nil {
		t.Fatal(err)
	}
	third.clock = r.clock
	third.did("192.0.2.1", audit.ScannerRefused, "", 5)
	i := slices.IndexFunc(third.List(), func(b edge.Ban) bool { return b.Prefix.Addr().String() == "192.0.2.1" })
	if i < 0 || third.List()[i].Times != 2 || third.List()[i].Until.Sub(r.clock.now()) != 20*time.Minute {
		t.Errorf("the second ban: %+v", third.List())
	}
}

func TestTrapCorruptBansAreSetAside(t *testing.T) {
	good := `{"ringwall_bans":1}` + "\n" +
		`{"address":"192.0.2.1/32","began":"2026-07-30T12:00:00Z","until":"2026-07-30T13:00:00Z","reason":"x","times":1}` + "\n"
	ban := strings.SplitAfter(good, "\n")[1]
	for name, text := range map[string]string{
		"empty": "", "no list": "hello\n", "JSON of another": "{}\n", "newer": strings.Replace(good, ":1}", ":2}", 1),
		"cut": good[:len(good)-20], "no end": strings.TrimSuffix(good, "\n"), "binary": "\x00\xff\n",
		"everybody": strings.Replace(good, "192.0.2.1/32", "0.0.0.0/0", 1), "no address": strings.Replace(good, "192.0.2.1/32", "", 1),
		"bits outside": strings.Replace(good, "192.0.2.1/32", "192.0.2.1/24", 1),
		"eternal":      strings.Replace(good, "2026-07-30T13", "3026-07-30T13", 1),
		"backward":     strings.Replace(good, "2026-07-30T13", "2025-07-30T13", 1), "never": strings.Replace(good, `"times":1`, `"times":0`, 1),
		"too many": `{"ringwall_bans":1}` + "\n" + strings.Repeat(ban, 100_001),
	} {
		dir := banDir(t)
		if err := os.WriteFile(dir.Path("bans.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r := newBanRig(t, banPolicy(), edge.BansConfig{Dir: dir})
		if err := r.Load(); err != nil {
			t.Errorf("%s: the server does not start: %v", name, err)
		}
		kept, _ := os.ReadFile(dir.Path("bans.json.bad"))
		if len(r.List()) != 0 || string(kept) != text || len(r.events.of(audit.BanFailed)) != 1 {
			t.Errorf("%s: %d bans, %d events, %d bytes kept of %d", name, len(r.List()), len(r.events.all), len(kept), len(text))
		}
		r.did("192.0.2.7", audit.ScannerRefused, "", 5)
		if err := r.Save(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	dir := banDir(t)
	_ = os.WriteFile(dir.Path("bans.json"), []byte(good), 0o600)
	if r := newBanRig(t, banPolicy(), edge.BansConfig{Dir: dir}); r.Load() != nil || len(r.List()) != 1 {
		t.Error("the good one is not read")
	}
}

// A folder that takes nothing is told once, and everything holds all the same.
func TestBansThatCannotBeKept(t *testing.T) {
	dir := banDir(t)
	r := newBanRig(t, banPolicy(), edge.BansConfig{Dir: dir})
	if err := os.Mkdir(filepath.Join(string(dir), "bans.json"), 0o700); err != nil {
		t.Fatal(err)
	}
	r.did("192.0.2.1", audit.ScannerRefused, "", 5)
	if first, second := r.Save(), r.Save(); first == nil || second == nil || len(r.events.of(audit.BanFailed)) != 1 || !r.out("192.0.2.1") {
		t.Errorf("events %+v", r.events.all)
	}
	if err := os.Remove(filepath.Join(string(dir), "bans.json")); err != nil {
		t.Fatal(err)
	}
	if err := r.Save(); err != nil {
		t.Errorf("once there is room: %v", err)
	}
	if fi, err := os.Stat(dir.Path("bans.json")); err != nil || fi.Size() == 0 {
		t.Error("nothing was written")
	}
}

func FuzzReadBans(f *testing.F) {
	f.Add([]byte(`{"ringwall_bans":1}` + "\n" + `{"address":"192.0.2.1/32","began":"2026-07-30T12:00:00Z","until":"2026-07-30T13:00:00Z","times":1}` + "\n"))
	f.Add([]byte(`{"ringwall_bans":1}` + "\n" + `{"address":"::ffff:1.2.3.4/128","began":"2026-07-30T12:00:00Z","until":"2026-07-30T13:00:00Z","times":1}` + "\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		bans, err := edge.ReadBans(bytes.NewReader(text))
		if err != nil && bans != nil {
			t.Error("a part was read")
		}
		for _, b := range bans {
			d := b.Until.Sub(b.Began)
			if d <= 0 || d > edge.LongestBan || b.Prefix != b.Prefix.Masked() || b.Prefix.Addr().Is4In6() ||
				b.Prefix.Addr().Is4() && b.Prefix.Bits() < 8 || b.Prefix.Addr().Is6() && (b.Prefix.Bits() < 32 || b.Prefix.Bits() > 64) {
				t.Errorf("%+v", b)
			}
		}
	})
}
