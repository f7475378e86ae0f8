package watch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ringwall/ringwall/policy"
)

const mailWait = 30 * time.Second

// SendMail sends one plain text to one address. It must end with ctx. After an
// error that wraps ErrUndeliverable it is not tried again.
type SendMail func(ctx context.Context, to, subject, text string) error

// ErrUndeliverable says that a mail will never be delivered.
var ErrUndeliverable = errors.New("the mail cannot be delivered")

// mails sends messages to every address of the policy.
type mails struct {
	to   []string
	send SendMail
}

func newMails(p *policy.Policy, way func(*policy.Policy) (SendMail, error)) (*mails, error) {
	if len(p.Watch.Mail) == 0 {
		return nil, nil
	}
	if way == nil {
		return nil, p.Errorf("watch.mail", "remove the key, or give watch.Deps a Mail", "this program has no way to send mail")
	}
	send, err := way(p)
	if err != nil {
		return nil, err
	}
	if send == nil {
		return nil, p.Errorf("watch.mail", "set identity.mail.smtp, whose server takes these mails too", "there is no way to send mail")
	}
	return &mails{slices.Clone(p.Watch.Mail), send}, nil
}

// post mails a message to those who do not have it yet.
func (s *mails) post(ctx context.Context, m *message) error {
	var errs []error
	again := false
	for _, to := range s.to {
		if m.done[to] {
			continue
		}
		err := s.send(ctx, to, m.subject(), m.text()+"\n\nWhat is told is up to watch.events in the policy; the log has all.\n")
		if err == nil {
			if m.done == nil {
				m.done = map[string]bool{}
			}
			m.done[to] = true
			continue
		}
		again = again || !errors.Is(err, ErrUndeliverable)
		errs = append(errs, fmt.Errorf("to %s: %w", to, err))
	}
	err := errors.Join(errs...)
	if err != nil && !again {
		return final{err}
	}
	return err
}
