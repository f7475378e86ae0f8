package edge

import (
	"net/http"
	"net/netip"
	"strings"
)

// Origin is what the ring in front knows of a request. It is all that the
// upstream is told about where the request comes from and who calls.
type Origin struct {
	Client    netip.Addr // the client's address
	Secure    bool       // the client speaks HTTPS
	RequestID string
	User      string   // the caller's id; "": nobody is signed in
	Roles     []string // the caller's roles
	Session   string   // the caller's session; "": none
}

// Names of the headers that tell the upstream who calls. Their absence means
// that nobody is signed in.
const (
	UserHeader    = "X-Ringwall-User"
	RolesHeader   = "X-Ringwall-Roles" // comma-separated
	SessionHeader = "X-Ringwall-Session"
)

// claimed are the names, folded, of headers that only the edge writes, or that
// make an upstream see another client, method or path than the one that was
// judged. A client's are dropped in any spelling.
var claimed = map[string]bool{
	"forwarded": true, "xrealip": true, "xrequestid": true, "xclientip": true, "xclusterclientip": true,
	"clientip": true, "trueclientip": true, "cfconnectingip": true, "fastlyclientip": true,
	"xoriginalurl": true, "xoriginaluri": true, "xoriginalhost": true, "xoriginalmethod": true, "xrewriteurl": true,
	"xhttpmethod": true, "xhttpmethodoverride": true, "xmethodoverride": true,
	"proxy": true, // read as HTTP_PROXY by CGI programs (httpoxy, CVE-2016-5385)
}

// dropped reports whether a request header of this name is kept from the
// upstream: those that only the edge writes, whatever stands between their
// letters, and all with a character other than letters, digits and hyphens.
// The latter are the ones that CGI, WSGI and Rack programs cannot tell from
// another header: Content_Type is their Content-Type (nginx drops them too).
func dropped(name string) bool {
	var buf [40]byte
	folded := buf[:0]
	for i := range len(name) {
		c := name[i]
		switch {
		case 'A' <= c && c <= 'Z':
			c |= 0x20
		case 'a' <= c && c <= 'z' || '0' <= c && c <= '9':
		case c == '-':
			continue
		default:
			return true
		}
		if len(folded) < len(buf) {
			folded = append(folded, c)
		}
	}
	return strings.HasPrefix(string(folded), "xringwall") ||
		strings.HasPrefix(string(folded), "xforwarded") ||
		claimed[string(folded)]
}

// setForwarded replaces what the client said of itself by what the ring knows.
// It runs after the headers that Connection names were removed, so that no
// client can name ours there (RFC 9110, 7.6.1). The identity headers are
// deleted first and set only for a known caller.
func setForwarded(h http.Header, o Origin, host string) {
	for name := range h {
		if dropped(name) {
			delete(h, name)
		}
	}
	if o.Client.IsValid() {
		client := []string{o.Client.String()}
		h["X-Forwarded-For"], h["X-Real-Ip"] = client, client
	}
	h["X-Forwarded-Proto"] = protoHTTP
	if o.Secure {
		h["X-Forwarded-Proto"] = protoHTTPS
	}
	h["X-Forwarded-Host"] = []string{host}
	if o.RequestID != "" {
		h["X-Request-Id"] = []string{o.RequestID}
	}
	if o.User == "" {
		return
	}
	h[UserHeader] = []string{o.User}
	if len(o.Roles) > 0 {
		if roles := listable(o.Roles); len(roles) > 0 {
			h[RolesHeader] = []string{strings.Join(roles, ",")}
		}
	}
	if o.Session != "" {
		h[SessionHeader] = []string{o.Session}
	}
}

var protoHTTP, protoHTTPS = []string{"http"}, []string{"https"}

// listable leaves out the roles that would read as others once joined by
// commas: a role "x,admin" must not become admin.
func listable(roles []string) []string {
	for i, r := range roles {
		if sayable(r) && !strings.Contains(r, ",") {
			continue
		}
		kept := append([]string(nil), roles[:i]...)
		for _, r := range roles[i+1:] {
			if sayable(r) && !strings.Contains(r, ",") {
				kept = append(kept, r)
			}
		}
		return kept
	}
	return roles
}

// sayable reports whether s reaches the upstream as it is in a header. Blanks
// at its ends would be trimmed there: " admin" must not become admin.
func sayable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != ""
}
