package app

import (
	"net/netip"
	"strings"
)

// An origin is a serialised web origin in its parts. They are pieces of the
// string that it was read from.
type origin struct {
	scheme string // http or https
	host   string // lower case; IPv6 in brackets
	port   string // "" for the scheme's own
}

// maxOrigin is longer than any origin that parseOrigin accepts.
const maxOrigin = len("https://") + 254 + len(":65535")

// parseOrigin reads the one way in which browsers write an origin with a host
// (RFC 6454, 6.2; HTML, "serialization of an origin"). What a URL parser would
// tidy is refused: userinfo, a path, upper case, a port that is the scheme's
// own, an address in another notation. So is the origin null. Whatever is
// accepted is spelled in the only possible way, so that origins may be compared
// as strings. It does not allocate for a host name.
func parseOrigin(s string) (o origin, ok bool) {
	if len(s) > maxOrigin {
		return origin{}, false
	}
	var rest string
	if o.scheme, rest, ok = strings.Cut(s, "://"); !ok || o.scheme != "https" && o.scheme != "http" {
		return origin{}, false
	}
	o.host = rest
	if i := strings.LastIndexByte(rest, ':'); i >= 0 && !strings.HasSuffix(rest, "]") {
		o.host, o.port = rest[:i], rest[i+1:]
		if !validPort(o.port) || o.port == defaultPort(o.scheme) {
			return origin{}, false
		}
	}
	if !validHost(o.host) {
		return origin{}, false
	}
	return o, true
}

func defaultPort(scheme string) string {
	if scheme == "https" {
		return "443"
	}
	return "80"
}

func validPort(s string) bool {
	if s == "" || len(s) > 5 || s[0] == '0' {
		return false
	}
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n <= 65535
}

func validHost(s string) bool {
	if inner, v6 := strings.CutPrefix(s, "["); v6 {
		inner, closed := strings.CutSuffix(inner, "]")
		ip, err := netip.ParseAddr(inner)
		// An IPv4 address inside an IPv6 one has two notations: neither.
		return closed && err == nil && ip.Is6() && !ip.Is4In6() && ip.Zone() == "" && ip.String() == inner
	}
	name := strings.TrimSuffix(s, ".")
	if name == "" || len(name) > 253 {
		return false
	}
	start := 0 // of the current label
	for i := 0; i <= len(name); i++ {
		if i == len(name) || name[i] == '.' {
			if n := i - start; n == 0 || n > 63 {
				return false
			}
			if i < len(name) {
				start = i + 1
			}
			continue
		}
		c := name[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	if last := name[start:]; last[0] >= '0' && last[0] <= '9' && numeric(last) {
		ip, err := netip.ParseAddr(s) // with its trailing dot, which addresses do not have
		return err == nil && ip.Is4()
	}
	return true
}

// numeric reports whether URL parsers take a host whose last label is s for an
// IPv4 address (URL standard, "ends in a number checker").
func numeric(s string) bool {
	digits := strings.TrimPrefix(s, "0x")
	hex := len(digits) < len(s)
	for i := range len(digits) {
		if c := digits[i]; (c < '0' || c > '9') && (!hex || c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// ours reports whether o is the origin of the site itself: that of the request
// as the client made it, or https and the site, for TLS may end at a proxy in
// front that nobody told us of.
func (o origin) ours(x *Exchange, site string) bool {
	if o.host == site && o.scheme == "https" && o.port == "" {
		return true
	}
	scheme := "http"
	if x.Secure {
		scheme = "https"
	}
	if o.scheme != scheme {
		return false // http://site is another origin than https://site
	}
	host, port := x.host, ""
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host, port = host[:i], host[i+1:]
	}
	if port == defaultPort(scheme) {
		port = ""
	}
	return o.port == port && strings.EqualFold(o.host, host)
}

// sender is what a request says of the page that sent it.
type sender uint8

const (
	senderUnsaid  sender = iota // no Origin: not a browser, or a request that needs none
	senderOurs                  // a page of the site itself
	senderListed                // an origin on the list
	senderForeign               // everything else, and what is not an origin at all
)

// senderOf reads Origin against the list. The value null is foreign unless
// Sec-Fetch-Site, which no page can set, says that the site's own page sent
// it: a page under Referrer-Policy no-referrer posts its forms so (Fetch,
// "append a request Origin header").
func senderOf(x *Exchange, site string, listed map[string][]string) sender {
	values := x.origin
	switch {
	case len(values) == 0:
		return senderUnsaid
	case len(values) > 1 || len(values[0]) > maxOrigin:
		return senderForeign
	}
	if _, ok := listed[values[0]]; ok {
		return senderListed
	}
	if values[0] == "null" {
		if said := x.fetched; len(said) == 1 && said[0] == "same-origin" {
			return senderOurs
		}
		return senderForeign
	}
	if o, ok := parseOrigin(values[0]); ok && o.ours(x, site) {
		return senderOurs
	}
	return senderForeign
}
