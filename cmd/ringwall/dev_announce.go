package main

import (
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/ringwall/ringwall/policy"
)

// announce says where the server is and what to type next, in one piece. The
// lines after "next:" work as they are, one after the other.
func (d *devState) announce(w io.Writer, p *policy.Policy, run devRun, redirect string, ships bool) error {
	var b strings.Builder
	behind, path := strings.Join(p.Behind(), " and "), "/"
	if ships {
		behind, path = "the notes API on "+behind, "/api/notes"
	}
	fmt.Fprintf(&b, "ready: %s (http://%s redirects to it), in front of %s\n", run.URL, name(redirect), behind)
	fmt.Fprintf(&b, "policy: %s\n", run.Policy)
	if d.cert.Made {
		fmt.Fprintf(&b, "made a local certificate authority, for this machine only: %s\n", d.cert.CA)
	}
	if p.KeepsAccounts() && p.Identity.Mail.Folder != "" {
		fmt.Fprintf(&b, "mails are written to %s\n", p.File(p.Identity.Mail.Folder))
	}
	next := func(format string, args ...any) { fmt.Fprintf(&b, "  "+format+"\n", args...) }
	b.WriteString("\nnext:\n")
	next("export CURL_CA_BUNDLE=%s API=%s JSON='Content-Type: application/json'", d.cert.CA, run.URL)
	if p.KeepsAccounts() {
		d.announceAccounts(next, p, ships)
	} else {
		next(`AUTH="Authorization: Bearer $(cat %s)"`, d.dir.Path("alice.token"))
	}
	next(`curl $API%s -H "$AUTH"`, path)
	if ships {
		next(`curl $API%s -H "$AUTH" -H "$JSON" -d '{"title":"Milk","text":"two litres"}'`, path)
		next(`AUTH="Authorization: Bearer %s"`, signIn("", "@"+d.accountFile("admin")))
		next(`curl $API/api/admin/notes -H "$AUTH"`)
	}
	next("%s check %s", os.Args[0], run.URL)
	b.WriteString("\nCtrl-C stops it.\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// devCookies is where the printed lines keep cookies. It is made in advance, as
// curl would have others read it.
const devCookies = "cookies"

// announceAccounts tells how to come to an access token: with an account of
// one's own where anybody may make one, else with one that is there.
func (d *devState) announceAccounts(next func(string, ...any), p *policy.Policy, ships bool) {
	jar, body := d.dir.Path(devCookies), "@"+d.accountFile(firstName(p))
	if p.Identity.Registration == "open" && !p.Identity.VerifyEmail {
		// Another address at each start, so that the lines work each time.
		email, password := "you."+strings.ToLower(rand.Text()[:5])+"@example.com", rand.Text()[:16]
		next(`curl $API/api/auth/register -H "$JSON" -d '{"name":"You","email":"%s","password":"%s"}'`, email, password)
		body = fmt.Sprintf(`'{"email":"%s","password":"%s"}'`, email, password)
	}
	next(`AUTH="Authorization: Bearer %s"`, signIn(" -c "+jar, body))
	next("curl -b %s -c %s -X POST $API/api/auth/refresh", jar, jar)
	if !ships {
		next(`curl $API/api/me -H "$AUTH"`)
	}
}

// signIn is a shell's way to an access token.
func signIn(options, body string) string {
	return `$(curl -s` + options + ` $API/api/auth/login -H "$JSON" -d ` + body + ` | sed 's/.*"access_token":"\([^"]*\)".*/\1/')`
}
