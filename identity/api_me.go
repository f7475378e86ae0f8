package identity

import (
	"context"
	"errors"
	"time"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/store"
)

// sessionView is a session as its owner sees it.
type sessionView struct {
	ID        string    `json:"id"`
	Current   bool      `json:"current"` // it is the one that asks
	UserAgent string    `json:"user_agent"`
	Address   string    `json:"address,omitempty"` // that it was begun from
	Created   time.Time `json:"created"`
	LastUsed  time.Time `json:"last_used"`
	Expires   time.Time `json:"expires"`
}

type sessionList struct {
	Sessions []sessionView `json:"sessions"`
}

// listSessions needs no pages: an account has at most maxSessions.
func (s *Service) listSessions(ctx context.Context, _ app.None) (sessionList, error) {
	v, err := s.signedIn(ctx)
	if err != nil {
		return sessionList{}, err
	}
	list, err := v.accounts.Sessions(ctx, v.x.Caller.Subject)
	if err != nil {
		return sessionList{}, s.refuse(v, err)
	}
	out := sessionList{Sessions: []sessionView{}}
	for _, f := range list {
		view := sessionView{ID: f.ID, Current: f.ID == v.x.Caller.Session, UserAgent: f.UserAgent, Created: f.Created, LastUsed: f.Used, Expires: f.Expires}
		if f.Client.IsValid() {
			view.Address = f.Client.String()
		}
		out.Sessions = append(out.Sessions, view)
	}
	return out, nil
}

// endOtherSessions signs out everywhere else.
func (s *Service) endOtherSessions(ctx context.Context, _ app.None) (app.None, error) {
	v, err := s.signedIn(ctx)
	if err != nil {
		return none, err
	}
	_, err = v.accounts.EndSessions(ctx, v.actor(), v.x.Caller.Subject, v.x.Caller.Session)
	return none, s.refuse(v, err)
}

func (s *Service) endSession(ctx context.Context, in struct {
	ID string `path:"id" check:"max=64"`
}) (app.None, error) {
	v, err := s.signedIn(ctx)
	if err != nil {
		return none, err
	}
	err = v.accounts.EndSession(ctx, v.actor(), v.x.Caller.Subject, in.ID)
	if err == nil && in.ID == v.x.Caller.Session {
		v.setCookies(forget)
	}
	return none, s.refuse(v, err)
}

// ownView is an account as its owner sees it.
type ownView struct {
	ID          string     `json:"id"`
	Email       string     `json:"email"`
	Name        string     `json:"name"`
	Roles       []string   `json:"roles"`
	Permissions []string   `json:"permissions"`
	Verified    *time.Time `json:"verified,omitempty"`
	Created     time.Time  `json:"created"`
}

func (s *Service) me(ctx context.Context, _ app.None) (ownView, error) {
	v, err := s.signedIn(ctx)
	if err != nil {
		return ownView{}, err
	}
	a, err := s.deps.Store.Account(ctx, v.x.Caller.Subject)
	if errors.Is(err, store.ErrNotFound) {
		return ownView{}, v.unauthorized("The account is not there any more.", nil)
	}
	if err != nil {
		return ownView{}, s.refuse(v, err)
	}
	return ownView{ID: a.ID, Email: a.Email, Name: a.Name, Roles: list(a.Roles), Permissions: v.roles.permissionsOf(a.Roles),
		Verified: when(a.Verified), Created: a.Created}, nil
}

type deleteInput struct {
	Password string `json:"password" check:"maxbytes=1024"`
}

// deleteMe deletes the account of who is signed in, once its password was shown.
func (s *Service) deleteMe(ctx context.Context, in deleteInput) (app.None, error) {
	v, err := s.signedIn(ctx)
	if err != nil {
		return none, err
	}
	if _, err := s.ownPassword(ctx, v, "/password", in.Password); err != nil {
		return none, err
	}
	if err := v.accounts.Delete(ctx, v.actor(), v.x.Caller.Subject); err != nil {
		return none, s.refuse(v, err)
	}
	v.setCookies(forget)
	return none, nil
}

// list is an array in JSON also when it is empty.
func list(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// when is nil for never.
func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
