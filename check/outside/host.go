package outside

import (
	"context"
	"net/http"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
)

// names asks for the API in the name of hosts that are not the site's: one that
// nobody has, and the bare address.
var names = Check{
	Meta: check.Meta{
		ID:     "outside/host",
		Most:   7,
		Points: 4,
		Title:  "The API answers to its own name only",
		Why:    "Scanners ask for bare addresses; a Host of the attacker's choice ends in password-reset links, caches and DNS rebinding.",
		Ref:    "RFC 9110, 7.2 and 7.4; ASVS 5.0 V4.1.3; OWASP API8 2023; CWE-644; blueprint E1, E4, T7, T8, checklist 3",
		Layer:  "edge",
	},
	Manner: Active,
	Verify: func(ctx context.Context, t *Target) check.Finding {
		const want = "421, 400, 403, 404 of no API, or a closed connection"
		const fix = "in nginx a first server block: server { listen 443 ssl default_server; ssl_reject_handshake on; }, and one for 80 with return 444"
		own, err := t.Client.Do(ctx, probe.Request{Target: t.base()})
		if err != nil {
			return unanswered("GET "+t.base(), err)
		}
		if own.Status == http.StatusBadRequest || own.Status == http.StatusMisdirectedRequest {
			return check.Unseen("the site itself is answered %s: others can be given no less", own.Line())
		}
		hosts := []string{"ringwall-check.invalid"}
		if addrs, err := t.addresses(ctx); err == nil && !t.local() {
			for _, a := range oneOfEach(addrs) {
				hosts = append(hosts, bracket(a))
			}
		}
		for _, host := range hosts {
			res, err := t.Client.Do(ctx, probe.Request{Target: t.base(), Host: host})
			if err != nil {
				// Closed. That it is up was seen before, and is seen again.
				if _, err := t.Client.Do(ctx, probe.Request{Target: t.base()}); err != nil {
					return unanswered("GET "+t.base()+" for "+t.site(), err)
				}
				continue
			}
			if sameAnswer(own, res) && redirects(own) {
				return check.Unseen("GET %s redirects for the host %s as for the site, %s: name a path in the URL that is served", t.base(), host, res.Line())
			}
			if sameAnswer(own, res) {
				return check.Failed("GET "+t.base()+" for the host "+host+" gets what the site gets, "+res.Line(), want, fix)
			}
		}
		return check.Passed("%d other hosts do not get what %s gets (%s)", len(hosts), t.site(), own.Line())
	},
}

// redirects reports whether an answer sends its client elsewhere: who would answer
// there is not seen.
func redirects(res *probe.Response) bool { return res.Status >= 300 && res.Status < 400 }

// sameAnswer reports whether two answers come from one place: status, kind and
// length alike, give or take what counts up.
func sameAnswer(a, b *probe.Response) bool {
	if a.Status != b.Status || a.Header.Get("Content-Type") != b.Header.Get("Content-Type") {
		return false
	}
	if a.Status == http.StatusBadRequest || a.Status == http.StatusMisdirectedRequest {
		return false // refused
	}
	d := len(a.Body) - len(b.Body)
	return d > -40 && d < 40
}
