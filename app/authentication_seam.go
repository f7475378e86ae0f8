package app

import (
	"context"
	"errors"
	"time"
)

// A Caller is who a request comes from, as its verified token says.
type Caller struct {
	Subject string    // stable account id
	Session string    // sid of the token; "" when it has none
	Roles   []string  // role names; those that the policy does not know grant nothing
	Expires time.Time // when the token ends
}

// A Verifier knows whose bearer token this is. It is called with attackers'
// bytes, of at most 8 kB, and must be safe for concurrent use. The caller it
// returns is shared and must not change.
//
// It returns ErrExpired for a good token past its time, ErrUnavailable (wrapped)
// when it cannot tell, and any other error for a token that is not good.
type Verifier interface {
	Verify(ctx context.Context, token string) (*Caller, error)
}

var (
	ErrExpired     = errors.New("the token has expired")
	ErrUnavailable = errors.New("tokens cannot be verified at the moment")
)

// nobody is the Verifier of a ring that was given none: it fails closed.
type nobody struct{}

func (nobody) Verify(context.Context, string) (*Caller, error) {
	return nil, errors.New("no verifier is configured")
}
