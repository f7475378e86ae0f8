package identity

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/policy"
	"github.com/ringwall/ringwall/store"
	"github.com/ringwall/ringwall/store/sqlitestore"
)

// sessionTest is a store with sessions on it, a clock and what was recorded.
type sessionTest struct {
	t     failer
	store store.Store
	*sessions
	window time.Duration

	mu     sync.Mutex
	clock  time.Time
	events []audit.Event
	told   []string
	mints  int
	fail   error // of the next mint
}

var sessionStart = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func openSessionStore(t testing.TB) store.Store {
	t.Helper()
	st, err := sqlitestore.Open(context.Background(), filepath.Join(QuickDir(t), "s.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return st
}

// failer is a test or one example of a property.
type failer interface {
	Helper()
	Errorf(string, ...any)
	Fatal(...any)
	Fatalf(string, ...any)
}

func newSessionTest(t failer, st store.Store) *sessionTest {
	p := &policy.Policy{}
	p.Identity.RefreshToken = 30 * 24 * time.Hour
	p.Identity.RetryWindow = 30 * time.Second
	p.Identity.VerifyEmail = true
	e := &sessionTest{t: t, store: st, clock: sessionStart, window: p.Identity.RetryWindow}
	e.sessions = newSessions(p, st, e.mintFor, e, e.time)
	e.ended = func(ids ...string) { e.mu.Lock(); e.told = append(e.told, ids...); e.mu.Unlock() }
	return e
}

func (e *sessionTest) time() time.Time { e.mu.Lock(); defer e.mu.Unlock(); return e.clock }

func (e *sessionTest) pass(d time.Duration) { e.mu.Lock(); e.clock = e.clock.Add(d); e.mu.Unlock() }

func (e *sessionTest) Record(v audit.Event) {
	e.mu.Lock()
	e.events = append(e.events, v)
	e.mu.Unlock()
}

// mintFor makes an access token that says what it was made of.
func (e *sessionTest) mintFor(a store.Account, session string) (string, time.Time, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mints++
	if err := e.fail; err != nil {
		e.fail = nil
		return "", time.Time{}, err
	}
	return fmt.Sprintf("%s %s %s #%d", a.ID, session, strings.Join(a.Roles, ","), e.mints), e.clock.Add(10 * time.Minute), nil
}

func (e *sessionTest) kinds() (k []audit.Kind) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, v := range e.events {
		k = append(k, v.Kind)
	}
	return k
}

func (e *sessionTest) count(kind audit.Kind) (n int) {
	for _, k := range e.kinds() {
		if k == kind {
			n++
		}
	}
	return n
}

// account makes one that may sign in.
func (e *sessionTest) account() store.Account {
	e.t.Helper()
	id := newFamily()
	a := store.Account{ID: id, Email: id + "@example.com", PasswordHash: "$argon2id$of-" + id, Roles: []string{"user"},
		Verified: sessionStart, Created: sessionStart, Updated: sessionStart}
	if err := e.store.CreateAccount(context.Background(), a); err != nil {
		e.t.Fatal(err)
	}
	return a
}

// change changes an account and ends no session of it.
func (e *sessionTest) change(id string, change func(*store.Account)) {
	e.t.Helper()
	_, err := e.store.UpdateAccount(context.Background(), id, e.time(), func(a *store.Account) (store.End, error) { change(a); return store.End{}, nil })
	if err != nil {
		e.t.Fatal(err)
	}
}

func (e *sessionTest) signIn(a store.Account) grant {
	e.t.Helper()
	g, err := e.start(context.Background(), a, origin{Client: netip.MustParseAddr("192.0.2.7"), UserAgent: "curl/8", RequestID: "r1"})
	if err != nil {
		e.t.Fatal(err)
	}
	return g
}

func (e *sessionTest) mustRefresh(token string) grant {
	e.t.Helper()
	g, err := e.refresh(context.Background(), token, origin{})
	if err != nil {
		e.t.Fatalf("refresh: %v", err)
	}
	return g
}

func (e *sessionTest) refused(token string, want error) {
	e.t.Helper()
	if g, err := e.refresh(context.Background(), token, origin{Client: netip.MustParseAddr("203.0.113.9"), RequestID: "r9"}); !errors.Is(err, want) || g != (grant{}) {
		e.t.Errorf("refresh: %v, %v; want %v", g, err, want)
	}
}

func (e *sessionTest) row(id string) store.Session {
	e.t.Helper()
	f, err := e.store.Session(context.Background(), id)
	if err != nil {
		e.t.Fatal(err)
	}
	return f
}

func (e *sessionTest) endsWith(id, reason string) {
	e.t.Helper()
	if f := e.row(id); f.Ended.IsZero() || f.EndReason != reason || f.Successor != nil {
		e.t.Errorf("the session ended %v for %q with successor %x, want the reason %q", f.Ended, f.EndReason, f.Successor, reason)
	}
}

func TestSignInAndRefresh(t *testing.T) {
	e := newSessionTest(t, openSessionStore(t))
	a := e.account()
	g := e.signIn(a)
	if g.Account != a.ID || !strings.Contains(g.Access, a.ID+" "+g.Session+" user") || !g.RefreshExpires.Equal(sessionStart.Add(30*24*time.Hour)) ||
		!g.AccessExpires.Equal(sessionStart.Add(10*time.Minute)) {
		t.Errorf("got %+v", g)
	}
	f := e.row(g.Session)
	if f.AccountID != a.ID || f.UserAgent != "curl/8" || f.Client != netip.MustParseAddr("192.0.2.7") || f.Generation != 1 || f.Previous != nil || f.Successor != nil {
		t.Errorf("stored %+v", f)
	}
	seen := map[string]bool{g.Refresh: true}
	for i := range 5 {
		e.pass(10 * time.Minute)
		h := e.mustRefresh(g.Refresh)
		if seen[h.Refresh] || h.Session != g.Session || h.Access == g.Access || !h.RefreshExpires.Equal(g.RefreshExpires) {
			t.Errorf("refresh %d gives %+v after %+v", i, h, g)
		}
		seen[h.Refresh] = true
		g = h
		if f := e.row(g.Session); f.Generation != int64(i+2) || !f.Used.Equal(e.time()) || !f.Rotated.Equal(e.time()) {
			t.Errorf("stored %+v", f)
		}
	}
	// Nothing at rest is a token.
	f = e.row(g.Session)
	for token := range seen {
		r, _ := parseRefreshToken(token)
		for _, b := range [][]byte{f.Current, f.Previous, f.Successor} {
			if bytes.Contains(b, r.secret[:16]) || bytes.Contains(b, []byte(token[31:50])) {
				t.Error("a token is at rest")
			}
		}
	}
	if err := e.endByToken(t.Context(), g.Refresh, origin{}); err != nil {
		t.Fatal(err)
	}
	e.endsWith(g.Session, "logout")
	for token := range seen {
		e.refused(token, errBadRefresh)
	}
	if e.count(audit.SignedIn) != 1 || e.count(audit.TokenRefreshed) != 5 || e.count(audit.SignedOut) != 1 || len(e.events) != 7 {
		t.Errorf("recorded %v", e.kinds())
	}
	if len(e.told) != 1 || e.told[0] != g.Session {
		t.Errorf("told of the end of %v", e.told)
	}
}

// The same 50 requests leave a browser with many tabs, or a bad network.
func TestTrapRefreshRace(t *testing.T) {
	e := newSessionTest(t, openSessionStore(t))
	first := e.signIn(e.account())
	got := make([]grant, 50)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			var err error
			if got[i], err = e.refresh(t.Context(), first.Refresh, origin{}); err != nil {
				t.Errorf("refresh %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	access := map[string]bool{}
	for _, g := range got {
		if g.Refresh != got[0].Refresh {
			t.Fatal("two successors")
		}
		access[g.Access] = true
	}
	if len(access) != len(got) {
		t.Errorf("%d access tokens for %d answers", len(access), len(got))
	}
	if f := e.row(first.Session); f.Generation != 2 {
		t.Errorf("generation %d, want 2", f.Generation)
	}
	e.mustRefresh(got[0].Refresh)
}

func TestTrapRefreshLostResponse(t *testing.T) {
	e := newSessionTest(t, openSessionStore(t))
	a := e.account()
	first := e.signIn(a)
	lost := e.mustRefresh(first.Refresh)
	e.change(a.ID, func(a *store.Account) { a.Roles = []string{"user", "editor"} })
	e.pass(e.window)
	again := e.mustRefresh(first.Refresh)
	if again.Refresh != lost.Refresh || again.Access == lost.Access || !strings.Contains(again.Access, "user,editor") {
		t.Errorf("the retry gives %+v, lost was %+v", again, lost)
	}
	if f := e.row(first.Session); f.Generation != 2 || !f.Rotated.Equal(sessionStart) {
		t.Errorf("a retry rotates, or prolongs the window: %+v", f)
	}
	// The answer is lost in the server: the access token could not be made.
	e.fail = errors.New("no key")
	if _, err := e.refresh(t.Context(), again.Refresh, origin{}); err == nil {
		t.Fatal("no error")
	}
	e.mustRefresh(e.mustRefresh(again.Refresh).Refresh)
	if e.count(audit.TokenReused) != 0 {
		t.Error("an honest client is called a thief")
	}
}

// Who knows a session's ID, from an access token or a log, cannot end it.
func TestSessionIDIsNoWeapon(t *testing.T) {
	e := newSessionTest(t, openSessionStore(t))
	g := e.signIn(e.account())
	e.refused(newRefreshToken(g.Session).String(), errBadRefresh)
	if strings.Contains(g.Refresh, g.Session) {
		t.Error("the token names the session's ID")
	}
	e.mustRefresh(g.Refresh)
	if e.count(audit.TokenReused) != 0 {
		t.Error("a guess is recorded as theft")
	}
}

func TestTrapRefreshReuse(t *testing.T) {
	for name, use := range map[string]func(e *sessionTest, tokens []string) string{
		"the previous token after the window":     func(e *sessionTest, k []string) string { e.pass(e.window + time.Microsecond); return k[2] },
		"the one before it, at once":              func(e *sessionTest, k []string) string { return k[1] },
		"the first, at once":                      func(e *sessionTest, k []string) string { return k[0] },
		"an invented secret of the family":        func(e *sessionTest, k []string) string { return newRefreshToken(k[0][4:30]).String() },
		"the previous, clock back by two windows": func(e *sessionTest, k []string) string { e.pass(-2 * e.window); return k[2] },
	} {
		t.Run(name, func(t *testing.T) {
			e := newSessionTest(t, openSessionStore(t))
			a := e.account()
			other := e.signIn(a)
			g := e.signIn(a)
			tokens := []string{g.Refresh}
			for range 3 {
				e.pass(time.Minute)
				g = e.mustRefresh(g.Refresh)
				tokens = append(tokens, g.Refresh)
			}
			e.refused(use(e, tokens), errReused)
			e.endsWith(g.Session, "reuse")
			for _, token := range tokens {
				e.refused(token, errBadRefresh)
			}
			if e.count(audit.TokenReused) != 1 {
				t.Fatalf("recorded %v", e.kinds())
			}
			for _, v := range e.events {
				if v.Kind == audit.TokenReused && (v.Subject != a.ID || v.Session != g.Session || v.Client.String() != "203.0.113.9" || v.RequestID != "r9" ||
					v.Outcome != audit.Failure || !v.Time.Equal(e.time())) {
					t.Errorf("recorded %+v", v)
				}
				for _, token := range tokens {
					if strings.Contains(fmt.Sprint(v), token[31:]) {
						t.Error("a secret is in an event")
					}
				}
			}
			if len(e.told) != 1 || e.told[0] != g.Session {
				t.Errorf("told of the end of %v", e.told)
			}
			e.mustRefresh(other.Refresh) // the account's other session is not concerned
		})
	}
}

func TestRefreshOfNothing(t *testing.T) {
	e := newSessionTest(t, openSessionStore(t))
	g := e.signIn(e.account())
	before := e.row(g.Session)
	for _, token := range []string{"", "x", g.Refresh[:40], g.Refresh + "A", newRefreshToken(newFamily()).String(), strings.ToUpper(g.Refresh)} {
		e.refused(token, errBadRefresh)
		if err := e.endByToken(t.Context(), token, origin{}); !errors.Is(err, errBadRefresh) {
			t.Errorf("sign out: %v", err)
		}
	}
	if after := e.row(g.Session); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("%+v became %+v", before, after)
	}
	if len(e.events) != 1 {
		t.Errorf("recorded %v", e.kinds())
	}
}

func TestTrapRefreshAbsoluteLifetime(t *testing.T) {
	e := newSessionTest(t, openSessionStore(t))
	g := e.signIn(e.account())
	end := g.RefreshExpires
	for e.time().Before(end.Add(-24 * time.Hour)) {
		e.pass(12 * time.Hour)
		g = e.mustRefresh(g.Refresh)
		if !g.RefreshExpires.Equal(end) {
			t.Fatalf("a refresh moves the end from %v to %v", end, g.RefreshExpires)
		}
	}
	e.pass(end.Sub(e.time()) - time.Microsecond)
	last := e.mustRefresh(g.Refresh)
	e.pass(time.Microsecond)
	for _, token := range []string{last.Refresh, g.Refresh} {
		e.refused(token, errBadRefresh)
		if err := e.endByToken(t.Context(), token, origin{}); !errors.Is(err, errBadRefresh) {
			t.Errorf("sign out: %v", err)
		}
	}
}

// CVE-2023-22492: tokens of an account that was switched off went on.
func TestTrapRefreshOfDisabledAccount(t *testing.T) {
	for reason, off := range map[string]func(e *sessionTest, id string){
		"locked":  func(e *sessionTest, id string) { e.change(id, func(a *store.Account) { a.Locked = e.time() }) },
		"revoked": func(e *sessionTest, id string) { e.change(id, func(a *store.Account) { a.Verified = time.Time{} }) },
	} {
		for _, kind := range []string{"current", "retry"} {
			t.Run(reason+" "+kind, func(t *testing.T) {
				e := newSessionTest(t, openSessionStore(t))
				a := e.account()
				g := e.signIn(a)
				h := e.mustRefresh(g.Refresh)
				off(e, a.ID)
				e.refused(map[string]string{"current": h.Refresh, "retry": g.Refresh}[kind], errBadRefresh)
				e.endsWith(g.Session, reason)
				e.change(a.ID, func(a *store.Account) { a.Locked, a.Verified = time.Time{}, sessionStart })
				e.refused(h.Refresh, errBadRefresh) // unlocking revives nothing
				e.refused(g.Refresh, errBadRefresh)
				if e.count(audit.SignedOut) != 1 || len(e.told) != 1 {
					t.Errorf("recorded %v, told of %v", e.kinds(), e.told)
				}
			})
		}
	}
	t.Run("deleted", func(t *testing.T) {
		e := newSessionTest(t, openSessionStore(t))
		a := e.account()
		g := e.signIn(a)
		if err := e.store.DeleteAccount(t.Context(), a.ID, e.time(), nil); err != nil {
			t.Fatal(err)
		}
		e.refused(g.Refresh, errBadRefresh)
	})
	t.Run("role taken", func(t *testing.T) {
		e := newSessionTest(t, openSessionStore(t))
		a := e.account()
		g := e.signIn(a)
		e.change(a.ID, func(a *store.Account) { a.Roles = nil })
		if h := e.mustRefresh(g.Refresh); strings.Contains(h.Access, "user") {
			t.Errorf("the access token is %q", h.Access)
		}
	})
	t.Run("unverified where that is allowed", func(t *testing.T) {
		e := newSessionTest(t, openSessionStore(t))
		e.policy.VerifyEmail = false
		a := e.account()
		e.change(a.ID, func(a *store.Account) { a.Verified = time.Time{} })
		e.mustRefresh(e.signIn(a).Refresh)
	})
}

// A sign-in is refused when the account is not the one that was looked at.
func TestStartAfterChange(t *testing.T) {
	for name, change := range map[string]func(*store.Account){
		"locked":       func(a *store.Account) { a.Locked = sessionStart },
		"unverified":   func(a *store.Account) { a.Verified = time.Time{} },
		"new password": func(a *store.Account) { a.PasswordHash = "$argon2id$other" },
		"new address":  func(a *store.Account) { a.Email = "new-" + a.Email },
	} {
		e := newSessionTest(t, openSessionStore(t))
		a := e.account()
		e.change(a.ID, change)
		if g, err := e.start(t.Context(), a, origin{}); !errors.Is(err, errAccountChanged) || g != (grant{}) {
			t.Errorf("%s: %v, %v", name, g, err)
		}
		if all, _ := e.store.ListSessions(t.Context(), a.ID, e.time()); len(all) != 0 || len(e.events) != 0 {
			t.Errorf("%s: sessions %v, recorded %v", name, all, e.kinds())
		}
	}
	e := newSessionTest(t, openSessionStore(t))
	a := e.account()
	e.change(a.ID, func(a *store.Account) { a.Roles = []string{"admin"} })
	if g, err := e.start(t.Context(), a, origin{}); err != nil || !strings.Contains(g.Access, "admin") {
		t.Errorf("new roles: %v, %v", g, err)
	}
	if err := e.store.DeleteAccount(t.Context(), a.ID, e.time(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := e.start(t.Context(), a, origin{}); !errors.Is(err, errAccountChanged) {
		t.Errorf("deleted: %v", err)
	}
}

func TestSessionsAreBounded(t *testing.T) {
	e := newSessionTest(t, openSessionStore(t))
	a := e.account()
	var all []grant
	for range maxSessions + 2 {
		e.pass(time.Second)
		all = append(all, e.signIn(a))
	}
	if living, err := e.store.ListSessions(t.Context(), a.ID, e.time()); err != nil || len(living) != maxSessions {
		t.Errorf("%d sessions, %v", len(living), err)
	}
	e.refused(all[0].Refresh, errBadRefresh)
	e.refused(all[1].Refresh, errBadRefresh)
	e.mustRefresh(all[2].Refresh)
}

func TestSignOut(t *testing.T) {
	for name, prepare := range map[string]func(e *sessionTest, a store.Account) (token, reason string, want error){
		"current": func(e *sessionTest, a store.Account) (token, reason string, want error) {
			return e.mustRefresh(e.signIn(a).Refresh).Refresh, "logout", nil
		},
		"previous, answer lost": func(e *sessionTest, a store.Account) (token, reason string, want error) {
			g := e.signIn(a)
			e.mustRefresh(g.Refresh)
			return g.Refresh, "logout", nil
		},
		"locked": func(e *sessionTest, a store.Account) (token, reason string, want error) {
			g := e.signIn(a)
			e.change(a.ID, func(a *store.Account) { a.Locked = sessionStart })
			return g.Refresh, "logout", nil
		},
		"previous, late": func(e *sessionTest, a store.Account) (token, reason string, want error) {
			g := e.signIn(a)
			e.mustRefresh(g.Refresh)
			e.pass(time.Hour)
			return g.Refresh, "reuse", errReused
		},
	} {
		e := newSessionTest(t, openSessionStore(t))
		token, reason, want := prepare(e, e.account())
		if err := e.endByToken(t.Context(), token, origin{}); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
		read, _ := parseRefreshToken(token)
		e.endsWith(read.sessionID(), reason)
		if err := e.endByToken(t.Context(), token, origin{}); !errors.Is(err, errBadRefresh) {
			t.Errorf("%s, again: %v", name, err)
		}
	}
}

// With the store out nobody gets in, and the error is not that of a bad token:
// a client must not throw a good one away.
func TestSessionsWithoutStore(t *testing.T) {
	st := openSessionStore(t)
	e := newSessionTest(t, st)
	a := e.account()
	g := e.signIn(a)
	st.Close()
	_, refreshErr := e.refresh(t.Context(), g.Refresh, origin{})
	_, startErr := e.start(t.Context(), a, origin{})
	_, deviceErr := e.knownDevice(t.Context(), a.ID, hexSum("x"))
	for name, err := range map[string]error{"refresh": refreshErr, "start": startErr, "end": e.endByToken(t.Context(), g.Refresh, origin{}), "device": deviceErr} {
		if err == nil || errors.Is(err, errBadRefresh) || errors.Is(err, errReused) || errors.Is(err, errAccountChanged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDamagedSuccessor(t *testing.T) {
	e := newSessionTest(t, openSessionStore(t))
	g := e.signIn(e.account())
	h := e.mustRefresh(g.Refresh)
	err := e.store.UpdateSession(t.Context(), g.Session, func(f *store.Session, _ store.Account) error { f.Successor[3] ^= 1; return nil })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.refresh(t.Context(), g.Refresh, origin{}); err == nil || errors.Is(err, errBadRefresh) {
		t.Errorf("got %v", err)
	}
	e.mustRefresh(h.Refresh)
}

func TestCleanUserAgent(t *testing.T) {
	long := strings.Repeat("é", 200)
	for in, want := range map[string]string{
		"Mozilla/5.0 (X11)":           "Mozilla/5.0 (X11)",
		"":                            "",
		"a\x00b\r\nc\x1b[31m":         "abc[31m",
		"a\xffb":                      "ab",
		"\u202eabc\u2028":             "abc",
		long:                          long[:256],
		"x" + long:                    "x" + long[:254],
		strings.Repeat("\x00", 10000): "",
	} {
		got := cleanUserAgent(in)
		if got != want || !utf8.ValidString(got) {
			t.Errorf("%.40q gives %.40q, want %.40q", in, got, want)
		}
	}
}

func BenchmarkRefresh(b *testing.B) {
	e := newSessionTest(b, openSessionStore(b))
	g := e.signIn(e.account())
	b.ReportAllocs()
	for b.Loop() {
		g = e.mustRefresh(g.Refresh)
		e.events = e.events[:0]
	}
}
