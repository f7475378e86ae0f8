// Package mail delivers the mails of accounts: through an SMTP server, or into
// a folder for development.
package mail

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	gomail "github.com/wneessen/go-mail"

	"github.com/ringwall/ringwall/identity"
	"github.com/ringwall/ringwall/policy"
)

// New returns the way of mail that the policy names, nil when it names none. log
// is told where a folder's mails are.
func New(p *policy.Policy, log *slog.Logger) (identity.Mailer, error) {
	m := p.Identity.Mail
	from := m.From
	if from == "" {
		from = "accounts@" + p.Site
	}
	switch {
	case m.SMTP != "":
		return &SMTP{Address: m.SMTP, User: m.User, Password: m.Password, From: from, Name: p.Site}, nil
	case m.Folder != "":
		return &Folder{Dir: p.File(m.Folder), From: from, Log: log}, nil
	}
	return nil, nil
}

// message makes a mail of one part of plain text (RFC 5322). It says of itself
// that a program wrote it, so that nothing answers it (RFC 3834, 5).
func message(from string, m identity.Mail) (*gomail.Msg, error) {
	encoding := gomail.NoEncoding // EncodingUSASCII would write quoted-printable and call it 7bit
	if strings.ContainsFunc(m.Text, func(r rune) bool { return r > 0x7e || r < ' ' && r != '\n' }) {
		encoding = gomail.EncodingQP
	}
	if strings.ContainsAny(m.Subject+m.To+from, "\r\n\x00") {
		return nil, errors.New("write a mail: a line end is in a header")
	}
	msg := gomail.NewMsg(gomail.WithEncoding(encoding), gomail.WithNoDefaultUserAgent())
	if err := msg.From(from); err != nil {
		return nil, fmt.Errorf("write a mail: the sender: %w", err)
	}
	if err := msg.To(m.To); err != nil {
		return nil, fmt.Errorf("write a mail: %w: the receiver has no address that can be written to", identity.ErrUndeliverable)
	}
	msg.Subject(m.Subject)
	msg.SetDate()
	_, domain, _ := strings.Cut(from, "@")
	msg.SetMessageIDWithValue(rand.Text() + "@" + domain) // the library's own has the name of the machine
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetBodyString(gomail.TypeTextPlain, m.Text)
	return msg, nil
}
