package identity

import (
	"context"
	"errors"
)

// A Mail is one plain text to one person. Ringwall writes all of it: nothing
// that somebody typed into a form is in Subject, and of what is in Text only
// the secret is not the policy's.
type Mail struct {
	To      string // normalised address
	Subject string // one line of ASCII
	Text    string // lines end with \n
}

// A Mailer delivers mails; package identity/mail has two. Send must end with
// ctx. An error that wraps ErrUndeliverable is final, after any other the mail
// is sent again. Errors are for the log: they must not hold the text.
type Mailer interface {
	Send(ctx context.Context, m Mail) error
}

// ErrUndeliverable says that a mail will never be delivered, such as to an
// address that the server does not know.
var ErrUndeliverable = errors.New("the mail cannot be delivered")
