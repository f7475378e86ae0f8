package edge_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/edge"
)

type certificateEvents []audit.Event

func (e *certificateEvents) Record(ev audit.Event) { *e = append(*e, ev) }

// take is what was raised since the last take, as "kind".
func (e *certificateEvents) take() string {
	var kinds []string
	for _, ev := range *e {
		kinds = append(kinds, string(ev.Kind))
	}
	*e = nil
	return strings.Join(kinds, " ")
}

// TestTrapHalfWrittenCertificate: whatever is in the files, the last good pair
// is served, and each thing that is wrong is told once.
func TestTrapHalfWrittenCertificate(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	cert, key := writePair(t, dir, now.Add(-time.Hour), now.Add(60*day), "api.example.com")
	var events certificateEvents
	st := &edge.State{Audit: &events}
	f, err := edge.OpenCertificate(cert, key, "api.example.com", st)
	if err != nil {
		t.Fatal(err)
	}
	serial := func() string {
		c, _ := f.GetCertificate(nil)
		return c.Leaf.SerialNumber.String()
	}
	first := serial()
	step := func(what, same, want string) {
		t.Helper()
		f.Refresh()
		if got := events.take(); got != want {
			t.Errorf("%s: events %q, want %q", what, got, want)
		}
		if (serial() == same) != (same != "") {
			t.Errorf("%s: certificate %s is served", what, serial())
		}
	}
	f.Announce(nil)
	step("at the start", first, "certificate.loaded")
	step("nothing new", first, "")

	otherDir := t.TempDir()
	newCert, newKey := writePair(t, otherDir, now.Add(-time.Hour), now.Add(70*day), "api.example.com")
	move := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	move(newCert, cert)
	step("certificate without its key", first, "") // it may be on its way
	step("and still", first, "certificate.kept")
	step("and still", first, "")
	move(newKey, key)
	step("the key is there", "", "certificate.loaded")
	second := serial()

	whole, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, cert, whole[:len(whole)/2], 0o644)
	step("half a certificate", second, "")
	writeFile(t, cert, whole, 0o644)
	step("the whole", second, "")
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	step("key that all can read", second, "")
	step("and still", second, "certificate.kept")
	if err := os.Chmod(key, 0o600); err != nil {
		t.Fatal(err)
	}
	step("put right", second, "")
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	step("no key", second, "")
	step("and still", second, "certificate.kept")
	cert, key = writePair(t, dir, now.Add(-time.Hour), now.Add(60*day), "www.example.com")
	step("another site's", second, "")
	step("and still", second, "certificate.kept")

	again, err := edge.OpenCertificate(cert, key, "www.example.com", st)
	if err != nil {
		t.Fatal(err)
	}
	again.Announce(again)
	if got := events.take(); got != "" {
		t.Errorf("the same certificate over again: %q", got)
	}
	again.Announce(f)
	if got := events.take(); got != "certificate.loaded" {
		t.Errorf("another certificate: %q", got)
	}
}

func TestExpiryIsToldInTime(t *testing.T) {
	now := time.Now()
	for _, tt := range []struct {
		name string
		life time.Duration
		want string // days left at which something is told, first to last
	}{
		{"a year", 365 * day, "30 14 7 1 0"},
		{"90 days", 90 * day, "14 7 1 0"}, // whoever renews with 30 days left is in time
		{"6 days", 6 * day, "1 0"},
		{"a day", day, "0"},
	} {
		dir := t.TempDir()
		cert, key := writePair(t, dir, now, now.Add(tt.life), "api.example.com")
		clock := now
		var events certificateEvents
		f, err := edge.OpenCertificate(cert, key, "api.example.com", &edge.State{Audit: &events, Now: func() time.Time { return clock }})
		if err != nil {
			t.Fatal(err)
		}
		var told []string
		for hours := int(tt.life.Hours()); hours > -48; hours -= 6 {
			clock = now.Add(tt.life - time.Duration(hours)*time.Hour)
			f.Refresh()
			if got := events.take(); got == "certificate.expiring" {
				told = append(told, fmt.Sprint(hours/24))
			} else if got != "" {
				t.Errorf("%s: %s", tt.name, got)
			}
		}
		if got := strings.Join(told, " "); got != tt.want {
			t.Errorf("%s: told at %s days, want %s", tt.name, got, tt.want)
		}
	}
}
