package identity

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/policy"
	"github.com/ringwall/ringwall/store"
)

var (
	// errBadRefresh: the token continues nothing, 401. Nothing changed, unless
	// the account may not sign in any more: then the session has ended.
	errBadRefresh = errors.New("the refresh token is not good")
	// errReused: the token was used before, 401. Its session has ended.
	errReused = errors.New("the refresh token was used before; its session has ended")
	// errAccountChanged: the account was locked, deleted or got another password
	// or address since it was read. Read it and check the secret again.
	errAccountChanged = errors.New("the account changed during the sign-in")
)

const (
	// maxSessions is how many sessions of an account live at once: one more ends
	// the oldest.
	maxSessions = 50
	// sessionMemory is how long an ended session is kept, and with it the device
	// that it signed in from.
	sessionMemory = 90 * 24 * time.Hour

	maxUserAgent = 256 // bytes
)

// origin is where a request comes from.
type origin struct {
	Client    netip.Addr
	UserAgent string
	Device    string // sum of the device cookie, as deviceSum gives it; "": none
	RequestID string
}

// event is an event of this request.
func (o origin) event(kind audit.Kind, outcome audit.Outcome, subject, session, detail string) audit.Event {
	return audit.Event{Kind: kind, Outcome: outcome, Control: "identity/sessions", Client: o.Client,
		Subject: subject, Session: session, RequestID: o.RequestID, Detail: detail}
}

// A grant is what a sign-in or a refresh gives.
type grant struct {
	Access         string
	AccessExpires  time.Time
	Refresh        string
	RefreshExpires time.Time // the end of the session, however often it is refreshed
	Session        string
	Account        string
}

// sessions starts, continues and ends sessions, and records each in the sink:
// session.started, token.refreshed, token.reused, session.ended. When the store
// is out every method answers its error and nothing has changed.
type sessions struct {
	store  store.Store
	mint   func(a store.Account, sessionID string) (token string, expires time.Time, err error)
	sink   audit.Sink
	now    func() time.Time
	policy policy.Identity

	// ended is told the sessions that ended here, at once. It is set before the
	// first call.
	ended func(ids ...string)
}

func newSessions(p *policy.Policy, st store.Store, mint func(store.Account, string) (string, time.Time, error), sink audit.Sink, now func() time.Time) *sessions {
	return &sessions{store: st, mint: mint, sink: sink, now: now, policy: p.Identity, ended: func(...string) {}}
}

// start signs in an account whose secret was checked against a, as it was read
// then. It answers errAccountChanged when the account is another now, and the
// oldest session ends when there are too many.
func (s *sessions) start(ctx context.Context, a store.Account, from origin) (grant, error) {
	now := s.time()
	token := newRefreshToken(newFamily())
	f := store.Session{
		ID: token.sessionID(), AccountID: a.ID, Device: from.Device, UserAgent: cleanUserAgent(from.UserAgent), Client: from.Client.Unmap().WithZone(""),
		Created: now, Used: now, Expires: now.Add(s.policy.RefreshToken),
		Generation: 1, Current: token.sum(), Rotated: now,
	}
	var account store.Account
	err := s.store.CreateSession(ctx, f, maxSessions, func(b store.Account) error {
		if s.barred(b) != "" || b.PasswordHash != a.PasswordHash || b.Email != a.Email {
			return errAccountChanged
		}
		account = b
		return nil
	})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return grant{}, errAccountChanged
	case errors.Is(err, errAccountChanged):
		return grant{}, err
	case err != nil:
		return grant{}, fmt.Errorf("start a session: %w", err)
	}
	s.record(from.event(audit.SignedIn, audit.Success, a.ID, f.ID, ""))
	return s.grant(account, f, token)
}

// barred is the reason to end the sessions of an account that may not sign in,
// "" when it may.
func (s *sessions) barred(a store.Account) string {
	switch {
	case a.ID == "":
		return "deleted"
	case !a.Locked.IsZero():
		return "locked"
	case s.policy.VerifyEmail && a.Verified.IsZero():
		return "revoked"
	}
	return ""
}

func (s *sessions) grant(a store.Account, f store.Session, token refreshToken) (grant, error) {
	access, expires, err := s.mint(a, f.ID)
	if err != nil {
		return grant{}, fmt.Errorf("make an access token: %w", err)
	}
	return grant{Access: access, AccessExpires: expires, Refresh: token.String(), RefreshExpires: f.Expires, Session: f.ID, Account: a.ID}, nil
}

// prune removes sessions that ended long ago.
func (s *sessions) prune(ctx context.Context) (int, error) {
	return s.store.PruneSessions(ctx, s.time().Add(-sessionMemory))
}

// time is now as the store keeps it.
func (s *sessions) time() time.Time { return s.now().UTC().Truncate(time.Microsecond) }

func (s *sessions) record(e audit.Event) {
	e.Time = s.time()
	s.sink.Record(e)
}

// cleanUserAgent makes attackers' bytes fit to be stored and shown: valid
// UTF-8, nothing that does not print, at most maxUserAgent bytes.
func cleanUserAgent(ua string) string {
	ua = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, ua[:min(len(ua), 4*maxUserAgent)])
	if len(ua) > maxUserAgent {
		n := maxUserAgent
		for !utf8.RuneStart(ua[n]) {
			n--
		}
		ua = ua[:n]
	}
	return ua
}
