package outside

import (
	"context"
	"net/http"
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
)

// bodySize posts 2 MB of JSON, ten times what the blueprint allows, and more than
// a common proxy's 1 MB.
var bodySize = Check{
	Meta: check.Meta{
		ID:     "outside/body",
		Most:   11,
		Points: 8,
		Title:  "Bodies far too large are refused",
		Why:    "A few clients that send large bodies fill the memory that everybody needs.",
		Ref:    "RFC 9110, 15.5.14; ASVS 5.0 V2.4.1; OWASP API4 2023; CWE-770; blueprint A7, T2, checklist 5",
		Layer:  "app",
	},
	Manner: Active,
	Verify: func(ctx context.Context, t *Target) check.Finding {
		const fix = "in nginx: client_max_body_size 200k; in Express: express.json({limit: '200kb'})"
		path, signIn := strings.SplitN(t.base(), "?", 2)[0], false
		if e, _, err := t.signIn(ctx); err == nil && e != nil {
			path, signIn = e.path, true
		}
		send := func(n int) (*probe.Response, error) {
			return t.Client.Do(ctx, probe.Request{Method: http.MethodPost, Target: path, Headers: [][2]string{{"Content-Type", "application/json"}},
				Body: `{"email":"` + strings.Repeat("a", n) + `"}`})
		}
		small, err := send(100)
		if err != nil {
			return unanswered("POST "+path+" of 100 bytes", err)
		}
		if small.Status == http.StatusRequestEntityTooLarge {
			return check.Unseen("POST %s of 100 bytes is answered 413 already", path)
		}
		large, err := send(2_000_000)
		switch {
		case err != nil:
			if again, err := send(100); err != nil {
				return unanswered("POST "+path+" of 100 bytes, after one of 2 MB", err)
			} else if again.Status != small.Status {
				return check.Unseen("the connection ended in 2 MB, and then 100 bytes were answered %s", again.Line())
			}
			return check.Passed("the connection was closed in a body of 2 MB; 100 bytes are answered %s", small.Line())
		case large.Status == http.StatusRequestEntityTooLarge:
			return check.Passed("2 MB to %s are answered 413, 100 bytes %s", path, small.Line())
		case large.Status == http.StatusTooManyRequests || large.Status == http.StatusServiceUnavailable:
			return check.Unseen("2 MB to %s met another limit, %s", path, large.Line())
		case large.Status == small.Status && (redirects(large) || refusedUnread(large.Status, signIn)):
			return check.Unseen("2 MB to %s are answered %s as 100 bytes are: whether they are read does not show; name a path in the URL that takes a body", path, large.Line())
		}
		return check.Failed("2 MB of JSON to "+path+" are answered "+large.Line()+", 100 bytes "+small.Line(), "413", fix)
	},
}

// refusedUnread are answers that come without a look at the body. Where accounts
// sign in, 401 comes of a look at it.
func refusedUnread(status int, signIn bool) bool {
	switch status {
	case http.StatusUnauthorized:
		return !signIn
	case http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return true
	}
	return false
}
