package identity

import (
	"strings"
	"time"

	"github.com/ringwall/ringwall/policy"
)

// A letter is the text of one kind of mail. In its text, {site} is the site,
// {do} how to use the secret, and {until} how long that works.
type letter struct {
	subject, text string
	ticket        string // kind of ticket; "": the mail holds no secret
	path          string // where a program gives the secret to
}

var letters = map[string]letter{
	"verify": {subject: "Confirm your address", ticket: verifyTicket, path: "/api/auth/verify-email", text: `
Somebody, most likely you, made an account at {site} with this address.

To confirm that the address is yours, {do}
You will be asked for the password that you chose.
{until}

If it was not you, you need to do nothing: without your confirmation nobody can
sign in with this address.`},
	"taken": {subject: "You have an account already", text: `
Somebody, maybe you, tried to register with this address at {site}.
There is an account with it already, and it was not changed.

If it was you, sign in, or ask for a new password if you have forgotten it.
If it was not you, you need to do nothing.`},
	"waiting": {subject: "Your account waits for you", ticket: resetTicket, path: "/api/auth/password/reset", text: `
Somebody, maybe you, tried to register with this address at {site}.
There is an account with it already, but nobody has confirmed yet that the
address is theirs.

If it was you, {do}
You will choose a password; any older one stops working.
{until}

If it was not you, you need to do nothing.`},
	"reset": {subject: "Choose a new password", ticket: resetTicket, path: "/api/auth/password/reset", text: `
Somebody, most likely you, asked for a new password for your account at {site}.

To choose one, {do}
All devices that are signed in will be signed out.
{until}

If it was not you, you need to do nothing: your password stays as it is.`},
	"changed": {subject: "Your password was changed", text: `
The password of your account at {site} was changed just now.

If it was you, you need to do nothing. If it was not you, somebody else can get
at your account or at your mail: ask for a new password at once, and then look at
the passwords of your mail account.`},
	"invite": {subject: "You are invited", ticket: inviteTicket, path: "/api/auth/register", text: `
You are invited to make an account at {site} with this address.

To make it, {do}
{until}

If you did not expect this, you need to do nothing.`},
}

// compose writes a mail. Nothing in it comes from a form: neither name nor
// anything else that a stranger could fill with words of his own.
func compose(p *policy.Policy, kind, to, secret string, expires time.Time) Mail {
	l := letters[kind]
	do := "use this secret (POST " + l.path + "),\nand give it to nobody else:\n\n    " + secret + "\n"
	if link := p.Identity.Mail.Link; link != "" {
		do = "open\n\n    " + link + "#" + l.ticket + "=" + secret + "\n"
	}
	until := "It works once, until " + expires.UTC().Format("2 January 2006, 15:04") + " UTC."
	text := strings.NewReplacer("{site}", p.Site, "{do}", do, "{until}", until).Replace(l.text)
	return Mail{To: to, Subject: l.subject + " (" + p.Site + ")", Text: strings.TrimPrefix(text, "\n") + "\n"}
}
