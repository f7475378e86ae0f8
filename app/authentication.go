package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/bearer"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// A Caller is who a request comes from, as its verified token says.
type Caller = bearer.Caller

// A Verifier knows whose bearer token this is; its contract is bearer.Verifier's.
type Verifier = bearer.Verifier

// nobody is the Verifier of a ring that was given none: it fails closed.
type nobody struct{}

func (nobody) Verify(context.Context, string) (*Caller, error) {
	return nil, errors.New("no verifier is configured")
}

// authentication makes the caller of a request known by the bearer token in
// its Authorization header, and by nothing else: not by a token in the query or
// the body (RFC 6750, 2.2 and 2.3 are not obeyed), not by a header that names
// somebody.
//
// No Authorization header, or an empty one, is an anonymous request. Anything
// else that is not one good token is answered 401, on public routes too: who
// sends a token means to be somebody, and must learn that it is not so. When
// the verifier cannot tell, the answer is 503.
//
// A good token past its time, or whose session has ended, is 401 as well, but on
// a route that anyone may call it counts as none, and the handler does not see
// it: a client that sends its token with every request can then refresh it, or
// sign in again. There is an event all the same, auth.expired, which is no sign
// of an attack.
var authentication = Control{
	Meta: check.Meta{
		ID:     "app/authentication",
		Most:   7,
		Points: 31,
		Title:  "Only a verified token makes a caller",
		Why:    "A forged, altered or foreign token would otherwise be anybody's account.",
		Ref:    "RFC 6750; RFC 9110, 11.6; ASVS 5.0 V9.1.1, V9.1.2; OWASP API2 2023; blueprint A3, T6",
	},
	Wrap: func(_ *policy.Policy, deps Deps) (Middleware, error) {
		return func(next Handler) Handler {
			return func(x *Exchange) {
				token, err := bearerToken(x.R.Header["Authorization"])
				if err != nil {
					x.refuseToken(err, false)
					return
				}
				if token != "" {
					caller, err := deps.Verifier.Verify(x.R.Context(), token)
					if err == nil && caller == nil {
						err = errors.New("the verifier knows no caller")
					}
					switch {
					case err == nil:
						x.know(caller)
					case x.Route.Public && (errors.Is(err, bearer.ErrExpired) || errors.Is(err, bearer.ErrRevoked)):
						delete(x.R.Header, "Authorization")
						x.Event(audit.AuthExpired, audit.Failure, "app/authentication", 0, "on a route that anyone may call: the caller counts as nobody")
					default:
						x.refuseToken(err, strings.Count(token, ".") == 2) // RFC 7515, 7.1
						return
					}
				}
				next(x)
			}
		}, nil
	},
	Value: func(_ *policy.Policy, r *Route) string {
		if r.Public {
			return "Authorization: Bearer; an absent header, an expired token and one of an ended session are nobody, anything else is 401"
		}
		return "Authorization: Bearer; anything else but an absent header is 401"
	},
	Verify: verifyAuthentication,
}

// know fills in the caller. app/timeout may be answering meanwhile.
func (x *Exchange) know(c *Caller) {
	x.Answer.lock()
	x.Caller = c
	x.Answer.unlock()
}

// challenges are the values of WWW-Authenticate (RFC 6750, 3).
type challenges struct {
	none      []string // no token was sent: no error code, as section 3.1 asks
	malformed []string
	invalid   []string
	expired   []string
}

func newChallenges(site string) challenges {
	realm := `Bearer realm="` + site + `"`
	return challenges{
		none:      []string{realm},
		malformed: []string{realm + `, error="invalid_request"`},
		invalid:   []string{realm + `, error="invalid_token"`},
		expired:   []string{realm + `, error="invalid_token", error_description="The access token expired"`},
	}
}

var (
	errScheme = errors.New("the Authorization scheme is not Bearer")
	errTwice  = errors.New("there is more than one Authorization header")
	retrySoon = []string{"5"} // seconds
)

// refuseToken answers a request whose credential does not verify. A forged token,
// one in the form of a signed one, is told from others in the event: clients
// with a mistake of their own send "undefined" and "null", and not that.
func (x *Exchange) refuseToken(err error, signed bool) {
	c := &x.ring.challenges
	challenge, d := c.invalid, Denied{Control: "app/authentication", Kind: audit.AuthFailed,
		Status: http.StatusUnauthorized, Detail: "The access token is not valid.", Err: err}
	switch {
	case errors.Is(err, bearer.ErrUnavailable):
		x.ring.deps.Log.LogAttrs(context.Background(), slog.LevelError, "tokens cannot be verified",
			slog.String("error", err.Error()), slog.String("ringwall.request_id", x.ID))
		x.Answer.Set("Retry-After", retrySoon)
		d.Kind, d.Status, d.Detail = "", http.StatusServiceUnavailable, "The access token cannot be verified at the moment."
		x.Deny(d)
		return
	case errors.Is(err, bearer.ErrExpired):
		challenge, d.Kind, d.Detail = c.expired, audit.AuthExpired, "The access token expired."
	case errors.Is(err, bearer.ErrRevoked): // its owner has signed out elsewhere: no sign of an attack either
		d.Kind = audit.AuthExpired
	case errors.Is(err, errScheme):
		challenge, d.Detail = c.none, "Only bearer tokens are accepted."
	case errors.Is(err, errTwice):
		challenge, d.Status, d.Detail = c.malformed, http.StatusBadRequest, "There is more than one Authorization header."
	case signed:
		d.Kind = audit.TokenForged
	}
	x.Answer.Set("Www-Authenticate", challenge)
	x.Deny(d)
}

// bearerToken returns the token of an Authorization header, "" when there is
// none to speak of. The scheme's case does not matter (RFC 9110, 11.1).
func bearerToken(header []string) (string, error) {
	if len(header) == 0 {
		return "", nil
	}
	if len(header) > 1 {
		return "", errTwice
	}
	v := header[0]
	if len(v) > bearer.MaxToken+len("Bearer ") {
		return "", errors.New("the Authorization header is longer than 8 kB")
	}
	if v = strings.Trim(v, " \t"); v == "" {
		return "", nil
	}
	scheme, token, _ := strings.Cut(v, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", errScheme
	}
	if token = strings.TrimLeft(token, " "); !isB64Token(token) {
		return "", errors.New("the bearer token is empty or has characters that no token has")
	}
	return token, nil
}

// isB64Token tells the grammar of RFC 6750, 2.1: letters, digits and -._~+/,
// then any number of equals signs.
func isB64Token(s string) bool {
	s = strings.TrimRight(s, "=")
	for i := range len(s) {
		if !b64Token[s[i]] {
			return false
		}
	}
	return s != ""
}

var b64Token = func() (set [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/") {
		set[c] = true
	}
	return set
}()

// verifyAuthentication shows a route tokens that must not make a caller, and
// one that must.
func verifyAuthentication(ctx context.Context, p *policy.Policy, c *probe.Client) check.Finding {
	t, err := probeTarget(p, c, http.MethodGet)
	if err != nil {
		return check.Unseen("%v", err)
	}
	fix := "put the app ring in front of the API, or verify tokens there"
	good, who := c.Token(""), "a good token"
	if good == "" {
		if who = "no token"; !t.route.Public {
			return check.Unseen("no token was given, so none could be seen to be accepted: give `ringwall check` one")
		}
	}
	res, err := c.Do(ctx, probe.Request{Target: t.path, Token: good})
	if err != nil {
		return check.Unseen("no answer to GET %s: %v", t.path, err)
	}
	if res.Status == http.StatusUnauthorized {
		return check.Failed(fmt.Sprintf("GET %s with %s was answered 401", t.path, who), "a caller", "check issuer, audience, keys and clock")
	}
	forged := [][2]string{
		{"a token of nobody's", "bm90.YQ.dG9rZW4"},
		{"a token signed by none", "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.eyJzdWIiOiJhZG1pbiIsImV4cCI6OTk5OTk5OTk5OX0."},
	}
	if i := len(good) - 20; i > 0 {
		// Not the last character, some of whose bits may stand for nothing.
		other := "A"
		if good[i] == 'A' {
			other = "B"
		}
		forged = append(forged, [2]string{"an altered token", good[:i] + other + good[i+1:]})
	}
	if !t.route.Public { // where an expired one would be nobody's
		for i, token := range c.Refused() {
			forged = append(forged, [2]string{fmt.Sprintf("token %d of --refused-token", i+1), token})
		}
	}
	for _, f := range forged {
		res, err := c.Do(ctx, probe.Request{Target: t.path, Token: f[1]})
		if err != nil {
			return check.Unseen("no answer to GET %s: %v", t.path, err)
		}
		if challenge := res.Header.Get("Www-Authenticate"); res.Status != http.StatusUnauthorized || !strings.Contains(challenge, "invalid_token") {
			return check.Failed(fmt.Sprintf("GET %s with %s was answered %s", t.path, f[0], res.Line()),
				`401 with WWW-Authenticate: Bearer error="invalid_token"`, fix)
		}
	}
	return check.Passed("%d bad tokens were answered 401 on GET %s, %s %d", len(forged), t.path, who, res.Status)
}
