package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/audit/chain"
	"github.com/ringwall/ringwall/bearer"
	"github.com/ringwall/ringwall/identity"
	"github.com/ringwall/ringwall/identity/mail"
	"github.com/ringwall/ringwall/policy"
	"github.com/ringwall/ringwall/store"
)

const (
	storeWait = 10 * time.Second // for the store to open
	chainWait = 5 * time.Second  // for the last events to be stored
)

// accounts are what serve opens besides when the policy keeps accounts.
type accounts struct {
	*identity.Service
	store store.Store
	chain *chain.Sink
	audit audit.Sink // the chain, the log, and who is told
	log   *slog.Logger
	keep  atomic.Int64 // how long the chain keeps events
}

// Run is the service's, and prunes the chain.
func (a *accounts) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.chain.Keep(ctx, func() time.Duration { return time.Duration(a.keep.Load()) })
	}()
	err := a.Service.Run(ctx)
	stop()
	<-done
	return err
}

// Reload is the service's, and takes how long the chain keeps events.
func (a *accounts) Reload(p *policy.Policy) error {
	err := a.Service.Reload(p)
	if err == nil {
		a.keep.Store(int64(p.Identity.KeepEvents))
	}
	return err
}

// openAccounts opens the store, the signing keys and the way of mail. It makes
// the store and the keys when they are files that are missing, and nothing in
// the place of what is broken. Events go to the chain and to events, and
// those of accounts to bans too. On an error nothing is left open.
func openAccounts(ctx context.Context, p *policy.Policy, log *slog.Logger, events, bans audit.Sink) (_ *accounts, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	st, err := openStore(ctx, p)
	if err != nil {
		return nil, &failure{err, 1, "see to the store that the policy names, then: ringwall serve"}
	}
	a := &accounts{store: st, log: log, chain: chain.New(st, log, events)}
	defer func() {
		if err != nil {
			a.close()
		}
	}()
	a.keep.Store(int64(p.Identity.KeepEvents))
	a.audit = audit.Tee(events, a.chain)
	keys, err := identity.OpenKeyRing(p.File(p.Identity.Keys), nil)
	if err != nil {
		return nil, &failure{err, 1, "put the key file right; without it nobody can sign in"}
	}
	mailer, err := mail.New(p, log)
	if err != nil {
		return nil, err
	}
	a.Service, err = identity.New(p, identity.Deps{Store: st, Keys: keys, Mail: mailer, Audit: audit.Tee(a.audit, bans), Log: log})
	return a, err
}

// close stores the last events, and closes the store. The server has stopped.
func (a *accounts) close() {
	ctx, cancel := context.WithTimeout(context.Background(), chainWait)
	defer cancel()
	if err := errors.Join(a.chain.Close(ctx), a.store.Close()); err != nil {
		a.log.Error("the store was not closed well", "error", err)
	}
}

// noAccounts stand for those of a policy that is judged and not served.
type noAccounts struct{}

func (noAccounts) Handler() http.Handler                { return http.NotFoundHandler() }
func (n noAccounts) Verifier() bearer.Verifier          { return n }
func (noAccounts) Reload(*policy.Policy) error          { return nil }
func (noAccounts) Ready(context.Context) error          { return nil }
func (noAccounts) Assert(bearer.Caller) (string, error) { return "", errors.ErrUnsupported }
func (noAccounts) Run(ctx context.Context) error        { <-ctx.Done(); return nil }

func (noAccounts) Verify(context.Context, string) (*bearer.Caller, error) {
	return nil, fmt.Errorf("%w: nothing is served", bearer.ErrUnavailable)
}
