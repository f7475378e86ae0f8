package policy_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/policy"
)

func TestDurations(t *testing.T) {
	for written, want := range map[string]time.Duration{
		"1h": time.Hour, "365d": 365 * 24 * time.Hour, "1d12h": 36 * time.Hour, "90m": 90 * time.Minute,
		"1h30m": 90 * time.Minute, "\"2h0m5s\"": 2*time.Hour + 5*time.Second, "'0100h'": 100 * time.Hour, "3600s": time.Hour,
	} {
		p := mustParse(t, "site: a.example.com\napp: {headers: {hsts: {max_age: "+written+"}}}\n")
		if got := p.App.Headers.HSTS.MaxAge; got != want {
			t.Errorf("%s is %v, want %v", written, got, want)
		}
	}
	for _, written := range []string{"1", "0", "1.5h", "1h30", "30m1h", "1h1h", "1w", "1H", "-1h", "+1h", "1 h", "h", "1hh", "1h ,", "PT1H", "1h30m20s10",
		"99999999999999999999d", "106752d", "213505d", "9223372036855s1", "1e3s", "١h"} {
		if _, err := policy.Parse("", []byte("site: a.example.com\napp: {headers: {hsts: {max_age: \""+written+"\"}}}\n"), alone()); err == nil {
			t.Errorf("%q is a duration", written)
		}
	}
}

func TestSizes(t *testing.T) {
	for written, want := range map[string]policy.Size{
		"1kB": 1e3, "200kB": 200e3, "64MB": 64e6, "1GB": 1e9, "1KiB": 1 << 10, "64MiB": 64 << 20, "1048576B": 1 << 20, "'01MB'": 1e6,
	} {
		p := mustParse(t, "site: a.example.com\napp: {body: "+written+"}\n")
		if p.App.Body != want {
			t.Errorf("%s is %d, want %d", written, p.App.Body, want)
		}
	}
	for _, written := range []string{"", "1000", "1.5MB", "1KB", "1kb", "1mb", "1 MB", "MB", "-1MB", "1MBB", "1e6B", "0x10kB", "9223372036854775808B", "9223372036854775807kB", "1GiB"} {
		if _, err := policy.Parse("", []byte("site: a.example.com\napp: {body: \""+written+"\"}\n"), alone()); err == nil {
			t.Errorf("%q is a size", written)
		}
	}
	for size, want := range map[policy.Size]string{0: "0B", 1: "1B", 999: "999B", 1000: "1kB", 1024: "1KiB", 1500: "1500B", 200_000: "200kB",
		64_000_000: "64MB", 64 << 20: "64MiB", 1_000_000_000: "1GB", 1 << 30: "1GiB", 1_024_000: "1024kB"} {
		if got := size.String(); got != want {
			t.Errorf("%d is written %s, want %s", int64(size), got, want)
		}
	}
}

func TestTrustedProxies(t *testing.T) {
	p := mustParse(t, "site: a.example.com\nedge: {trusted_proxies: [192.0.2.1, \"2001:db8::1\", \"::ffff:198.51.100.7\", \"::ffff:10.0.0.0/104\", 172.16.0.0/12, \"fc00::/7\"]}\n")
	want := "[192.0.2.1/32 2001:db8::1/128 198.51.100.7/32 10.0.0.0/8 172.16.0.0/12 fc00::/7]"
	if got := fmt.Sprint(p.Edge.TrustedProxies); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestTrapTrustingEverybody(t *testing.T) {
	for _, s := range []string{"0.0.0.0/0", "::/0", "::ffff:0.0.0.0/96", "::ffff:0:0/90", "128.0.0.0/1"} {
		_, err := policy.Parse("", []byte("site: a.example.com\nedge: {trusted_proxies: [\""+s+"\"]}\n"), alone())
		if err == nil || !strings.Contains(err.Error(), "name the addresses that you mean") {
			t.Errorf("%s: %v", s, err)
		}
	}
}

// Origins that browsers do send are accepted; the refused ones are in
// testdata/mistakes.txtar.
func TestOrigins(t *testing.T) {
	for _, o := range []string{"https://your-frontend.com", "https://app.example.com:8443", "https://xn--bcher-kva.example", "https://192.0.2.1",
		"https://[2001:db8::1]:8443", "https://localhost", "https://a"} {
		mustParse(t, "site: a.example.com\napp: {cors: {origins: [\""+o+"\"]}}\n")
	}
	for _, o := range []string{"http://localhost", "http://localhost:3000", "http://127.0.0.1:5173", "http://[::1]:5173", "http://app.localhost:3000"} {
		loadDev(t, "site: localhost\napp: {cors: {origins: [\""+o+"\"]}}\n")
	}
}

func TestUpstreams(t *testing.T) {
	for _, u := range []string{"http://127.0.0.1:8000", "http://127.0.0.1:8000/", "http://localhost:3000", "http://[::1]:8000", "http://127.9.9.9:8000", "unix:/run/api.sock"} {
		mustParse(t, "site: a.example.com\nupstream: \""+u+"\"\n")
	}
	for _, u := range []string{"http://0.0.0.0:8000", "http://localhost.example.com", "http://127.0.0.1.example.com", "http://127.1:8000", "http://2130706433:8000",
		"http://[::ffff:8.8.8.8]:80", "http://[::1%25lo]:8000", "unix:/", "unix:", "unix:/run/../etc/x", "unix://run/x", "http://", "http://:8000", "http://127.0.0.1:0",
		"http://127.0.0.1:", "http://127.0.0.1:08000", "http://127.0.0.1:8000?", "http://127.0.0.1:8000#", "HTTP://10.0.0.1", "/run/api.sock"} {
		if _, err := policy.Parse("", []byte("site: a.example.com\nupstream: \""+u+"\"\n"), alone()); err == nil {
			t.Errorf("%s is accepted", u)
		}
	}
}
