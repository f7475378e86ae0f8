package identity

import (
	"context"
	"time"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/store"
)

// userView is an account as operators see it.
type userView struct {
	ID       string     `json:"id"`
	Email    string     `json:"email"`
	Name     string     `json:"name"`
	Roles    []string   `json:"roles"`
	Verified *time.Time `json:"verified,omitempty"`
	Locked   *time.Time `json:"locked,omitempty"`
	Created  time.Time  `json:"created"`
	Updated  time.Time  `json:"updated"`
}

func viewOf(a store.Account) userView {
	return userView{ID: a.ID, Email: a.Email, Name: a.Name, Roles: list(a.Roles), Verified: when(a.Verified), Locked: when(a.Locked),
		Created: a.Created, Updated: a.Updated}
}

// admin is a visit of who may manage accounts: the route has seen to it.
func (s *Service) admin(ctx context.Context) (visit, error) { return s.signedIn(ctx) }

type userList struct {
	Users []userView `json:"users"`
	Next  string     `json:"next,omitempty"` // after, for the next page
}

func (s *Service) listUsers(ctx context.Context, in struct {
	After string `query:"after" check:"optional,max=26"`
	Limit int    `query:"limit" check:"default=50,min=1,max=200"`
	Email string `query:"email" check:"optional,max=1000"`
}) (userList, error) {
	v, err := s.admin(ctx)
	if err != nil {
		return userList{}, err
	}
	out := userList{Users: []userView{}}
	if in.Email != "" {
		email, err := NormalizeEmail(in.Email)
		if err != nil {
			return out, s.refuse(v, invalid("query/email", "format", err.Error()))
		}
		a, err := s.accountOf(ctx, email)
		if err == nil && a.ID != "" {
			out.Users = append(out.Users, viewOf(a))
		}
		return out, s.refuse(v, err)
	}
	all, next, err := v.accounts.List(ctx, in.After, in.Limit)
	if err != nil {
		return out, s.refuse(v, err)
	}
	for _, a := range all {
		out.Users = append(out.Users, viewOf(a))
	}
	out.Next = next
	return out, nil
}

type userInput struct {
	ID string `path:"id" check:"max=64"`
}

func (s *Service) getUser(ctx context.Context, in userInput) (userView, error) {
	v, err := s.admin(ctx)
	if err != nil {
		return userView{}, err
	}
	a, err := s.deps.Store.Account(ctx, in.ID)
	return viewOf(a), s.refuse(v, v.accounts.missing(err, "read an account"))
}

func (s *Service) lockUser(ctx context.Context, in userInput) (userView, error) {
	v, err := s.admin(ctx)
	if err != nil {
		return userView{}, err
	}
	a, err := v.accounts.Lock(ctx, v.actor(), in.ID)
	return viewOf(a), s.refuse(v, err)
}

func (s *Service) unlockUser(ctx context.Context, in userInput) (userView, error) {
	v, err := s.admin(ctx)
	if err != nil {
		return userView{}, err
	}
	a, err := v.accounts.Unlock(ctx, v.actor(), in.ID)
	return viewOf(a), s.refuse(v, err)
}

func (s *Service) setUserRoles(ctx context.Context, in struct {
	ID    string   `path:"id" check:"max=64"`
	Roles []string `json:"roles" check:"max=32" each:"max=64"`
}) (userView, error) {
	v, err := s.admin(ctx)
	if err != nil {
		return userView{}, err
	}
	a, err := v.accounts.SetRoles(ctx, v.actor(), in.ID, in.Roles)
	return viewOf(a), s.refuse(v, err)
}

func (s *Service) endUserSessions(ctx context.Context, in userInput) (app.None, error) {
	v, err := s.admin(ctx)
	if err != nil {
		return none, err
	}
	_, err = v.accounts.EndSessions(ctx, v.actor(), in.ID, "")
	return none, s.refuse(v, err)
}
