package policy

import (
	"net/mail"
	"net/url"
	"strings"
)

// watch judges who is told of events, and how.
func (l *loader) watch() {
	w := l.p.Watch
	if w.Webhook != "" {
		if reason := judgeWebhook(w.Webhook, l.p.dev); reason != "" {
			e := l.p.Errorf("watch.webhook", "write https:// and the receiver's address; http on loopback is for --dev", "%s", reason).(*Error)
			if e.Line > 0 && strings.Contains(w.Webhook, "@") {
				e.Source = strings.Repeat(" ", e.Column-1) + redacted
			}
			l.add(e)
		}
	}
	if w.WebhookAddress.Set() {
		if reason := judgeWebhook(w.WebhookAddress.Reveal(), l.p.dev); reason != "" {
			l.errorf("watch.webhook_address", "write https:// and the receiver's address into the secret watch_webhook_address", "%s", reason)
		}
		if w.Webhook != "" {
			l.errorf("watch.webhook", "keep one of the two", "the receiver's address is in the secret watch_webhook_address too")
		}
	}
	for i, to := range w.Mail {
		if a, err := mail.ParseAddress(to); err != nil || a.Address != to {
			l.errorf(item("watch.mail", i), "write the address alone, such as ops@example.com", "%s is not a mail address", quote(to))
		}
	}
	if m := l.p.Identity.Mail; len(w.Mail) > 0 && m.SMTP == "" && m.Folder == "" && !l.p.dev { // serve --dev has a folder
		l.errorf("watch.mail", "set identity.mail.smtp, whose server takes these mails too", "there is no way to send mail")
	}
}

// judgeWebhook says what is wrong with an address that may itself be a secret,
// and so never quotes it; "" is nothing.
func judgeWebhook(address string, dev bool) string {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "" || strings.Contains(address, "#"):
		return "this is not the address of a receiver"
	case u.User != nil:
		return "a user name or a password is in the address"
	case u.Scheme == "https", u.Scheme == "http" && dev && isLoopbackHost(u.Hostname()):
		return ""
	}
	return "notices would go to the receiver unencrypted"
}
