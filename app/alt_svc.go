package app

import (
	"context"
	"net"
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// altSvc tells clients of HTTP/3, and of nothing else: what the handler says of
// other places is dropped.
var altSvc = Control{
	Meta: check.Meta{
		ID:    "app/alt-svc",
		Most:  2,
		Title: "Clients are sent nowhere but to this server",
		Why:   "Alt-Svc has browsers ask another host or port for as long as it says, past all that is enforced here.",
		Ref:   "RFC 7838, 9.2; RFC 9114, 3.1; ASVS 5.0 V12.2.1; blueprint E3, T8",
	},
	Owns: []string{"Alt-Svc"},
	Static: func(p *policy.Policy) map[string]string {
		if v := altSvcValue(p); v != "" {
			return map[string]string{"Alt-Svc": v}
		}
		return nil
	},
	Value: func(p *policy.Policy, _ *Route) string {
		if v := altSvcValue(p); v != "" {
			return v
		}
		return "none: no other place to ask"
	},
	Verify: func(ctx context.Context, p *policy.Policy, c *probe.Client) check.Finding {
		res, err := c.Do(ctx, probe.Request{Target: "/"})
		if err != nil {
			return check.Unseen("no answer to GET /: %v", err)
		}
		got, want := strings.Join(res.Header.Values("Alt-Svc"), ", "), altSvcValue(p)
		switch {
		case got == want && want == "":
			return check.Passed("no Alt-Svc")
		case got == want:
			return check.Passed("%s", got)
		case want == "":
			return check.Failed("Alt-Svc: "+got, "none, as edge.http3 is false", "remove Alt-Svc from the API's answers; if the edge serves HTTP/3 there, set edge.http3: true")
		case got == "":
			return check.Failed("no Alt-Svc", want, "put Ringwall's edge in front of the API, or set edge.http3: false")
		}
		return check.Failed("Alt-Svc: "+got, want, "have one place say it: Ringwall's edge")
	},
}

// altSvcValue is "" without HTTP/3, and where its port is not known beforehand.
// Clients keep it for a day.
func altSvcValue(p *policy.Policy) string {
	_, port, err := net.SplitHostPort(p.Edge.Listen)
	if !p.Edge.HTTP3 || err != nil || port == "0" {
		return ""
	}
	return `h3=":` + port + `"; ma=86400`
}
