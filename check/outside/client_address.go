package outside

import (
	"context"
	"fmt"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
)

// clientAddress sees whether the limit that the API tells of is counted by an
// address that the client can write, and, where a second address can be had,
// whether two clients share one count.
var clientAddress = Check{
	Meta: check.Meta{
		ID:     "outside/client-address",
		Most:   20,
		Points: 8,
		Title:  "A limit is counted for each client, by an address that it cannot write",
		Why:    "Who writes X-Forwarded-For gets a fresh limit with each request; where all clients look like the proxy, one of them uses up everybody's.",
		Ref:    "RFC 7239, 8.1; ASVS 5.0 V4.1.3; OWASP API4 2023; CWE-348; blueprint A6, E4, T1, T2, T8, checklist 3, checklist 6",
		Layer:  "app",
	},
	Manner: Active,
	NoRing: true,
	Verify: func(ctx context.Context, t *Target) check.Finding {
		const fix = "in Express: app.set('trust proxy', 1), with nginx's proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for"
		path, first, err := t.limitedPath(ctx)
		if err != nil {
			return check.Unseen("%v", err)
		}
		if path == "" {
			return check.Unseen("no answer tells of a limit, so that it cannot be seen by what it counts")
		}
		_, before := limits(first)
		ask := func(c *probe.Client, headers ...[2]string) (int, error) {
			res, err := c.Do(ctx, probe.Request{Target: path, Headers: headers})
			if err != nil {
				return 0, err
			}
			_, left := limits(res)
			return left, nil
		}
		// Forged headers, each another: the count must go on all the same.
		last := before
		for i := range 4 {
			forged := fmt.Sprintf("203.0.113.%d", 10+i)
			left, err := ask(t.Client, [2]string{"X-Forwarded-For", forged}, [2]string{"X-Real-IP", forged}, [2]string{"Forwarded", "for=" + forged}, [2]string{"True-Client-IP", forged}, [2]string{"CF-Connecting-IP", forged})
			if err != nil {
				return unanswered("GET "+path, err)
			}
			if left < 0 {
				return check.Unseen("some answers of GET %s tell of a limit, others do not", path)
			}
			if left >= before && before > 0 && i > 0 {
				var plain [2]int
				for j := range plain {
					if plain[j], err = ask(t.Client); err != nil {
						return unanswered("GET "+path, err)
					}
				}
				if plain[1] >= plain[0] {
					return check.Unseen("the limit of GET %s refills as fast as it is asked, so that it cannot be seen by what it counts: %d, then %d requests are left", path, plain[0], plain[1])
				}
				return check.Failed(fmt.Sprintf("with a forged X-Forwarded-For %d requests are left, as many as at first: each forged address has its own limit", left), "one count for the client", fix)
			}
			last = left
		}
		got := fmt.Sprintf("4 requests with forged addresses of a client: from %d left to %d", before, last)
		other, fresh := t.Client.Fresh()
		if !fresh {
			return check.Passed("%s; a second client could not be had", got)
		}
		left, err := ask(other)
		if err != nil {
			return unanswered("a second client's GET "+path, err)
		}
		if left >= 0 && left < last {
			return check.Failed(fmt.Sprintf("a second client has %d requests left, and the first had %d: they share one limit", left, last), "a count for each client", fix)
		}
		return check.Passed("%s; a second client has %d", got, left)
	},
}

// limitedPath is one whose answers tell of a limit, the user's own first. Where there
// is none it is "", with the answer to the user's own.
func (t *Target) limitedPath(ctx context.Context) (string, *probe.Response, error) {
	candidates := []string{t.base(), "/" + noPage(), "/api/" + noPage()}
	if g, _, err := t.guarded(ctx); err == nil && g != nil {
		candidates = append(candidates, g.path)
	}
	var own *probe.Response
	for _, path := range candidates {
		res, err := t.Client.Do(ctx, probe.Request{Target: path})
		if err != nil {
			return "", nil, fmt.Errorf("no answer to GET %s: %w", path, err)
		}
		if _, left := limits(res); left > 0 {
			return path, res, nil
		}
		if own == nil {
			own = res
		}
	}
	return "", own, nil
}
