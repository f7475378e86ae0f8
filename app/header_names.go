package app

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// headerNames sees to it that no header of a client reads as one that only the
// rings write, or as another of its own, when a program folds names: CGI, WSGI
// and Rack cannot tell X_Forwarded_For from X-Forwarded-For.
//
// It drops, in any spelling that letters and digits leave the same,
//   - what only the rings write: X-Ringwall-*, X-Forwarded-*, Forwarded,
//     X-Real-IP. app/client-address, which comes before, has read what a
//     trusted proxy wrote; the proxy to the upstream writes its own;
//   - what makes programs see another client, URL or caller than the one that
//     was judged: X-Original-URL, True-Client-IP, Remote-User, X-Auth-Request-User,
//     Ssl-Client-Cert, Proxy and their like;
//   - aliases of headers that controls judge, such as Content_Type;
//   - those names among the options of Connection, which would have a proxy
//     strip them (RFC 9110, 7.6.1), and all trailers (6.5.1 lets us);
//   - Upgrade to another HTTP, such as h2c: the upstream would then take
//     requests that nobody judges.
//
// Two Authorization, Content-Type or Origin headers are answered 400, and more
// than 100 header lines 431: some programs read the first so many, and judge
// without the rest. What an honest client never sends raises header.forged, once
// for a request.
var headerNames = Control{
	Meta: check.Meta{
		ID:     "app/header-names",
		Most:   5,
		Points: 16,
		Title:  "Clients cannot write the headers that name the caller",
		Why:    "An upstream that folds names takes a forged X_Ringwall_User for the real one, and the client for an admin.",
		Ref:    "RFC 9110, 5.1, 5.3 and 7.6.1; RFC 3875, 4.1.18; ASVS 5.0 V4.1.3; OWASP API2 2023; blueprint E4, T8, checklist 3",
	},
	Wrap: func(p *policy.Policy, _ Deps) (Middleware, error) {
		trusted := slices.Clone(p.Edge.TrustedProxies)
		return func(next Handler) Handler {
			return func(x *Exchange) {
				forged, doubled, lines := cleanHeaders(x.R.Header, x.ID != "", FromProxy(x.R, trusted))
				if x.R.Trailer != nil {
					for name := range x.R.Trailer {
						if rule, _ := judgeHeader(name); rule != headerFree {
							forged = name
						}
					}
					x.R.Trailer = nil // net/http fills its own copy
				}
				if forged != "" {
					x.Event(audit.HeaderForged, audit.Failure, "app/header-names", 0, "dropped "+shorten(forged))
				}
				if lines > maxHeaderLines {
					x.Deny(Denied{Control: "app/header-names", Kind: audit.ProtocolRefused, Status: http.StatusRequestHeaderFieldsTooLarge,
						Detail: "The request has more than 100 header lines.", Err: errors.New("too many header lines")})
					return
				}
				if doubled != "" {
					x.Deny(Denied{Control: "app/header-names", Kind: audit.ProtocolRefused, Status: http.StatusBadRequest,
						Detail: "A header that may be sent once was sent twice.", Err: errors.New("more than one " + doubled)})
					return
				}
				next(x)
			}
		}, nil
	},
	Value: func(*policy.Policy, *Route) string {
		return "X-Ringwall-*, X-Forwarded-*, X-Real-IP and their aliases are dropped; so are X-Auth-Request-*, X-SSL-* and others that say who was let in, but those of edge.trusted_proxies"
	},
	Verify: verifyHeaderNames,
}

// maxHeaderLines is Apache's default, and several times what browsers send.
const maxHeaderLines = 100

// cleanHeaders drops what a client may not write, in one pass. It returns the
// name of one that was forged and of one that stands twice, "" for none, and how
// many lines came. hasID says that X-Request-Id is already ours, proxied that a
// trusted proxy sent them.
func cleanHeaders(h http.Header, hasID, proxied bool) (forged, doubled string, lines int) {
	for name, values := range h {
		lines += len(values)
		switch name {
		case "Accept", "Accept-Encoding", "Accept-Language", "Cache-Control", "Content-Encoding", "Content-Length", "Cookie",
			"If-None-Match", "Pragma", "Priority", "Referer", "Traceparent", "Tracestate", "User-Agent":
			continue
		case "Authorization", "Content-Type", "Origin":
			if len(values) > 1 {
				doubled = name
			}
			continue
		case "Connection":
			if option := cleanConnection(h, values); option != "" {
				forged = option
			}
			continue
		case "Upgrade":
			if slices.ContainsFunc(values, upgradesHTTP) {
				delete(h, name)
			}
			continue
		case "Trailer", "Http2-Settings":
			delete(h, name)
			continue
		case "X-Request-Id":
			if hasID {
				lines -= len(values)
			} else {
				delete(h, name)
			}
			continue
		}
		switch rule, usual := judgeHeader(name); {
		case rule == headerFree, rule == headerJudged && usual:
		case rule == headerVouched && usual && proxied:
		case (rule == headerForwarded || rule == headerVouched) && usual:
			delete(h, name)
		default:
			delete(h, name)
			forged = name
		}
	}
	return forged, doubled, lines
}

// cleanConnection removes options that name judged headers from Connection.
func cleanConnection(h http.Header, values []string) (forged string) {
	for _, v := range values {
		switch v {
		case "keep-alive", "Keep-Alive", "close", "Upgrade", "upgrade":
			continue
		}
		for option := range strings.SplitSeq(v, ",") {
			if rule, _ := judgeHeader(strings.Trim(option, " \t")); rule != headerFree {
				forged = option
			}
		}
	}
	if forged == "" {
		return ""
	}
	var kept []string
	for _, v := range values {
		for option := range strings.SplitSeq(v, ",") {
			option = strings.Trim(option, " \t")
			if rule, _ := judgeHeader(option); rule == headerFree && option != "" {
				kept = append(kept, option)
			}
		}
	}
	delete(h, "Connection")
	if len(kept) > 0 {
		h["Connection"] = []string{strings.Join(kept, ", ")}
	}
	return forged
}

// upgradesHTTP reports whether an Upgrade header asks for another HTTP.
func upgradesHTTP(value string) bool {
	for protocol := range strings.SplitSeq(value, ",") {
		name, _, _ := strings.Cut(strings.ToLower(strings.Trim(protocol, " \t")), "/")
		switch name {
		case "h2c", "h2", "h3", "http", "tls", "spdy":
			return true
		}
	}
	return false
}

// headerRule says who may write a header.
type headerRule uint8

const (
	headerFree      headerRule = iota // anyone
	headerJudged                      // a client, in its one spelling
	headerForwarded                   // the rings; proxies on the client's side write it in good faith
	headerVouched                     // a trusted proxy, of whom it let in
	headerOwned                       // the rings or nobody
)

// foldedHeaders are the rules by name, in lower case and without anything but
// letters and digits. What starts with xringwall is owned too, and what starts
// with one of forwardedPrefixes or vouchedPrefixes is forwarded or vouched.
var foldedHeaders = map[string]headerRule{
	"forwarded": headerForwarded, "xrealip": headerForwarded, "xrequestid": headerForwarded,
	"xclientip": headerForwarded, "clientip": headerForwarded, "trueclientip": headerForwarded,
	"xclusterclientip": headerForwarded, "cfconnectingip": headerForwarded, "fastlyclientip": headerForwarded,
	"cfconnectingipv6": headerForwarded, "flyclientip": headerForwarded, "incapclientip": headerForwarded, "xazureclientip": headerForwarded,
	"xazuresocketip": headerForwarded, "xoriginalforwardedfor": headerForwarded, "xoriginatingip": headerForwarded, "xproxyuserip": headerForwarded,
	"wlproxyclientip": headerForwarded, "proxyclientip": headerForwarded, "xvercelforwardedfor": headerForwarded, "xnfclientconnectionip": headerForwarded,
	"xhost": headerForwarded, "xhttphostoverride": headerForwarded, "xscheme": headerForwarded, "xurlscheme": headerForwarded,
	"frontendhttps": headerForwarded, "xauthenticateduser": headerVouched, "xwebauthuser": headerVouched, "xclientcert": headerVouched,
	"xremoteroles": headerVouched, "xremotegroup": headerVouched, "xremotegroups": headerVouched,
	"remotegroups": headerVouched, "remoteemail": headerVouched, "remotename": headerVouched,

	"remoteuser": headerOwned, "xremoteuser": headerOwned, "xauthuser": headerOwned,
	"remoteaddr": headerOwned, "xremoteaddr": headerOwned, "xremoteip": headerOwned,
	"xoriginalurl": headerOwned, "xoriginaluri": headerOwned, "xrewriteurl": headerOwned,
	"xoriginalhost": headerOwned, "xoriginalmethod": headerOwned,
	"proxy": headerOwned, // read as HTTP_PROXY by CGI programs (CVE-2016-5385)
}

// forwardedPrefixes begin names that a family of proxies writes: where a request
// comes from.
var forwardedPrefixes = [...]string{"xforwarded", "xenvoy", "xappengine"}

// vouchedPrefixes begin names in which oauth2-proxy, a cloud's front or TLS tells
// whom it knows the sender for.
var vouchedPrefixes = [...]string{"xauthrequest", "xssl", "sslclient", "xamznoidc", "xamznmtls", "xgoogauthenticated", "xmsclientprincipal"}

// judgedHeaders are the headers that controls read, by the same folded name,
// with their one spelling.
var judgedHeaders = map[string]string{
	"authorization": "Authorization", "cookie": "Cookie", "host": "Host", "origin": "Origin",
	"contentlength": "Content-Length", "contenttype": "Content-Type", "contentencoding": "Content-Encoding",
	"transferencoding": "Transfer-Encoding", "trailer": "Trailer",
	"xhttpmethodoverride": "X-Http-Method-Override", "xhttpmethod": "X-Http-Method", "xmethodoverride": "X-Method-Override",
}

// judgeHeader finds the rule of a header name in any spelling. usual reports
// whether the name is spelled as programs that mean no harm spell it: for a
// judged one exactly so, for others with letters, digits and hyphens only.
func judgeHeader(name string) (rule headerRule, usual bool) {
	const longest = len("xnfclientconnectionip")
	var buf [longest + 1]byte
	n := 0
	usual = true
	for i := range len(name) {
		c := name[i]
		switch {
		case 'A' <= c && c <= 'Z':
			c |= 0x20
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		default:
			usual = usual && c == '-'
			continue
		}
		if n == 0 && (c == 'd' || c == 'u') || n == 1 && c == 'e' && buf[0] == 's' {
			return headerFree, usual // Sec-Fetch-Mode and many more: no rule starts so
		}
		if n < len(buf) {
			buf[n] = c
			n++
		}
	}
	folded := string(buf[:n])
	if n > 0 && (folded[0] == 'x' || folded[0] == 's') { // as all prefixes
		if strings.HasPrefix(folded, "xringwall") {
			return headerOwned, usual
		}
		for _, prefix := range &forwardedPrefixes {
			if strings.HasPrefix(folded, prefix) {
				return headerForwarded, usual
			}
		}
		for _, prefix := range &vouchedPrefixes {
			if strings.HasPrefix(folded, prefix) {
				return headerVouched, usual
			}
		}
	}
	if exact, ok := judgedHeaders[folded]; ok {
		return headerJudged, http.CanonicalHeaderKey(name) == exact
	}
	return foldedHeaders[folded], usual
}

func verifyHeaderNames(ctx context.Context, _ *policy.Policy, c *probe.Client) check.Finding {
	fix := "put the app ring in front of the API, and let the API listen on loopback only"
	const canary = "ringwall-forged-canary"
	res, err := c.Do(ctx, probe.Request{Target: "/", Token: c.Token(""), Headers: [][2]string{
		{"X-Ringwall-User", canary}, {"X_Ringwall_User", canary}, {"X.Ringwall.User", canary}, {"x-ringwall_roles", canary},
		{"X_Forwarded_For", canary}, {"X-Real-IP", canary}, {"Content_Type", canary}, {"Connection", "close, X-Ringwall-User"},
	}})
	if err != nil {
		return check.Unseen("no answer to GET /: %v", err)
	}
	if res.Status == http.StatusBadRequest {
		return check.Unseen("GET / with forged headers is itself answered 400, so a refusal proves nothing")
	}
	if strings.Contains(string(res.Body), canary) {
		return check.Failed("a forged header reached the handler, which echoed it", "no trace of it", fix)
	}
	const value = "ringwall-twice"
	for _, name := range []string{"Authorization", "Content-Type", "Origin"} {
		twice, err := c.Do(ctx, probe.Request{Target: "/", Headers: [][2]string{{name, value}, {name, value}}})
		if err != nil {
			return check.Unseen("no answer to GET / with two %s: %v", name, err)
		}
		if twice.Status != http.StatusBadRequest {
			return check.Failed("GET / with two "+name+" headers was answered "+twice.Line(), "400", fix)
		}
	}
	return check.Passed("two Authorization, Content-Type or Origin headers were answered 400; "+
		"GET / with forged identity headers was answered %d and echoed none", res.Status)
}
