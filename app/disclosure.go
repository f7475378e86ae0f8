package app

import (
	"context"
	"slices"
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// disclosure drops what an upstream says of its own software. It owns the names
// and sets none of them.
var disclosure = Control{
	Meta: check.Meta{
		ID:     "app/disclosure",
		Most:   6,
		Points: 3,
		Title:  "Answers do not name the software behind them",
		Why:    "A product and its version tell a scanner which attacks to try.",
		Ref:    "RFC 9110, 7.6.3 and 10.2.4; OWASP Secure Headers Project; ASVS 5.0 V13.4.6; OWASP API8 2023; blueprint A1, T7",
	},
	Owns:  disclosing,
	Value: func(*policy.Policy, *Route) string { return "Server, X-Powered-By and their like are dropped" },
	Verify: func(ctx context.Context, p *policy.Policy, c *probe.Client) check.Finding {
		claims := make([]headerClaim, len(disclosing))
		for i, name := range disclosing {
			claims[i] = headerClaim{name, "no " + name, func(values []string) bool {
				return len(values) == 0 || name == "Server" && len(values) == 1 && slices.Contains(proxies, strings.ToLower(values[0]))
			}}
		}
		return verifyHeaders(ctx, p, c, "put the app ring in front of the API, or drop the header there", claims...)
	},
}

// proxies are what a proxy in front calls itself, without a version, because it
// cannot be told not to. It says nothing of the software behind it.
var proxies = []string{"nginx", "openresty", "caddy", "cloudflare", "cloudfront"}

// disclosing are headers that say what made the answer. Via is among them: a
// gateway may leave it out of answers (RFC 9110, 7.6.3), and it names the hosts
// and products inside.
var disclosing = []string{
	"Server", "Via", "Powered-By", "X-Powered-By", "X-Powered-By-Plesk", "X-Powered-Cms", "X-Server-Powered-By", "X-Cf-Powered-By",
	"X-Aspnet-Version", "X-Aspnetmvc-Version", "X-Php-Version", "X-Generator", "X-Generated-By", "X-Framework", "X-Cms",
	"X-Joomla-Version", "X-Umbraco-Version", "X-Owa-Version", "X-Beserver", "X-Feserver", "X-Varnish-Backend", "X-Varnish-Server",
}
