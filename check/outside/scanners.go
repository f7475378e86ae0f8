package outside

import (
	"context"
	"fmt"
	"net/http"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
)

// scannersPaths are what scanners ask for, and spellings that lists of exact
// strings miss. Few, for each brings this address nearer to a ban: the guide's
// three are listed for a server that has none at all.
var scannersPaths = []string{"/.env", "/.ENV", "//.env", "/.env.bak", "/.git/HEAD", "/wp-login.php"}

// scanners sees whether what only scanners ask for reaches the application: it is
// answered there as any page that is not there.
var scanners = Check{
	Meta: check.Meta{
		ID:     "outside/scanners",
		Most:   8,
		Points: 60,
		Title:  "What only scanners ask for does not reach the API",
		Why:    "Each answer, a 404 too, tells a scanner what runs here, and costs more than it is worth.",
		Ref:    "CWE-538; ASVS 5.0 V13.4.1; OWASP API8 2023; blueprint E6, T7",
		Layer:  "edge",
		Spends: true,
	},
	Manner: Active,
	Verify: func(ctx context.Context, t *Target) check.Finding {
		const want = "the connection closed without an answer, or a refusal of the proxy's own, in every spelling"
		const fix = `in nginx, before the API's location, with merge_slashes on: location ~* (^|/)\.(?!well-known) { return 444; } and location ~* \.(php|bak|sql|swp)$ { return 444; }`
		client, _ := t.Client.Fresh()
		other := "/" + noPage()
		missing, err := client.Do(ctx, probe.Request{Target: other})
		if err != nil {
			return unanswered("GET "+other, err)
		}
		if missing.Status == http.StatusBadRequest || missing.Status == http.StatusMisdirectedRequest {
			return check.Unseen("GET %s, which is like any page, is refused already, %s", other, missing.Line())
		}
		if redirects(missing) {
			return check.Unseen("GET %s, which is like any page, is answered %s: what is asked there does not show", other, missing.Line())
		}
		closed, distinct := 0, 0
		for _, path := range scannersPaths {
			res, err := client.Do(ctx, probe.Request{Target: path})
			if err != nil {
				if ctx.Err() != nil || probe.IsTimeout(err) {
					return unanswered("GET "+path, err)
				}
				closed++
				if closed > 2 {
					break // seen; further ones only earn a ban
				}
				continue
			}
			if limited(res) {
				return check.Unseen("GET %s met a rate limit", path)
			}
			if sameAnswer(missing, res) || res.Status < 400 {
				return check.Failed(fmt.Sprintf("GET %s is answered %s, as any page of the API", path, res.Line()), want, fix)
			}
			distinct++
		}
		if closed > 0 {
			// That it was not simply down. The same address may be banned by now.
			again, _ := client.Fresh()
			if _, err := again.Do(ctx, probe.Request{Target: t.base()}); err != nil {
				return check.Unseen("%d scanners' paths were not answered, and neither was GET %s then: %v", closed, t.base(), err)
			}
		}
		return check.Passed("of %d scanners' paths %d were not answered and %d refused before the API", closed+distinct, closed, distinct)
	},
}
