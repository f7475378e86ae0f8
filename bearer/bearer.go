// Package bearer is the contract between whoever verifies bearer tokens and
// whoever acts on them: the caller that a token stands for, and why it does
// not. It imports nothing of Ringwall's.
package bearer

import (
	"context"
	"errors"
	"time"
)

// MaxToken is the longest token that anybody looks at, in bytes.
const MaxToken = 8 << 10

// A Caller is who a request comes from, as its verified token says.
type Caller struct {
	Subject string    // stable account id
	Session string    // sid of the token; "" when it has none
	Roles   []string  // role names; those that the policy does not know grant nothing
	Expires time.Time // when the token ends
}

// A Verifier knows whose bearer token this is. It is called with attackers'
// bytes, of at most MaxToken, and must be safe for concurrent use. The caller
// it returns is shared and must not change.
//
// It returns ErrExpired for a good token past its time, ErrRevoked for one whose
// session has ended or whose key was revoked, ErrUnavailable when it cannot tell
// (each may be wrapped), and any other error for a token that is not good. Errors are for the log and
// must not hold the token.
type Verifier interface {
	Verify(ctx context.Context, token string) (*Caller, error)
}

var (
	ErrExpired     = errors.New("the token has expired")
	ErrRevoked     = errors.New("the token was revoked")
	ErrUnavailable = errors.New("tokens cannot be verified at the moment")
)
