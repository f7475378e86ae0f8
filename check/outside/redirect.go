package outside

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
)

// redirect asks over plain HTTP for what must not be served there.
var redirect = Check{
	Meta: check.Meta{
		ID:    "outside/redirect",
		Most:  3,
		Title: "Plain HTTP serves nothing but a redirect",
		Why:   "What is asked and answered over plain HTTP, tokens too, can be read and changed by anybody on the way.",
		Ref:   "RFC 9110, 15.4; ASVS 5.0 V4.1.2, V12.2.1; OWASP API8 2023; blueprint E2, T6, checklist 1",
		Layer: "edge",
	},
	Verify: func(ctx context.Context, t *Target) check.Finding {
		const want = "301 or 308 to https:// and the same host, or nothing at all on port 80"
		const fix = "in nginx: server { listen 80; server_name HOST; return 308 https://$host$request_uri; }"
		if t.Client.Base().Scheme == "http" {
			res, err := t.Client.Do(ctx, probe.Request{})
			if err != nil {
				return unanswered("GET "+t.base(), err)
			}
			if to := res.Header.Get("Location"); res.Status >= 300 && res.Status < 400 && strings.HasPrefix(to, "https://") {
				return check.Unseen("the URL is http:// and redirects to %.100q: check that one", to)
			}
			return check.Failed("GET "+t.Client.Base().String()+" is served without TLS, "+res.Line(), want, fix)
		}
		port := t.PlainPort
		if port == "" {
			port = "80"
		}
		plain, err := t.Client.At("http://" + net.JoinHostPort(t.Client.Base().Hostname(), port))
		if err != nil {
			return check.Unseen("%v", err)
		}
		for _, req := range []probe.Request{{Target: t.base(), Host: t.site()}, {Target: "/" + noPage(), Host: t.site()}} {
			res, err := plain.Do(ctx, req)
			asked := "GET http://" + t.site() + req.Target
			switch shut := dropped(err) || probe.Rejected(err); {
			case shut && ctx.Err() == nil, errors.Is(err, syscall.ECONNREFUSED):
				// Refused, or dropped or rejected by a firewall: nothing is there, unless all is down.
				if _, err := t.Client.Do(ctx, probe.Request{}); err != nil {
					return check.Unseen("neither port %s nor the target answers: %v", port, err)
				}
				if shut {
					return check.Passed("port %s takes no connection, and the target answers", port)
				}
				return check.Passed("nothing listens on port %s", port)
			case err != nil:
				return unanswered(asked+" on port "+port, err)
			}
			to, err := url.Parse(res.Header.Get("Location"))
			switch {
			case res.Status < 300 || res.Status > 399:
				return check.Failed(asked+" is answered "+res.Line(), want, fix)
			case res.Status == http.StatusNotModified || err != nil || to.Scheme != "https" || !strings.EqualFold(to.Hostname(), t.site()):
				return check.Failed(asked+" leads to "+headerValue("Location", res.Header["Location"]), want, fix)
			}
		}
		return check.Passed("port %s redirects to https://%s", port, t.site())
	},
}

// dropped reports whether nothing came of a connection, in all the time that it had.
func dropped(err error) bool {
	var dial *net.OpError
	return errors.As(err, &dial) && dial.Op == "dial" && dial.Timeout()
}
