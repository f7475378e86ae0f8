package identity

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/store"
)

// family is the model of one session: what was handed out, and to whom. It
// knows nothing of sums, seals or rows.
type family struct {
	e       *sessionTest
	account store.Account
	session string
	expires time.Time

	tokens  []string    // all that were ever handed out, by generation
	rotated []time.Time // when tokens[i] was replaced
	ended   bool
	roles   string
	locked  bool
	gone    bool // the account was deleted
	holds   map[string]int
	thefts  int
}

func (m *family) newest() int { return len(m.tokens) - 1 }

// dead: no token of the family is good any more.
func (m *family) dead() bool { return m.ended || !m.e.time().Before(m.expires) }

// judge says what comes of a token that is presented now, and keeps in the model
// what that changes: nil for a good one.
func (m *family) judge(index int) error {
	late := index != m.newest() && (index != m.newest()-1 || m.e.time().Sub(m.rotated[index]).Abs() > m.e.window)
	switch {
	case m.dead():
		return errBadRefresh
	case late:
		m.ended = true
		m.thefts++
		return errReused
	}
	return nil
}

// judgeRefresh is judge for a refresh, which an account may be barred from.
func (m *family) judgeRefresh(index int) error {
	if err := m.judge(index); err != nil || !m.locked {
		return err
	}
	m.ended = true
	return errBadRefresh
}

// present refreshes with a token and compares the answer with the model's. It
// returns the index of the token that came back, or -1.
func (m *family) present(t *rapid.T, index int) int {
	want := m.judgeRefresh(index)
	g, err := m.e.refresh(context.Background(), m.tokens[index], origin{})
	if !errors.Is(err, want) || want != nil && g != (grant{}) {
		t.Fatalf("token %d of %d: %+v, %v; want %v", index, m.newest(), g, err, want)
	}
	if want != nil {
		return -1
	}
	m.answered(t, index, g)
	return index + 1
}

// answered compares a good answer to a token with the model, and keeps it.
func (m *family) answered(t *rapid.T, index int, g grant) {
	if !strings.HasPrefix(g.Access, m.account.ID+" "+m.session+" "+m.roles+" #") {
		t.Fatalf("the access token is %q, roles are %q", g.Access, m.roles)
	}
	if !g.RefreshExpires.Equal(m.expires) {
		t.Fatalf("the end moved from %v to %v", m.expires, g.RefreshExpires)
	}
	if index < m.newest() {
		if g.Refresh != m.tokens[index+1] {
			t.Fatal("a retry gave another successor")
		}
		return
	}
	if slices.Contains(m.tokens, g.Refresh) {
		t.Fatal("a token was handed out again")
	}
	m.tokens, m.rotated = append(m.tokens, g.Refresh), append(m.rotated, m.e.time())
}

// check compares what is stored with the model.
func (m *family) check(t *rapid.T) {
	f, err := m.e.store.Session(context.Background(), m.session)
	if err != nil {
		t.Fatal(err)
	}
	if f.Ended.IsZero() == m.ended {
		t.Fatalf("ended at %v for %q; by the model: %v", f.Ended, f.EndReason, m.ended)
	}
	if f.Generation != int64(len(m.tokens)) {
		t.Fatalf("generation %d, %d tokens were handed out", f.Generation, len(m.tokens))
	}
	if got := m.e.count(audit.TokenReused); got != m.thefts {
		t.Fatalf("%d thefts recorded, want %d", got, m.thefts)
	}
	// Of all tokens ever handed out one at most is live, and who reads the store
	// opens the sealed one only with the token before.
	for i, text := range m.tokens {
		token, _ := parseRefreshToken(text)
		if live := string(f.Current) == string(token.sum()); live != (i == m.newest()) {
			t.Fatalf("token %d of %d is live: %v", i, m.newest(), live)
		}
		if next, err := token.open(f.Successor, f.Generation); (err == nil) != (i == m.newest()-1 && f.Successor != nil) {
			t.Fatalf("token %d of %d opens the sealed one: %v", i, m.newest(), err)
		} else if err == nil && next.String() != m.tokens[m.newest()] {
			t.Fatal("the sealed token is another")
		}
	}
}

// An owner, a thief who copies what the owner has, a network that loses answers,
// an operator, and time: whatever they do in whatever order, the store does what
// the model says.
func TestRefreshModel(t *testing.T) {
	st := openSessionStore(t)
	rapid.Check(t, func(t *rapid.T) {
		e := newSessionTest(t, st)
		a := e.account()
		g, err := e.start(context.Background(), a, origin{})
		if err != nil {
			t.Fatal(err)
		}
		m := &family{e: e, account: a, session: g.Session, expires: g.RefreshExpires, tokens: []string{g.Refresh}, roles: "user",
			holds: map[string]int{"owner": 0, "thief": 0}}
		who := rapid.SampledFrom([]string{"owner", "thief"})
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) { m.check(t) },
			"refresh": func(t *rapid.T) {
				w := who.Draw(t, "who")
				if got := m.present(t, m.holds[w]); got >= 0 && !rapid.Bool().Draw(t, "lost") {
					m.holds[w] = got
				}
			},
			"refresh in parallel": func(t *rapid.T) { m.parallel(t, m.holds[who.Draw(t, "who")]) },
			"steal":               func(t *rapid.T) { m.holds["thief"] = m.holds["owner"] },
			"use a backup": func(t *rapid.T) {
				if got := m.present(t, rapid.IntRange(0, m.newest()).Draw(t, "token")); got >= 0 {
					m.holds["thief"] = got
				}
			},
			"guess": func(t *rapid.T) { m.guess(t) },
			"send nonsense": func(t *rapid.T) {
				for _, s := range []string{"", m.tokens[0][:50], newRefreshToken(newFamily()).String()} {
					if _, err := e.refresh(context.Background(), s, origin{}); !errors.Is(err, errBadRefresh) {
						t.Fatal(err)
					}
				}
			},
			"time passes": func(t *rapid.T) {
				e.pass(rapid.SampledFrom([]time.Duration{time.Second, e.window / 2, e.window, e.window + time.Microsecond, time.Hour, 20 * 24 * time.Hour,
					-time.Second, -e.window - time.Microsecond}).Draw(t, "by"))
			},
			"lock or unlock": func(t *rapid.T) {
				if m.gone {
					t.Skip("no account")
				}
				m.locked = !m.locked
				e.change(a.ID, func(a *store.Account) {
					a.Locked = time.Time{}
					if m.locked {
						a.Locked = e.time()
					}
				})
			},
			"change roles": func(t *rapid.T) {
				if m.gone {
					t.Skip("no account")
				}
				m.roles = rapid.SampledFrom([]string{"", "user", "user,admin"}).Draw(t, "roles")
				e.change(a.ID, func(a *store.Account) { a.Roles = strings.FieldsFunc(m.roles, func(r rune) bool { return r == ',' }) })
			},
			"delete the account": func(t *rapid.T) {
				if m.gone || rapid.IntRange(0, 5).Draw(t, "rarely") > 0 {
					t.Skip("not now")
				}
				if err := st.DeleteAccount(context.Background(), a.ID, e.time(), nil); err != nil {
					t.Fatal(err)
				}
				m.ended = m.ended || !m.dead()
				m.gone = true
			},
			"end from elsewhere": func(t *rapid.T) {
				if rapid.IntRange(0, 3).Draw(t, "rarely") > 0 {
					t.Skip("not now")
				}
				ids, err := st.EndSessions(context.Background(), a.ID, store.End{Reason: "revoked"}, e.time())
				if err != nil || (len(ids) == 1) != !m.dead() {
					t.Fatal(ids, err)
				}
				m.ended = m.ended || len(ids) == 1
			},
			"sign out":                 func(t *rapid.T) { m.signOut(t, m.holds[who.Draw(t, "who")]) },
			"the program starts again": func(t *rapid.T) { m.restart() },
		})
		// Whatever happened: an ended family stays ended.
		if m.ended {
			if !m.gone {
				e.change(a.ID, func(a *store.Account) { a.Locked = time.Time{} })
			}
			for _, token := range m.tokens {
				if g, err := e.refresh(context.Background(), token, origin{}); !errors.Is(err, errBadRefresh) {
					t.Fatalf("revived: %v, %v", g, err)
				}
			}
		}
	})
}

// parallel presents a token four times at once: one answer for all, and no more
// than one theft.
func (m *family) parallel(t *rapid.T, index int) {
	const n = 4
	want := m.judgeRefresh(index)
	var grants [n]grant
	var errs [n]error
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { grants[i], errs[i] = m.e.refresh(context.Background(), m.tokens[index], origin{}) })
	}
	wg.Wait()
	first := 0 // refusals that are want; the others find an ended family
	for i, err := range errs {
		switch {
		case errors.Is(err, want):
			first++
		case want == nil || !errors.Is(err, errBadRefresh):
			t.Fatalf("token %d of %d: %v, want %v", index, m.newest(), err, want)
		}
		if want == nil {
			m.answered(t, index, grants[i])
		}
	}
	if want == errReused && first != 1 {
		t.Fatalf("%d thefts of one", first)
	}
}

// guess presents invented secrets: with the session's ID it does nothing, with
// the family, which only who had a token knows, it is theft.
func (m *family) guess(t *rapid.T) {
	if _, err := m.e.refresh(context.Background(), newRefreshToken(m.session).String(), origin{}); !errors.Is(err, errBadRefresh) {
		t.Fatalf("a guess by the session's ID: %v", err)
	}
	want := errReused
	if m.dead() {
		want = errBadRefresh
	} else {
		m.ended = true
		m.thefts++
	}
	if _, err := m.e.refresh(context.Background(), newRefreshToken(m.tokens[0][4:30]).String(), origin{}); !errors.Is(err, want) {
		t.Fatalf("a guess: %v, want %v", err, want)
	}
}

func (m *family) signOut(t *rapid.T, index int) {
	want := m.judge(index)
	m.ended = m.ended || want == nil
	if err := m.e.endByToken(context.Background(), m.tokens[index], origin{}); !errors.Is(err, want) {
		t.Fatalf("sign out with token %d of %d: %v, want %v", index, m.newest(), err, want)
	}
}

// restart forgets what is in memory only.
func (m *family) restart() {
	m.e.sessions = &sessions{store: m.e.store, mint: m.e.mintFor, sink: m.e, now: m.e.time, policy: m.e.policy, ended: func(...string) {}}
}

// The bound that docs/decisions states, without the model above: two holders of
// one family, each refreshing on a schedule of its own. While one is always
// within the window of the other they get the same tokens; with the first
// presentation that comes later the session ends.
func TestTrapRefreshTheftIsFound(t *testing.T) {
	st := openSessionStore(t)
	rapid.Check(t, func(t *rapid.T) {
		e := newSessionTest(t, st)
		g, err := e.start(context.Background(), e.account(), origin{})
		if err != nil {
			t.Fatal(err)
		}
		holds := map[string]string{"owner": g.Refresh, "thief": g.Refresh}
		used := map[string]time.Time{} // token: when it was first presented
		for i := range rapid.IntRange(2, 30).Draw(t, "steps") {
			e.pass(time.Duration(rapid.IntRange(0, 40).Draw(t, "seconds")) * time.Second)
			who := rapid.SampledFrom([]string{"owner", "thief"}).Draw(t, "who")
			token := holds[who]
			g, err := e.refresh(context.Background(), token, origin{})
			first, again := used[token]
			late := again && e.time().Sub(first) > e.window
			_, further := used[g.Refresh]
			switch {
			case late && !errors.Is(err, errReused):
				t.Fatalf("step %d: a token of %v ago was taken: %v", i, e.time().Sub(first), err)
			case err == nil && further:
				t.Fatalf("step %d: its successor has been used already", i)
			case err == nil:
				holds[who] = g.Refresh
				if !again {
					used[token] = e.time()
				}
				continue
			case !errors.Is(err, errReused):
				t.Fatalf("step %d: %v", i, err)
			}
			for _, held := range holds { // neither has anything left
				if _, err := e.refresh(context.Background(), held, origin{}); !errors.Is(err, errBadRefresh) {
					t.Fatalf("after the end: %v", err)
				}
			}
			return
		}
	})
}
