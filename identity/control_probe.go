package identity

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
)

// signedIn is an answer of login or refresh, as a client reads it.
type signedIn struct {
	AccessToken  string `json:"access_token"`
	ExpiresIn    int64  `json:"expires_in"`
	RefreshToken string `json:"refresh_token"`

	cookie  *http.Cookie
	noStore bool
}

// probeSignIn signs the probe's account in. Without a session it returns the
// finding to answer with.
func probeSignIn(ctx context.Context, c *probe.Client) (*signedIn, check.Finding) {
	a, ok := c.Account()
	if !ok {
		return nil, check.Unseen("no account was given to sign in with: --account EMAIL=@FILE, with its password in FILE")
	}
	res, err := probePost(ctx, c, "/api/auth/login", "", map[string]string{"email": a.Email, "password": a.Password})
	if err != nil {
		return nil, check.Unseen("no answer to POST /api/auth/login: %v", err)
	}
	if s := readSignedIn(res); s != nil {
		return s, check.Finding{}
	}
	switch res.Status {
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return nil, check.Failed("POST /api/auth/login was answered "+res.Line(), "200", "serve accounts: ringwall serve, with identity.registration in the policy")
	case http.StatusTooManyRequests:
		return nil, check.Unseen("POST /api/auth/login was answered 429: wait %s s and check again", retryAfter(res))
	}
	return nil, check.Unseen("the account given was not signed in: %s", res.Line())
}

// readSignedIn is nil when nobody was signed in.
func readSignedIn(res *probe.Response) *signedIn {
	s := new(signedIn)
	if res.Status != http.StatusOK || json.Unmarshal(res.Body, s) != nil || s.AccessToken == "" {
		return nil
	}
	for _, k := range (&http.Response{Header: res.Header}).Cookies() {
		if k.Name == refreshCookie {
			s.cookie = k
		}
	}
	s.noStore = strings.Contains(strings.ToLower(res.Header.Get("Cache-Control")), "no-store")
	return s
}

func (s *signedIn) signOut(ctx context.Context, c *probe.Client) (*probe.Response, error) {
	return probePostCookie(ctx, c, "/api/auth/logout", s.value())
}

func (s *signedIn) value() string {
	if s.cookie == nil {
		return ""
	}
	return s.cookie.Value
}

// probePost sends a JSON object; token may be empty. A server that is busy with
// other passwords, such as those of other proofs, is asked again when it says.
func probePost(ctx context.Context, c *probe.Client, path, token string, fields any) (*probe.Response, error) {
	body, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	for tries := 0; ; tries++ {
		res, err := c.Do(ctx, probe.Request{Method: http.MethodPost, Target: path, Token: token, Body: string(body),
			Headers: [][2]string{{"Content-Type", "application/json"}}})
		if err != nil || res.Status != http.StatusServiceUnavailable || tries == busyTries {
			return res, err
		}
		seconds, err := strconv.Atoi(res.Header.Get("Retry-After"))
		if err != nil || seconds < 0 || seconds > 10 {
			return res, nil
		}
		select {
		case <-time.After(time.Duration(seconds) * time.Second):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// busyTries is how often a busy server is asked again, which says 2 seconds: a
// small one has a hash done in a tenth of a second, and 64 wait.
const busyTries = 10

// probePostCookie sends nothing but the refresh cookie, as a page of the
// site's own would. A limit that this address has used up is an error: it says
// nothing of the session.
func probePostCookie(ctx context.Context, c *probe.Client, path, value string) (*probe.Response, error) {
	res, err := c.Do(ctx, probe.Request{Method: http.MethodPost, Target: path, Headers: [][2]string{
		{"Cookie", refreshCookie + "=" + value}, {"Sec-Fetch-Site", "same-origin"}, {"Content-Length", "0"}}})
	if err == nil && res.Status == http.StatusTooManyRequests {
		return nil, fmt.Errorf("but 429, by the limit of this address: wait %s s and check again", retryAfter(res))
	}
	return res, err
}

func retryAfter(res *probe.Response) string {
	if n, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil {
		return strconv.Itoa(n)
	}
	return "some"
}

// unknownAddress is one that has no account, in a domain that never will
// (RFC 2606).
func unknownAddress() string { return strings.ToLower(rand.Text()) + "@ringwall-check.invalid" }

// probeOver reports whether the session's access token is refused by now: a
// second is allowed, and one more for the way.
func probeOver(ctx context.Context, c *probe.Client, s *signedIn, fix string) (check.Finding, bool) {
	const path = "/api/me"
	for deadline := time.Now().Add(2 * time.Second); ; {
		res, err := c.Do(ctx, probe.Request{Target: path, Token: s.AccessToken})
		if err != nil {
			return check.Unseen("no answer to GET %s: %v", path, err), false
		}
		if res.Status == http.StatusUnauthorized {
			return check.Finding{}, true
		}
		if time.Now().After(deadline) {
			return check.Failed("2 s later the session's access token was answered "+res.Line(), "401 within a second", fix), false
		}
		select {
		case <-time.After(250 * time.Millisecond):
		case <-ctx.Done():
			return check.Unseen("%v", ctx.Err()), false
		}
	}
}
