package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	gomail "github.com/wneessen/go-mail"

	"github.com/ringwall/ringwall/identity"
	"github.com/ringwall/ringwall/policy"
)

// SMTP hands mails to a mail server (RFC 5321), always through TLS with a
// verified certificate: port 465 speaks it at once (RFC 8314, 3.3), any other
// must offer STARTTLS. A server on loopback alone may do without. Without
// TLS no password and no mail leaves.
type SMTP struct {
	Address  string // host:port
	User     string // "": the server asks for none
	Password policy.Secret
	From     string
	Name     string         // how we present ourselves (EHLO)
	Roots    *x509.CertPool // nil: the system's

	dial gomail.DialContextFunc // of tests; nil: the network's
}

// smtpWait is for each of a connection and a mail.
const smtpWait = 10 * time.Second

// Send hands one mail over. It returns when ctx ends; what is under way then
// ends by its own deadlines.
func (s *SMTP) Send(ctx context.Context, m identity.Mail) error {
	msg, err := message(s.From, m)
	if err != nil {
		return err
	}
	client, err := s.client()
	if err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() { sent <- client.DialAndSendWithContext(ctx, msg) }()
	select {
	case err := <-sent:
		return explain(err)
	case <-ctx.Done():
		return fmt.Errorf("send a mail through %s: %w", s.Address, ctx.Err())
	}
}

func (s *SMTP) client() (*gomail.Client, error) {
	host, text, err := net.SplitHostPort(s.Address)
	if err != nil {
		return nil, fmt.Errorf("send a mail: %w", err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return nil, fmt.Errorf("send a mail: %q is no port", text)
	}
	config := &tls.Config{ServerName: host, RootCAs: s.Roots, MinVersion: tls.VersionTLS12, InsecureSkipVerify: onLoopback(host)}
	options := []gomail.Option{gomail.WithPort(port), gomail.WithTimeout(smtpWait), gomail.WithTLSConfig(config)}
	switch {
	case port == 465:
		options = append(options, gomail.WithSSL())
	case onLoopback(host):
		options = append(options, gomail.WithTLSPolicy(gomail.TLSOpportunistic))
	default:
		options = append(options, gomail.WithTLSPolicy(gomail.TLSMandatory))
	}
	if s.dial != nil {
		options = append(options, gomail.WithDialContextFunc(s.dial))
	}
	if s.Name != "" {
		options = append(options, gomail.WithHELO(s.Name))
	}
	if s.User != "" {
		auth := gomail.SMTPAuthAutoDiscover // the best that the server has; without TLS none that shows the password
		if onLoopback(host) {
			auth = gomail.SMTPAuthPlain
		}
		options = append(options, gomail.WithSMTPAuth(auth), gomail.WithUsername(s.User), gomail.WithPassword(s.Password.Reveal()))
	}
	c, err := gomail.NewClient(host, options...)
	if err != nil {
		return nil, fmt.Errorf("send a mail: %w", err)
	}
	return c, nil
}

func onLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// explain says what the server answered, without the receiver's address. A 5xx
// to the mail itself is final (RFC 5321, 4.2.1); one to us, such as a wrong
// password, can be mended.
func explain(err error) error {
	var e *gomail.SendError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &e):
		return fmt.Errorf("send a mail: %w", err)
	}
	text := fmt.Sprintf("send a mail: %v: the server answered %d %s", e.Reason, e.ErrorCode(), e.EnhancedStatusCode())
	if !e.IsTemp() && e.ErrorCode() >= 500 {
		return fmt.Errorf("%s: %w", text, identity.ErrUndeliverable)
	}
	return errors.New(text)
}
