package app_test

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/ringwall/ringwall/app"
)

func TestOriginGrammar(t *testing.T) {
	label := strings.Repeat("a", 63)
	for _, s := range []string{
		"https://example.com", "http://example.com", "https://example.com:8443", "http://localhost:3000", "https://a",
		"https://xn--bcher-kva.example", "https://a_b.example", "https://-a.example", "https://example.com.",
		"https://192.0.2.1", "https://192.0.2.1:444", "https://[2001:db8::1]", "https://[::1]:8443", "https://1.example",
		"https://" + label + ".example", "https://example.com:80", "http://example.com:443", "https://example.com:65535",
	} {
		if _, _, _, ok := app.ParseOrigin(s); !ok {
			t.Errorf("%s is refused", s)
		}
	}
	for _, s := range []string{
		"", "null", "*", "example.com", "//example.com", "https:", "https://", "https:///", "https:example.com", "ftp://example.com",
		"file://", "https://*.example.com", "https://Example.com", "HTTPS://example.com", "https://example.com/", "https://example.com?",
		"https://example.com#", "https://user@example.com", "https://user:pw@example.com", "https://@example.com", "https://example.com:",
		"https://example.com:443", "http://example.com:80", "https://example.com:0", "https://example.com:08443", "https://example.com:65536",
		"https://example.com:+1", "https://example.com:1e3", "https://example.com:99999", "https://example..com", "https://.example.com",
		"https://example.com..", "https://.", "https://exa mple.com", " https://example.com", "https://example.com ", "https://example.com,https://b",
		"https://b\u00fccher.example", "https://example.com\x00", "https://example.com%00", "https://exa%6dple.com",
		"https://192.0.2.256", "https://192.0.2", "https://0x7f.1", "https://0x7f000001", "https://2130706433", "https://192.0.2.1.", "https://192.0.02.1",
		"https://[::1", "https://::1", "https://[2001:DB8::1]", "https://[2001:db8:0::1]", "https://[::ffff:192.0.2.1]", "https://[::ffff:c000:201]",
		"https://[fe80::1%25eth0]", "https://[192.0.2.1]", "https://[]", "https://" + label + "a.example", "https://" + strings.Repeat("a.", 127) + "example",
	} {
		if _, _, _, ok := app.ParseOrigin(s); ok {
			t.Errorf("%s is accepted", s)
		}
	}
}

// FuzzOrigin: whatever bytes come, there is no panic; what is accepted is
// spelled as its parts spell it, is what net/url reads too, and has nothing
// that the grammar leaves out.
func FuzzOrigin(f *testing.F) {
	for _, s := range []string{
		"https://example.com", "http://evil@victim", "https://[2001:db8::1]:8443", "null", "https://192.0.2.1", "https://a:443",
		"https://example.com.", "https://0x7f.1", "https://a_b.example:1", "https://[::ffff:192.0.2.1]",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		scheme, host, port, ok := app.ParseOrigin(s)
		if !ok {
			return
		}
		again := scheme + "://" + host
		if port != "" {
			again += ":" + port
		}
		if again != s {
			t.Fatalf("%q is read as %q", s, again)
		}
		u, err := url.Parse(s)
		if err != nil {
			t.Fatalf("%q is accepted, and net/url says %v", s, err)
		}
		if u.Scheme != scheme || u.Host != strings.TrimPrefix(s, scheme+"://") || u.Port() != port || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
			t.Fatalf("%q is %#v to net/url", s, u)
		}
		if strings.HasPrefix(host, "[") {
			if _, err := netip.ParseAddr(u.Hostname()); err != nil {
				t.Fatal(err)
			}
		}
		if strings.ToLower(s) != s || strings.ContainsAny(strings.TrimPrefix(s, scheme+"://"), " @/?#%\\,*") {
			t.Fatalf("%q has what no origin has", s)
		}
	})
}
