package outside

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
)

// corsOrigins asks in the name of origins that nobody lists, with a request and
// with a preflight.
var corsOrigins = Check{
	Meta: check.Meta{
		ID:    "outside/cors",
		Most:  9,
		Title: "Pages of strangers cannot read answers with a visitor's credentials",
		Why:   "A page that a visitor opens elsewhere reads this API as that visitor.",
		Ref:   "Fetch standard, 3.3 (CORS protocol); ASVS 5.0 V3.4.2; OWASP API8 2023; CWE-942; blueprint A2, T5, checklist 4",
		Layer: "app",
	},
	Verify: func(ctx context.Context, t *Target) check.Finding {
		const want = "no Access-Control-Allow-Origin for an origin that is not on the list, and the same answer as without Origin or 403"
		const fix = "list exact origins: in Express cors({origin: ['https://app.example.com'], credentials: true}), with a function that passes false and no error for others"
		plain, err := t.Client.Do(ctx, probe.Request{Target: t.base()})
		if err != nil {
			return unanswered("GET "+t.base(), err)
		}
		site := t.site()
		origins := []string{
			"https://ringwall-check.invalid", "null", "https://" + site + ".ringwall-check.invalid", "https://ringwall-check-" + site,
			"http://ringwall-check." + site, "https://" + site + "@ringwall-check.invalid",
		}
		open := ""
		for i, origin := range origins {
			for _, preflight := range []bool{false, true} {
				if preflight && i > 1 {
					continue // what a preflight decides, a request decides alike
				}
				req := probe.Request{Target: t.base(), Headers: [][2]string{{"Origin", origin}}}
				asked := "GET " + t.base() + " with Origin: " + origin
				if preflight {
					req.Method = http.MethodOptions
					req.Headers = append(req.Headers, [2]string{"Access-Control-Request-Method", "DELETE"}, [2]string{"Access-Control-Request-Headers", "authorization"})
					asked = "a preflight of DELETE with Origin: " + origin
				}
				res, err := t.Client.Do(ctx, req)
				if err != nil {
					return unanswered(asked, err)
				}
				allowed := res.Header.Get("Access-Control-Allow-Origin")
				with := strings.EqualFold(strings.TrimSpace(res.Header.Get("Access-Control-Allow-Credentials")), "true")
				switch {
				case res.Status >= 500 && res.Status != http.StatusNotImplemented && plain.Status < 500: // 501 is of who knows no preflight
					return check.Failed(fmt.Sprintf("%s is answered %s, without Origin %d", asked, res.Line(), plain.Status), want, fix)
				case allowed == origin:
					more := ""
					if with {
						more = ", with credentials"
					}
					return check.Shown(asked+": the origin is allowed"+more, want, fix)
				case allowed == "*" && with:
					return check.Shown(asked+": * is allowed, with credentials", want, fix)
				case allowed == "*" && len(res.Header.Values("Set-Cookie")) > 0:
					return check.Shown(asked+": * is allowed, and the answer sets a cookie", want, fix)
				case allowed == "*" && (plain.Status == http.StatusUnauthorized || plain.Status == http.StatusForbidden):
					return check.Shown(asked+": * is allowed on what asks for credentials", want, fix)
				case allowed == "*":
					open = "; * is allowed, without credentials: whoever can reach it can read it"
				}
			}
		}
		return check.Passed("%d origins that nobody lists, null among them, were not allowed%s", len(origins), open)
	},
}
