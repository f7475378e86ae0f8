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
	Proxied   bool       // a trusted proxy sent the request: what it says of whom it let in is passed on
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

// What becomes of a request header on its way to the upstream.
type nameKind uint8

const (
	nameKept    nameKind = iota
	nameDropped          // it never reaches the upstream
	nameUnusual          // it asks something of the connection
	nameVouched          // it says whom a proxy in front let in: dropped but from a trusted one
)

// fates are those that are not kept, folded: only the edge writes them, or they
// make an upstream see another client, method, path or body than the one that
// was judged. A client's are dropped in any spelling.
var fates = map[string]nameKind{
	"forwarded": nameDropped, "xrealip": nameDropped, "xrequestid": nameDropped, "xclientip": nameDropped, "xclusterclientip": nameDropped,
	"clientip": nameDropped, "trueclientip": nameDropped, "cfconnectingip": nameDropped, "fastlyclientip": nameDropped,
	"cfconnectingipv6": nameDropped, "flyclientip": nameDropped, "incapclientip": nameDropped, "xazureclientip": nameDropped, "xazuresocketip": nameDropped,
	"xoriginalforwardedfor": nameDropped, "xoriginatingip": nameDropped, "xproxyuserip": nameDropped, "wlproxyclientip": nameDropped, "proxyclientip": nameDropped,
	"xvercelforwardedfor": nameDropped, "xnfclientconnectionip": nameDropped, "remoteaddr": nameDropped, "xremoteaddr": nameDropped, "xremoteip": nameDropped,
	"xhost": nameDropped, "xhttphostoverride": nameDropped, "xscheme": nameDropped, "xurlscheme": nameDropped, "frontendhttps": nameDropped,
	"remoteuser": nameVouched, "xremoteuser": nameVouched, "xauthuser": nameVouched, "xauthenticateduser": nameVouched, "xwebauthuser": nameVouched,
	"xclientcert": nameVouched, "xremoteroles": nameVouched, "xremotegroup": nameVouched, "xremotegroups": nameVouched, "remotegroups": nameVouched,
	"remoteemail": nameVouched, "remotename": nameVouched,
	"xoriginalurl": nameDropped, "xoriginaluri": nameDropped, "xoriginalhost": nameDropped, "xoriginalmethod": nameDropped,
	"xrewriteurl": nameDropped, "xhttpmethod": nameDropped, "xhttpmethodoverride": nameDropped, "xmethodoverride": nameDropped,
	"proxy": nameDropped, // read as HTTP_PROXY by CGI programs (httpoxy, CVE-2016-5385)

	// Written anew, or for one hop (RFC 9110, 7.6.1).
	"host": nameDropped, "contentlength": nameDropped, "transferencoding": nameDropped, "trailer": nameDropped, "acceptencoding": nameDropped,
	"keepalive": nameDropped, "proxyconnection": nameDropped, "proxyauthenticate": nameDropped, "proxyauthorization": nameDropped,

	"connection": nameUnusual, "upgrade": nameUnusual, "te": nameUnusual, "expect": nameUnusual,
}

// prefixes begin names of families that the edge, or another proxy in its place,
// writes.
var prefixes = [...]struct {
	begin string
	kind  nameKind
}{
	{"xringwall", nameDropped}, {"xforwarded", nameDropped}, {"xenvoy", nameDropped}, {"xappengine", nameDropped},
	{"xauthrequest", nameVouched}, {"xssl", nameVouched}, {"sslclient", nameVouched}, {"xamznoidc", nameVouched}, {"xamznmtls", nameVouched},
	{"xgoogauthenticated", nameVouched}, {"xmsclientprincipal", nameVouched},
}

// judgeName says what becomes of a request header of this name, whatever stands
// between its letters. Names with another character than letters, digits and
// hyphens are dropped: CGI, WSGI and Rack programs cannot tell them from others,
// Content_Type is their Content-Type (nginx drops them too).
func judgeName(name string) nameKind {
	switch name {
	case "Accept", "Accept-Language", "Authorization", "Content-Type", "Cookie", "Origin", "Referer", "User-Agent":
		return nameKept
	}
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
			return nameDropped
		}
		if len(folded) < len(buf) {
			folded = append(folded, c)
		}
	}
	if len(folded) == 0 {
		return nameDropped
	}
	if folded[0] == 'x' || folded[0] == 's' { // as all prefixes
		for i := range prefixes {
			if p := prefixes[i].begin; len(folded) >= len(p) && string(folded[:len(p)]) == p {
				return prefixes[i].kind
			}
		}
	}
	return fates[string(folded)]
}

// told is all that the upstream is told of a request besides the client's own
// headers. Names are in canonical form; none stands twice.
func (x *Proxy) told(o Origin, asked string, to []field) []field {
	if o.Client.IsValid() {
		client := o.Client.String()
		to = append(to, field{"X-Forwarded-For", client}, field{"X-Real-Ip", client})
	}
	proto := "http"
	if o.Secure {
		proto = "https"
	}
	to = append(to, field{"X-Forwarded-Proto", proto}, field{"X-Forwarded-Host", x.host(asked)})
	if o.RequestID != "" {
		to = append(to, field{"X-Request-Id", o.RequestID})
	}
	if o.User == "" {
		return to
	}
	to = append(to, field{UserHeader, o.User})
	o.Roles = listable(o.Roles)
	roles := strings.Join(o.Roles, ",")
	if roles != "" {
		to = append(to, field{RolesHeader, roles})
	}
	if o.Session != "" {
		to = append(to, field{SessionHeader, o.Session})
	}
	if s := x.assertions.of(o, roles); s != "" {
		to = append(to, field{AssertionHeader, s})
	}
	return to
}

// setTold replaces what the client said of itself by what the ring knows. It
// runs after the headers that Connection names were removed, so that no client
// can name ours there (RFC 9110, 7.6.1).
func (x *Proxy) setTold(h http.Header, o Origin, asked string) {
	for name := range h {
		if kind := judgeName(name); kind == nameDropped || kind == nameVouched && !o.Proxied {
			delete(h, name)
		}
	}
	for _, f := range x.told(o, asked, nil) {
		h[f.name] = []string{f.value}
	}
}

// host is the client's host name with its port, when it names the site: the
// upstream may make links of it, so nothing else of the client's goes there.
func (x *Proxy) host(asked string) string {
	if asked == x.site {
		return x.site
	}
	n := len(x.site)
	if len(asked) < n+2 || asked[n] != ':' || !strings.EqualFold(asked[:n], x.site) {
		return x.site
	}
	if port := asked[n+1:]; len(port) > 5 || strings.Trim(port, "0123456789") != "" {
		return x.site
	}
	if asked[:n] == x.site {
		return asked
	}
	return x.site + asked[n:]
}

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
