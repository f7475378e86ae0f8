package identity

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/bearer"
	"github.com/ringwall/ringwall/identity/password"
	"github.com/ringwall/ringwall/policy"
	"github.com/ringwall/ringwall/store"
)

// Deps is what a Service is given. Store must be there, and a Mailer when the
// policy's accounts need mail. Nil Keys are those of the policy's key file, a
// nil Log writes JSON lines on standard error, a nil Audit writes events to Log,
// and a nil Now is time.Now.
type Deps struct {
	Store store.Store
	Keys  *KeyRing
	Mail  Mailer
	Audit audit.Sink
	Log   *slog.Logger
	Now   func() time.Time
}

// A Service keeps the accounts of one site: it signs people in, continues and
// ends their sessions, and says whose an access token is. It is safe for
// concurrent use.
//
// When the store is out, nobody signs in or refreshes (503), and access tokens
// stay good until they end.
type Service struct {
	deps      Deps
	verifier  *Verifier
	guard     *guard
	passwords *password.Passwords
	post      *postbox
	handler   http.Handler
	managing  sync.Mutex
	current   atomic.Pointer[rules]
}

// rules are all that one policy decides. They never change.
type rules struct {
	policy   *policy.Policy
	accounts *Accounts
	sessions *sessions
	tickets  tickets
	roles    roleTable
}

// New returns the service of a policy. It starts nothing: Run does.
func New(p *policy.Policy, deps Deps) (*Service, error) {
	switch {
	case p == nil:
		return nil, errors.New("make an identity service: the policy is nil")
	case !p.KeepsAccounts():
		return nil, p.Errorf("identity.registration", "write open, invite or closed", "the policy keeps no accounts")
	case deps.Store == nil:
		return nil, errors.New("make an identity service: it needs a store; sqlitestore.Open opens one")
	case deps.Mail == nil && needsMail(p):
		return nil, p.Errorf("identity.mail", "name a mail server or a folder, and give identity.Deps a Mail; package identity/mail makes it of the policy",
			"accounts need mail, and there is no way to send it")
	}
	if deps.Log == nil {
		deps.Log = slog.New(audit.NewHandler(os.Stderr, slog.LevelInfo))
	}
	if deps.Audit == nil {
		deps.Audit = audit.NewLog(deps.Log)
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Keys == nil {
		var err error
		if deps.Keys, err = OpenKeyRing(p.File(p.Identity.Keys), deps.Now); err != nil {
			return nil, err
		}
	}
	s := &Service{deps: deps, guard: newGuard(deps.Store, deps.Now), post: newPostbox(deps.Mail, deps.Audit, deps.Now),
		passwords: password.New(password.Options{BreachURL: password.PwnedPasswords})}
	var err error
	if s.verifier, err = NewVerifier(p.Issuer(), p.Audience(), deps.Keys, deps.Now); err != nil {
		return nil, err
	}
	s.current.Store(s.compile(p))
	s.handler = s.routes()
	return s, nil
}

func needsMail(p *policy.Policy) bool {
	return p.Identity.VerifyEmail || p.Identity.Registration == "invite"
}

func (s *Service) compile(p *policy.Policy) *rules {
	r := &rules{policy: p, tickets: tickets{s.deps.Store, s.deps.Now}, roles: newRoleTable(p)}
	r.accounts = newAccounts(p, s.deps.Store, s.passwords, s.deps.Audit, s.deps.Log, s.deps.Now)
	r.accounts.managing = &s.managing
	r.accounts.ended, r.accounts.changed = s.verifier.End, s.catchUp
	mint := func(a store.Account, session string) (string, time.Time, error) {
		now, ttl := s.deps.Now(), p.Identity.AccessToken
		token, err := s.deps.Keys.Keys().Mint(Claims{Issuer: p.Issuer(), Audience: p.Audience(), Subject: a.ID, Session: session,
			Roles: a.Roles, IssuedAt: now}, ttl)
		return token, now.Add(ttl), err
	}
	r.sessions = newSessions(p, s.deps.Store, mint, s.deps.Audit, s.deps.Now)
	r.sessions.ended = s.verifier.End
	return r
}

// catchUp has the verifier know at once what a transaction here has ended. When
// it cannot, Run does within a second.
func (s *Service) catchUp(ctx context.Context) {
	if err := s.verifier.CatchUp(context.WithoutCancel(ctx), s.deps.Store.EndedSince); err != nil {
		s.deps.Log.Warn("ended sessions are learnt late", "error", err)
	}
}

// Verifier knows the callers that signed in here.
func (s *Service) Verifier() bearer.Verifier { return s.verifier }

// Accounts are the operations on accounts, under the policy in force.
func (s *Service) Accounts() *Accounts { return s.current.Load().accounts }

// Ready reports whether the store answers.
func (s *Service) Ready(ctx context.Context) error { return s.deps.Store.Ping(ctx) }

// Reload takes the roles, lifetimes and rules of a policy, as a whole, for the
// requests that come from now on. What the service was made with cannot change:
// the store, the keys, issuer and audience, and the way of mail. Then, and when
// the policy keeps no accounts, it answers an error and nothing changes.
func (s *Service) Reload(p *policy.Policy) error {
	if p == nil {
		return errors.New("reload an identity service: the policy is nil")
	}
	old := s.current.Load().policy
	var errs []error
	for _, k := range []struct {
		key  string
		same bool
	}{
		{"identity.registration", p.KeepsAccounts()},
		{"store", p.Store == old.Store},
		{"identity.keys", p.Identity.Keys == old.Identity.Keys},
		{"identity.issuer", p.Issuer() == old.Issuer()},
		{"identity.audience", p.Audience() == old.Audience()},
		{"identity.mail.smtp", p.Identity.Mail.SMTP == old.Identity.Mail.SMTP},
		{"identity.mail.user", p.Identity.Mail.User == old.Identity.Mail.User},
		{"identity.mail.from", p.Identity.Mail.From == old.Identity.Mail.From},
		{"identity.mail.folder", p.Identity.Mail.Folder == old.Identity.Mail.Folder},
	} {
		if !k.same {
			errs = append(errs, p.Errorf(k.key, "put the old value back, or restart the server", "a reload cannot change this key"))
		}
	}
	if s.deps.Mail == nil && needsMail(p) {
		errs = append(errs, p.Errorf("identity.verify_email", "put the old value back, or restart the server", "accounts would need mail, and there is no way to send it"))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	s.current.Store(s.compile(p))
	return nil
}

// pruneEvery is how often what is over is removed.
const pruneEvery = 10 * time.Minute

// Run sends mails, learns which sessions and keys other processes have ended,
// within a second, and removes what is over, until ctx ends. Mails that wait
// are then given a few seconds. It can be called once.
func (s *Service) Run(ctx context.Context) error {
	var all sync.WaitGroup
	all.Go(func() { s.deps.Keys.Run(ctx, s.deps.Audit) })
	all.Go(func() { s.verifier.Follow(ctx, s.deps.Store.EndedSince, s.deps.Audit) })
	all.Go(func() { s.post.run(ctx) })
	all.Go(func() {
		tick := time.NewTicker(pruneEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				s.prune(ctx)
			}
		}
	})
	all.Wait()
	return nil
}

func (s *Service) prune(ctx context.Context) {
	_, sessions := s.current.Load().sessions.prune(ctx)
	_, tickets := s.deps.Store.PruneTickets(ctx, s.deps.Now())
	_, attempts := s.guard.prune(ctx)
	if err := errors.Join(sessions, tickets, attempts, s.pruneAccounts(ctx)); err != nil && ctx.Err() == nil {
		s.deps.Log.Warn("what is over was not removed", "error", err)
	}
}

// pruneAccounts removes those whose address nobody has proved in time. While
// addresses need no proof, they are used as they are and stay.
func (s *Service) pruneAccounts(ctx context.Context) error {
	if !s.current.Load().policy.Identity.VerifyEmail {
		return nil
	}
	now := s.deps.Now()
	n, err := s.deps.Store.PruneAccounts(ctx, now)
	if n > 0 {
		s.deps.Audit.Record(audit.Event{Time: now, Kind: audit.AccountDeleted, Outcome: audit.Success, Control: "identity/accounts",
			Detail: strconv.Itoa(n) + " whose address nobody has proved in time"})
	}
	return err
}
