package app_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"

	chi "github.com/go-chi/chi/v5/middleware"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/policy"
)

var addressTrusted = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.168.1.9/32"), netip.MustParsePrefix("fd00::/8"),
}

func addressRequest(peer string, xff ...string) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = peer
	for _, line := range xff {
		r.Header.Add("X-Forwarded-For", line)
	}
	return r
}

// The expectations are those of MDN, X-Forwarded-For, "Selecting an IP
// address": with a list of trusted proxies, search from the rightmost and take
// the first that is not on it. Notations are those of RFC 7239, 6.
func TestClientAddress(t *testing.T) {
	many := strings.Repeat("10.0.0.7, ", 31)
	tests := map[string]struct {
		peer string
		xff  []string
		want string // "": none
	}{
		"direct":                           {"203.0.113.5:4711", nil, "203.0.113.5"},
		"direct, forged":                   {"203.0.113.5:4711", []string{"198.51.100.1"}, "203.0.113.5"},
		"direct, a trusted address forged": {"203.0.113.5:4711", []string{"10.0.0.1"}, "203.0.113.5"},
		"direct, IPv6":                     {"[2001:db8::5]:4711", []string{"198.51.100.1"}, "2001:db8::5"},
		"direct, v4-mapped":                {"[::ffff:203.0.113.5]:4711", nil, "203.0.113.5"},
		"direct, zone":                     {"[fe80::1%eth0]:4711", nil, "fe80::1"},

		"one proxy":                          {"10.0.0.1:80", []string{"198.51.100.1"}, "198.51.100.1"},
		"one proxy, v4-mapped":               {"[::ffff:10.0.0.1]:80", []string{"198.51.100.1"}, "198.51.100.1"},
		"one proxy, IPv6":                    {"[fd00::1]:80", []string{"2001:db8::7"}, "2001:db8::7"},
		"one proxy, no header":               {"10.0.0.1:80", nil, "10.0.0.1"},
		"one proxy, empty header":            {"10.0.0.1:80", []string{""}, "10.0.0.1"},
		"one proxy, forged on the left":      {"10.0.0.1:80", []string{"1.2.3.4, 198.51.100.1"}, "198.51.100.1"},
		"one proxy, trusted on the left":     {"10.0.0.1:80", []string{"10.9.9.9, 198.51.100.1"}, "198.51.100.1"},
		"one proxy, two lines":               {"10.0.0.1:80", []string{"1.2.3.4", "198.51.100.1"}, "198.51.100.1"},
		"two proxies":                        {"10.0.0.1:80", []string{"198.51.100.1, 10.0.0.2"}, "198.51.100.1"},
		"two proxies, two lines":             {"10.0.0.1:80", []string{"1.2.3.4, 198.51.100.1", "10.0.0.2"}, "198.51.100.1"},
		"three proxies":                      {"10.0.0.1:80", []string{"1.2.3.4,198.51.100.1,fd00::2,192.168.1.9"}, "198.51.100.1"},
		"beside a prefix of one address":     {"10.0.0.1:80", []string{"198.51.100.1, 192.168.1.8"}, "192.168.1.8"},
		"only proxies":                       {"10.0.0.1:80", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		"empty elements":                     {"10.0.0.1:80", []string{" ,198.51.100.1,, ,", ","}, "198.51.100.1"},
		"tabs":                               {"10.0.0.1:80", []string{"\t198.51.100.1\t,\t10.0.0.2 "}, "198.51.100.1"},
		"v4-mapped proxy":                    {"10.0.0.1:80", []string{"198.51.100.1, ::ffff:10.0.0.2"}, "198.51.100.1"},
		"v4-mapped client":                   {"10.0.0.1:80", []string{"::ffff:198.51.100.1"}, "198.51.100.1"},
		"v4-mapped client in hex":            {"10.0.0.1:80", []string{"::FFFF:C633:6401"}, "198.51.100.1"},
		"port":                               {"10.0.0.1:80", []string{"198.51.100.1:4711"}, "198.51.100.1"},
		"brackets":                           {"10.0.0.1:80", []string{"[2001:db8::7]"}, "2001:db8::7"},
		"brackets and port":                  {"10.0.0.1:80", []string{"[2001:db8::7]:4711"}, "2001:db8::7"},
		"IPv6 that looks like one with port": {"10.0.0.1:80", []string{"2001:db8::7:4711"}, "2001:db8::7:4711"},
		"proxy with port":                    {"10.0.0.1:80", []string{"198.51.100.1, 10.0.0.2:5000"}, "198.51.100.1"},

		// What is no address ends the walk at the last trusted hop.
		"unknown":                    {"10.0.0.1:80", []string{"unknown"}, "10.0.0.1"},
		"obfuscated":                 {"10.0.0.1:80", []string{"198.51.100.1, _hidden, 10.0.0.2"}, "10.0.0.2"},
		"rubbish left of the client": {"10.0.0.1:80", []string{"<script>, 198.51.100.1"}, "198.51.100.1"},
		"rubbish right of it":        {"10.0.0.1:80", []string{"198.51.100.1, %00"}, "10.0.0.1"},
		"quoted":                     {"10.0.0.1:80", []string{`"198.51.100.1"`}, "10.0.0.1"},
		"zone":                       {"10.0.0.1:80", []string{"198.51.100.1, fd00::2%eth0"}, "10.0.0.1"},
		"zone of a v4-mapped":        {"10.0.0.1:80", []string{"::ffff:198.51.100.1%a"}, "10.0.0.1"},
		"prefix":                     {"10.0.0.1:80", []string{"198.51.100.0/24"}, "10.0.0.1"},
		"octal":                      {"10.0.0.1:80", []string{"198.51.100.001"}, "10.0.0.1"},
		"too few parts":              {"10.0.0.1:80", []string{"198.51.1"}, "10.0.0.1"},
		"port of a hundred zeros":    {"10.0.0.1:80", []string{"198.51.100.1:" + strings.Repeat("0", 100)}, "10.0.0.1"},
		"port too large":             {"10.0.0.1:80", []string{"198.51.100.1:65536"}, "10.0.0.1"},
		"port without number":        {"10.0.0.1:80", []string{"198.51.100.1:"}, "10.0.0.1"},
		"IPv4 in brackets":           {"10.0.0.1:80", []string{"[198.51.100.1]"}, "10.0.0.1"},
		"IPv4 in brackets, port":     {"10.0.0.1:80", []string{"[198.51.100.1]:80"}, "10.0.0.1"},
		"brackets not closed":        {"10.0.0.1:80", []string{"[2001:db8::7"}, "10.0.0.1"},
		"empty brackets":             {"10.0.0.1:80", []string{"[]"}, "10.0.0.1"},
		"blanks instead of commas":   {"10.0.0.1:80", []string{"198.51.100.1 10.0.0.2"}, "10.0.0.1"},
		"an entry of a kilobyte":     {"10.0.0.1:80", []string{strings.Repeat("1", 1024)}, "10.0.0.1"},
		"32 hops":                    {"10.0.0.1:80", []string{"198.51.100.1, " + many}, "198.51.100.1"},
		"33 hops":                    {"10.0.0.1:80", []string{"198.51.100.1, " + many + "10.0.0.8"}, "10.0.0.7"},

		"unix socket":             {"@", []string{"198.51.100.1"}, ""},
		"named unix socket":       {"/run/ring.sock", []string{"198.51.100.1"}, ""},
		"no peer":                 {"", []string{"198.51.100.1"}, ""},
		"peer rewritten":          {"10.0.0.1", []string{"198.51.100.1"}, ""},
		"peer that is no address": {"localhost:80", []string{"198.51.100.1"}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var want netip.Addr
			if tt.want != "" {
				want = netip.MustParseAddr(tt.want)
			}
			if got, _ := app.ClientAddress(addressRequest(tt.peer, tt.xff...), addressTrusted); got != want {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

func TestClientAddressOtherHeadersAreIgnored(t *testing.T) {
	for _, peer := range []string{"10.0.0.1:80", "203.0.113.5:80"} {
		r := addressRequest(peer)
		for _, name := range []string{"X-Real-IP", "Forwarded", "True-Client-IP", "CF-Connecting-IP", "X-Client-IP", "X-Forwarded"} {
			r.Header.Set(name, "198.51.100.1")
		}
		r.Header["X_Forwarded_For"] = []string{"198.51.100.1"}
		if got, _ := app.ClientAddress(r, addressTrusted); got.String()+":80" != peer {
			t.Errorf("peer %s: got %v", peer, got)
		}
	}
}

func TestClientAddressSecure(t *testing.T) {
	tests := map[string]struct {
		peer  string
		tls   bool
		proto []string
		want  bool
	}{
		"plain":                        {"203.0.113.5:80", false, nil, false},
		"TLS":                          {"203.0.113.5:80", true, nil, true},
		"forged":                       {"203.0.113.5:80", false, []string{"https"}, false},
		"forged away":                  {"203.0.113.5:80", true, []string{"http"}, true},
		"unix socket":                  {"@", false, []string{"https"}, false},
		"proxy":                        {"10.0.0.1:80", false, []string{"https"}, true},
		"proxy says nothing":           {"10.0.0.1:80", false, nil, false},
		"proxy over TLS":               {"10.0.0.1:80", true, nil, true},
		"proxy over TLS, client plain": {"10.0.0.1:80", true, []string{"http"}, false},
		"last of a list":               {"10.0.0.1:80", false, []string{"http, https"}, true},
		"not the first of a list":      {"10.0.0.1:80", false, []string{"https, http"}, false},
		"last of three":                {"10.0.0.1:80", false, []string{"http, http, https"}, true},
		"last line":                    {"10.0.0.1:80", false, []string{"http", "https"}, true},
		"not the first line":           {"10.0.0.1:80", false, []string{"https", "http"}, false},
		"capitals":                     {"10.0.0.1:80", false, []string{"HTTPS"}, false},
		"more than the word":           {"10.0.0.1:80", false, []string{"https;x"}, false},
		"empty":                        {"10.0.0.1:80", false, []string{""}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := addressRequest(tt.peer)
			if tt.tls {
				r.TLS = &tls.ConnectionState{}
			}
			r.Header["X-Forwarded-Proto"] = tt.proto
			if _, got := app.ClientAddress(r, addressTrusted); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestClientAddressPolicy(t *testing.T) {
	for prefix, ok := range map[string]bool{
		"10.0.0.0/8": true, "192.0.2.1/32": true, "2001:db8::/32": true, "0.0.0.0/1": true,
		"0.0.0.0/0": false, "::/0": false, "::ffff:10.0.0.0/104": false,
	} {
		p := protocolPolicy()
		p.Edge.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix(prefix)}
		_, err := app.New(p, http.NotFoundHandler(), app.Deps{})
		if (err == nil) != ok {
			t.Errorf("%s: %v", prefix, err)
		}
		if err != nil && !strings.Contains(err.Error(), "edge.trusted_proxies[1]") {
			t.Errorf("%s: the error does not say where: %v", prefix, err)
		}
	}
	p := protocolPolicy()
	p.Edge.TrustedProxies = make([]netip.Prefix, 1)
	if _, err := app.New(p, http.NotFoundHandler(), app.Deps{}); err == nil {
		t.Error("a prefix that is none was accepted")
	}
}

// TRAPS: the forged header must not change who a request counts for; two
// clients behind a trusted proxy are two.
func TestTrapForwardedForTrusted(t *testing.T) {
	for name, trusted := range map[string][]netip.Prefix{
		"not trusted": nil, "trusted": {netip.MustParsePrefix("127.0.0.0/8")},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			l := &protocolLog{answer: func(_ http.ResponseWriter, r *http.Request) {
				got = append(got, app.FromContext(r.Context()).Client.String())
			}}
			s := protocolServer(t, l, func(p *policy.Policy) { p.Edge.TrustedProxies = trusted })
			for _, xff := range []string{"198.51.100.1, 192.0.2.7", "198.51.100.2, 192.0.2.7", "2001:db8::1,192.0.2.7", "192.0.2.8"} {
				r, _ := http.NewRequest("GET", s.URL, nil)
				r.Header.Set("X-Forwarded-For", xff)
				r.Header.Set("X-Real-IP", "198.51.100.3")
				r.Host = "localhost"
				res, err := http.DefaultClient.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
			}
			want := []string{"127.0.0.1", "127.0.0.1", "127.0.0.1", "127.0.0.1"}
			if trusted != nil {
				want = []string{"192.0.2.7", "192.0.2.7", "192.0.2.7", "192.0.2.8"}
			}
			if !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

// The oracle is chi's ClientIPFromXFF, where both promise the same: chi reads
// no ports and brackets, strips zones, and finds nobody where we stop at a
// trusted hop.
func FuzzForwardedFor(f *testing.F) {
	for _, peer := range []string{"10.0.0.1:80", "203.0.113.5:80", "[::ffff:10.0.0.1]:80", "@", "10.0.0.1", "[fd00::1%a]:1"} {
		f.Add(peer, "198.51.100.1, 10.0.0.2", "192.168.1.9")
		f.Add(peer, "unknown,[2001:db8::7]:80", ",, ::ffff:10.0.0.2")
		f.Add(peer, "1.2.3.4%a", "")
	}
	f.Add("[fd00::1%[]:1", "60.0.0.2", "")
	prefixes := make([]string, len(addressTrusted))
	for i, p := range addressTrusted {
		prefixes[i] = p.String()
	}
	var theirs netip.Addr
	oracle := chi.ClientIPFromXFF(prefixes...)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		theirs = chi.GetClientIPAddr(r.Context())
	}))
	trusts := func(a netip.Addr) bool {
		return slices.ContainsFunc(addressTrusted, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	f.Fuzz(func(t *testing.T, peer, first, second string) {
		r := addressRequest(peer, first, second)
		got, _ := app.ClientAddress(r, addressTrusted)
		if got.Is4In6() || got.Zone() != "" {
			t.Fatalf("%v is not a plain address", got)
		}
		ap, err := netip.ParseAddrPort(peer)
		if got.IsValid() != (err == nil) {
			t.Fatalf("peer %q: got %v", peer, got)
		}
		if err != nil {
			return
		}
		if direct := ap.Addr().Unmap().WithZone(""); !trusts(direct) {
			if got != direct {
				t.Fatalf("peer %q: got %v", peer, got)
			}
			return
		}
		if !trusts(got) {
			left, _ := app.ClientAddress(addressRequest(peer, "10.9.9.9", "192.0.2.99, "+first, second), addressTrusted)
			if left != got {
				t.Fatalf("a client that forges on the left is %v, not %v", left, got)
			}
		}
		entries := strings.Split(first+","+second, ",")
		if len(entries) > 32 || strings.ContainsAny(first+second, "%[") || slices.ContainsFunc(entries, func(e string) bool {
			return strings.Count(e, ":") == 1 || strings.TrimSpace(e) != strings.Trim(e, " \t")
		}) {
			return
		}
		// The peer was judged above. The kernel writes it, not a client, and chi,
		// which reads it with net.SplitHostPort, finds nobody where the name of
		// an interface has a bracket in it.
		r.RemoteAddr = netip.AddrPortFrom(ap.Addr().WithZone(""), 1).String()
		theirs = netip.Addr{}
		oracle.ServeHTTP(nil, r)
		if theirs.IsValid() && theirs != got || !theirs.IsValid() && !trusts(got) {
			t.Fatalf("got %v, chi %v", got, theirs)
		}
	})
}

func TestClientAddressAllocates(t *testing.T) {
	r := addressRequest("203.0.113.5:4711", "198.51.100.1")
	proxied := addressRequest("10.0.0.1:4711", "1.2.3.4, [2001:db8::1]:80, 10.0.0.2:80")
	if n := testing.AllocsPerRun(100, func() { app.ClientAddress(r, addressTrusted) }); n != 0 {
		t.Errorf("%v allocations for an untrusted peer", n)
	}
	if n := testing.AllocsPerRun(100, func() { app.ClientAddress(proxied, addressTrusted) }); n != 0 {
		t.Errorf("%v allocations for a trusted peer", n)
	}
}

func BenchmarkClientAddress(b *testing.B) {
	for name, r := range map[string]*http.Request{
		"direct":  addressRequest("203.0.113.5:4711", "198.51.100.1"),
		"proxied": addressRequest("10.0.0.1:4711", "1.2.3.4, 198.51.100.1, 10.0.0.2"),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				app.ClientAddress(r, addressTrusted)
			}
		})
	}
}
