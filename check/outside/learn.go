package outside

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
)

// guardedPath is one that nobody may ask for without a token.
type guardedPath struct {
	path   string
	status int // 401 or 403
}

const nothingGuarded = "no path was found that asks for a token; name one in the URL, such as https://api.example.com/v1/orders"

// guardedGuesses are where APIs keep what is a caller's own.
var guardedGuesses = []string{"/api/me", "/api/users", "/api/admin", "/api/notes", "/me", "/users", "/admin", "/api/v1/users", "/api/v1/me"}

// guarded finds a path that is answered 401 or 403 without a token: the user's
// own, or one of those that many APIs have. It is nil when there is none. Where all
// of them are 403 it is not the API that refuses, as far as anybody sees: something
// before it may have shut this address out.
func (t *Target) guarded(ctx context.Context) (*guardedPath, []check.Exchange, error) {
	return t.learnt.guarded.get(ctx, func(ctx context.Context) (*guardedPath, error) {
		var forbidden *guardedPath
		others := false
		for _, path := range append([]string{t.base()}, guardedGuesses...) {
			res, err := t.Client.Do(ctx, probe.Request{Target: path})
			if err != nil {
				return nil, fmt.Errorf("no answer to GET %s: %w", path, err)
			}
			switch {
			case res.Status == http.StatusUnauthorized:
				return &guardedPath{path, res.Status}, nil
			case res.Status != http.StatusForbidden:
				others = true
			case path != "/" && forbidden == nil:
				forbidden = &guardedPath{path, res.Status}
			}
			if forbidden != nil && others {
				return forbidden, nil
			}
		}
		return nil, nil
	})
}

// entry is where callers sign in.
type entry struct {
	path   string
	status int // of an unknown account
}

var entryGuesses = []string{"/api/auth/login", "/auth/login", "/api/login", "/login", "/api/v1/auth/login", "/api/sessions", "/users/login"}

// signIn finds where accounts sign in, by trying one that nobody has.
func (t *Target) signIn(ctx context.Context) (*entry, []check.Exchange, error) {
	return t.learnt.entry.get(ctx, func(ctx context.Context) (*entry, error) {
		var other *probe.Response // to a post where nobody takes one, asked for once
		for _, path := range entryGuesses {
			res, err := t.Client.Do(ctx, loginRequest(path))
			if err != nil {
				return nil, fmt.Errorf("no answer to POST %s: %w", path, err)
			}
			switch res.Status {
			case http.StatusOK, http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusUnprocessableEntity, http.StatusTooManyRequests:
				// Where all is refused alike, a sign-in is not.
				if other == nil {
					if other, err = t.Client.Do(ctx, loginRequest("/"+noPage())); err != nil {
						return nil, fmt.Errorf("no answer to POST of a page that is not there: %w", err)
					}
				}
				if other.Status != res.Status || string(other.Body) != string(res.Body) && len(other.Body) != len(res.Body) {
					return &entry{path, res.Status}, nil
				}
			}
		}
		return nil, nil
	})
}

func loginRequest(path string) probe.Request {
	return probe.Request{Method: http.MethodPost, Target: path,
		Headers: [][2]string{{"Content-Type", "application/json"}},
		// A domain that never is (RFC 2606), so that nobody's account is tried.
		Body: fmt.Sprintf(`{"email":"%s@ringwall-check.invalid","password":"%s"}`, strings.ToLower(rand.Text()[:10]), rand.Text())}
}

func (g *guardedPath) statusLine() string {
	return fmt.Sprintf("%d %s", g.status, http.StatusText(g.status))
}
