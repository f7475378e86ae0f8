package app

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"unicode/utf8"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// knownHost serves the site's name and no other, whatever its letter case,
// port and one dot at its end. The host is that of an absolute-form target when
// there is one (RFC 9112, 3.2.2), then the Host header's. Another host is
// answered 421, an empty one 400, and so is a connection whose TLS server name
// is another site's (RFC 9110, 7.4). An address is a host only when the site is
// that address, or localhost, which its loopback addresses stand for.
//
// Controls after this one, the handler and the upstream see the host in lower
// case, with the port that the client wrote.
var knownHost = Control{
	Meta: check.Meta{
		ID:     "app/host",
		Most:   7,
		Points: 3,
		Title:  "Only the site's own host name is served",
		Why:    "A Host of the attacker's choice ends in password-reset links, caches and DNS rebinding.",
		Ref:    "RFC 9110, 7.2 and 7.4; ASVS 5.0 V4.1.3; OWASP API8 2023; blueprint E4, T8, checklist 3",
	},
	Wrap: func(p *policy.Policy, _ Deps) (Middleware, error) {
		served, err := servedHosts(p)
		if err != nil {
			return nil, err
		}
		return func(next Handler) Handler {
			return func(x *Exchange) {
				name, rest, ok := splitHost(x.R.Host)
				if name == "" {
					x.Deny(Denied{Control: "app/host", Kind: audit.ProtocolRefused, Status: http.StatusBadRequest,
						Detail: "The request names no host.", Err: errors.New("the host is empty")})
					return
				}
				name = strings.ToLower(name)
				if !ok || !served[name] {
					x.Deny(Denied{Control: "app/host", Kind: audit.ProtocolRefused, Status: http.StatusMisdirectedRequest,
						Detail: "This host is not served here.", Err: errors.New("unknown host " + shorten(x.R.Host))})
					return
				}
				if t := x.R.TLS; t != nil && t.ServerName != "" && !served[strings.ToLower(t.ServerName)] {
					x.Deny(Denied{Control: "app/host", Kind: audit.ProtocolRefused, Status: http.StatusMisdirectedRequest,
						Detail: "This connection was opened for another host.", Err: errors.New("TLS server name " + shorten(t.ServerName))})
					return
				}
				if len(name)+len(rest) != len(x.R.Host) || x.R.Host[:len(name)] != name {
					x.R.Host = name + rest
				}
				next(x)
			}
		}, nil
	},
	Value:  func(p *policy.Policy, _ *Route) string { return p.Site },
	Verify: verifyHost,
}

// servedHosts are the names of the site, as splitHost gives them.
func servedHosts(p *policy.Policy) (map[string]bool, error) {
	site := strings.TrimSuffix(strings.ToLower(p.Site), ".")
	if site == "" {
		return nil, p.Errorf("site", "write the host name that clients use, such as api.example.com", "no host is named")
	}
	if site == "localhost" {
		return map[string]bool{"localhost": true, "127.0.0.1": true, "[::1]": true}, nil
	}
	if ip, err := netip.ParseAddr(strings.Trim(site, "[]")); err == nil && ip.Is6() {
		site = "[" + ip.String() + "]"
	}
	return map[string]bool{site: true}, nil
}

// splitHost cuts uri-host [":" port] (RFC 9110, 7.2) into the host, without
// one dot at its end and with the brackets of an IPv6 address, and the rest, ""
// or the colon and port. ok is false when what follows the host is no port.
func splitHost(s string) (host, rest string, ok bool) {
	end := strings.IndexByte(s, ':')
	if strings.HasPrefix(s, "[") {
		if end = strings.IndexByte(s, ']') + 1; end == 0 || end == len(s) {
			return s, "", end > 0
		}
	}
	if end < 0 {
		end = len(s)
	}
	host, rest = s[:end], s[end:]
	if rest != "" && rest[0] != ':' || len(rest) > len(":65535") {
		return host, "", false
	}
	for i := 1; i < len(rest); i++ {
		if rest[i] < '0' || rest[i] > '9' {
			return host, "", false
		}
	}
	if rest == ":" {
		rest = ""
	}
	for i := range len(host) {
		if host[i] >= utf8.RuneSelf { // an IDN is written in ASCII (RFC 5891, 4.4)
			return host, "", false
		}
	}
	return strings.TrimSuffix(host, "."), rest, true
}

// shorten bounds what attackers write into the log.
func shorten(s string) string { return s[:min(len(s), 100)] }

func verifyHost(ctx context.Context, p *policy.Policy, c *probe.Client) check.Finding {
	fix := "put the app ring in front of the API with the site in the policy, or refuse unknown hosts in the proxy"
	name := strings.Trim(p.Site, "[]")
	if strings.Contains(name, ":") {
		name = "[" + name + "]"
	}
	site := name
	if port := c.Base().Port(); port != "" {
		site += ":" + port
	}
	for _, host := range []string{site, strings.ToUpper(site), name + "."} {
		res, err := c.Do(ctx, probe.Request{Target: "/", Host: host})
		if err != nil {
			return check.Unseen("no answer to GET / for %s: %v", host, err)
		}
		if res.Status == http.StatusMisdirectedRequest || res.Status == http.StatusBadRequest {
			if host == site {
				return check.Unseen("the site itself, %s, is answered %s, so a refusal proves nothing", host, res.Line())
			}
			return check.Failed("GET / for "+host+" was answered "+res.Line(), "the same as for "+site, fix)
		}
	}
	const unknown = "unknown.invalid"
	for _, req := range []probe.Request{
		{Target: "/", Host: unknown},
		{Target: "/", Host: name + "." + unknown},
		{Target: "http://" + unknown + "/", Host: site},
	} {
		res, err := c.Do(ctx, req)
		if err != nil {
			return check.Unseen("no answer to GET %s for %s: %v", req.Target, req.Host, err)
		}
		if res.Status != http.StatusMisdirectedRequest {
			return check.Failed("GET "+req.Target+" for "+req.Host+" was answered "+res.Line(), "421", fix)
		}
	}
	return check.Passed("3 requests for unknown hosts were answered 421, %s in 3 spellings was served", p.Site)
}
