package app

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// clientAddress decides whom limits, bans and the log hold a request against.
var clientAddress = Control{
	Meta: check.Meta{
		ID:    "app/client-address",
		Most:  6,
		Title: "The client's address cannot be forged",
		Why:   "Who can write the address that limits count by gets a fresh bucket with each request, or empties somebody else's.",
		Ref:   "RFC 7239, 8.1; ASVS 5.0 V4.1.3; OWASP API4 2023; blueprint A6, E4, T8, checklist 3, checklist 6",
	},
	Fixed: true,
	Wrap: func(p *policy.Policy, _ Deps) (Middleware, error) {
		trusted := slices.Clone(p.Edge.TrustedProxies)
		for i, prefix := range trusted {
			at := "edge.trusted_proxies[" + strconv.Itoa(i) + "]"
			switch {
			case !prefix.IsValid():
				return nil, p.Errorf(at, "write an address or a prefix such as 10.0.0.0/8", "not a network prefix")
			case prefix.Bits() == 0:
				return nil, p.Errorf(at, "name the proxies' own addresses", "%s trusts every client to write its own address", prefix)
			case prefix.Addr().Is4In6():
				return nil, p.Errorf(at, "write it as an IPv4 prefix", "%s would match no peer: v4-mapped addresses are folded to IPv4", prefix)
			}
		}
		return func(next Handler) Handler {
			return func(x *Exchange) {
				x.Client, x.Secure = ClientAddress(x.R, trusted)
				next(x)
			}
		}, nil
	},
	Value: func(p *policy.Policy, _ *Route) string {
		if len(p.Edge.TrustedProxies) == 0 {
			return "the peer's; X-Forwarded-For is not read"
		}
		return "the last of X-Forwarded-For that is no trusted proxy, if the peer is one"
	},
	Verify: verifyClientAddress,
}

// maxHops bounds how many entries of X-Forwarded-For are looked at.
const maxHops = 32

// ClientAddress decides where a request comes from and whether the client
// speaks HTTPS.
//
// The address is the peer's, in r.RemoteAddr, unless the peer is in trusted.
// Then X-Forwarded-For is read as one list over all its lines, from the right:
// each trusted proxy is believed about whom it heard from, and the first
// address that is not trusted is the client. What stands left of it is the
// client's own word and is not looked at. When all are trusted, the client is
// the leftmost: one of the proxies asks for itself.
//
// An entry that is no address (unknown, _hidden, an IPv6 zone) and the entry
// after 32 others end the walk: the client is then the last trusted hop, so
// that such requests share that proxy's limits and cannot name anyone else.
//
// Addresses are plain: v4-mapped ones are folded to IPv4, the peer's zone is
// dropped. A peer without address and port (a unix socket, a RemoteAddr that
// other code rewrote) is trusted with nothing, and the address is the zero one:
// all such requests share one bucket.
//
// Only X-Forwarded-For and X-Forwarded-Proto are read. Forwarded (RFC 7239) and
// X-Real-IP are ignored, so that a proxy that sets one of several cannot be
// contradicted by a client that sets another. secure follows the last
// X-Forwarded-Proto of a trusted peer, which must be exactly https; without one,
// and for others, it says whether the connection itself is TLS.
//
// It does not allocate for a peer that is not trusted.
func ClientAddress(r *http.Request, trusted []netip.Prefix) (client netip.Addr, secure bool) {
	secure = r.TLS != nil
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, secure
	}
	client = peer.Addr().Unmap().WithZone("")
	if !inPrefixes(client, trusted) {
		return client, secure
	}
	if proto := r.Header["X-Forwarded-Proto"]; len(proto) > 0 {
		last := proto[len(proto)-1]
		last = last[strings.LastIndexByte(last, ',')+1:]
		secure = strings.Trim(last, " \t") == "https"
	}
	return firstUntrusted(r.Header["X-Forwarded-For"], client, trusted), secure
}

// FromProxy reports whether a request came over one of the proxies that are
// trusted, and not from a client itself.
func FromProxy(r *http.Request, trusted []netip.Prefix) bool {
	if len(trusted) == 0 {
		return false
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && inPrefixes(peer.Addr().Unmap().WithZone(""), trusted)
}

// firstUntrusted walks the lines of X-Forwarded-For from the right, starting
// beside hop, which is trusted.
func firstUntrusted(lines []string, hop netip.Addr, trusted []netip.Prefix) netip.Addr {
	hops := 0
	for _, line := range slices.Backward(lines) {
		for line != "" {
			comma := strings.LastIndexByte(line, ',')
			entry := strings.Trim(line[comma+1:], " \t")
			line = line[:max(comma, 0)]
			if entry == "" { // RFC 9110, 5.6.1.2: empty list elements are ignored
				continue
			}
			if hops++; hops > maxHops {
				return hop
			}
			addr, ok := parseHop(entry)
			if !ok {
				return hop
			}
			hop = addr
			if !inPrefixes(addr, trusted) {
				return addr
			}
		}
	}
	return hop
}

// parseHop reads an address that may be in brackets and may have a port:
// 192.0.2.1, 192.0.2.1:443, 2001:db8::1, [2001:db8::1], [2001:db8::1]:443.
func parseHop(s string) (netip.Addr, bool) {
	const longest = len("[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535")
	if len(s) > longest {
		return netip.Addr{}, false
	}
	var addr netip.Addr
	var err error
	switch {
	case s[0] == '[' && s[len(s)-1] == ']':
		if addr, err = netip.ParseAddr(s[1 : len(s)-1]); err == nil && addr.Is4() {
			return netip.Addr{}, false
		}
	case s[0] == '[', strings.Count(s, ":") == 1:
		var ap netip.AddrPort
		ap, err = netip.ParseAddrPort(s)
		addr = ap.Addr()
	default:
		addr, err = netip.ParseAddr(s)
	}
	if err != nil || addr.Zone() != "" {
		return netip.Addr{}, false
	}
	return addr.Unmap(), true
}

func inPrefixes(addr netip.Addr, prefixes []netip.Prefix) bool {
	for _, p := range prefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// verifyClientAddress watches the requests left of a rate class: a forged
// address must not open a new bucket, and another client must have its own.
func verifyClientAddress(ctx context.Context, p *policy.Policy, c *probe.Client) check.Finding {
	fix := "list only your proxies' own addresses in edge.trusted_proxies, and have each of them append to X-Forwarded-For"
	client, _ := c.Fresh()
	start := time.Now()
	const requests = 4
	var left [requests]int
	for i := range left {
		// The right-hand entry stays the same, so that the bucket must too,
		// also where the probe itself comes from a trusted proxy.
		forged := "203.0.113." + strconv.Itoa(i+1)
		res, err := client.Do(ctx, probe.Request{Target: "/", Headers: [][2]string{
			{"X-Forwarded-For", forged + ", 192.0.2.77"}, {"Forwarded", "for=" + forged},
			{"X-Real-IP", forged}, {"True-Client-IP", forged}, {"X-Client-IP", forged},
		}})
		if err != nil {
			return check.Unseen("no answer to GET /: %v", err)
		}
		var ok bool
		if left[i], ok = requestsLeft(res.Header); !ok {
			return check.Unseen("GET / was answered %s without RateLimit, so whose request it counts as is not visible", res.Line())
		}
	}
	if global := p.App.Limits["global"]; global.Per > 0 &&
		time.Since(start).Seconds()*float64(global.Requests)/global.Per.Seconds() >= 1 {
		return check.Unseen("the global limit refills faster than the probe can spend it")
	}
	got := "requests left were " + strings.Trim(fmt.Sprint(left), "[]") + " as the forged address changed"
	if left[requests-1] > left[0]-(requests-1) {
		return check.Failed(got, "one less each time: the same bucket", fix)
	}
	other, fresh := c.Fresh()
	if !fresh {
		return check.Passed("%s; a second client could not be had", got)
	}
	res, err := other.Do(ctx, probe.Request{Target: "/"})
	if err != nil {
		return check.Unseen("no answer to a second client's GET /: %v", err)
	}
	if n, ok := requestsLeft(res.Header); !ok || n <= left[requests-1] {
		return check.Failed("a second client found the first one's requests spent", "a bucket of its own",
			"put the app ring where it sees the clients' addresses, or name the proxy in edge.trusted_proxies")
	}
	return check.Passed("%s; a second client had its own bucket", got)
}

// requestsLeft reads the remaining requests of the first rate class of an
// answer (draft-ietf-httpapi-ratelimit-headers, parameter r), or of the older
// headers that other servers send.
func requestsLeft(h http.Header) (int, bool) {
	item, _, _ := strings.Cut(h.Get("RateLimit"), ",")
	for param := range strings.SplitSeq(item, ";") {
		if r, ok := strings.CutPrefix(strings.TrimSpace(param), "r="); ok {
			n, err := strconv.Atoi(r)
			return n, err == nil
		}
	}
	for _, name := range []string{"RateLimit-Remaining", "X-RateLimit-Remaining"} {
		if n, err := strconv.Atoi(h.Get(name)); err == nil {
			return n, true
		}
	}
	return 0, false
}
