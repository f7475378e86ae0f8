package inside

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/ringwall/ringwall/check"
)

// issued are the places of certificates that programs of ACME keep.
var issued = []string{"/etc/letsencrypt/live/*/fullchain.pem", "/var/lib/dehydrated/certs/*/fullchain.pem", "/root/.acme.sh/*/fullchain.cer",
	"/etc/lego/certificates/*.crt", "/var/lib/lego/certificates/*.crt", "/root/.lego/certificates/*.crt"}

var renews = regexp.MustCompile(`certbot|acme\.sh|dehydrated|(^|/)lego `)

// renewal looks for what renews the certificates that an authority issued for
// some weeks, and whether it has.
var renewal = Check{
	Meta: check.Meta{
		ID:    "inside/renewal",
		Title: "Certificates are renewed without anybody's doing",
		Why:   "A certificate that somebody has to remember ends on a Sunday.",
		Ref:   "RFC 8555; ASVS 5.0 V12.2.2; CWE-298; blueprint E2, T6, checklist 1",
		Layer: "host",
	},
	Verify: func(ctx context.Context, m *Machine) check.Finding {
		if m.ACME {
			text, err := m.Run(ctx, "systemctl", "is-active", "ringwall.service")
			switch text = strings.TrimSpace(text); text {
			case "active":
			case "":
				return check.Unseen("edge.tls.acme has Ringwall renew the certificate, and whether it runs cannot be seen: %v", err)
			default:
				return check.Unseen("edge.tls.acme has Ringwall renew the certificate, and ringwall.service is %s: systemctl status ringwall", text)
			}
			return check.Passed("ringwall.service runs, and renews the site's certificate itself (edge.tls.acme)")
		}
		const want, fix = "an active timer, of which the last run ended well", "systemctl enable --now certbot.timer; then certbot renew --dry-run"
		how, fault, uerr := m.renewer(ctx)
		var certs []string
		for _, pattern := range issued {
			for _, name := range m.glob(pattern) {
				if !strings.HasSuffix(name, ".issuer.crt") {
					certs = append(certs, name)
				}
			}
		}
		first, ends, cerr := m.firstToEnd(certs)
		left := int(ends.Sub(m.Now).Hours() / 24)
		switch {
		case len(certs) > 0 && cerr == nil && first != "" && ends.Before(m.Now):
			return check.Failed(fmt.Sprintf("%s ended %d days ago, and was not renewed", first, -left), "a new one before the old has 20 days, or a quarter of its time", fix)
		case len(certs) > 0 && cerr == nil && first != "":
			return check.Failed(fmt.Sprintf("%s ends in %d days, and was not renewed", first, left), "a new one before the old has 20 days, or a quarter of its time", fix)
		case m.UID != 0:
			return check.Unseen("certificates and crontabs cannot be read: %v", errNotRoot)
		case len(certs) == 0 && how != "":
			return check.Moot("%s, and no certificate is where it keeps them: renew it where it ends", how)
		case len(certs) == 0:
			return check.Moot("no certificate of an authority's is on this server: renew it where it ends")
		case cerr != nil:
			return check.Unseen("%v", cerr)
		case how != "":
			return check.Passed("%s, for %d certificates, of which the first ends in %d days", how, len(certs), left)
		case fault != "":
			return check.Failed(fault+", and nothing else renews "+certs[0], want, fix)
		case uerr != nil:
			return check.Unseen("what renews %s: %v", certs[0], uerr)
		}
		return check.Failed("nothing renews "+certs[0], want, fix)
	},
}

// renewer says what renews certificates; or the fault of what should.
func (m *Machine) renewer(ctx context.Context) (how, fault string, err error) {
	for _, name := range []string{"certbot.timer", "snap.certbot.renew.timer", "lego.timer", "acme.timer"} {
		t, terr := m.timer(ctx, name)
		switch {
		case terr != nil:
			err = cmp.Or(err, terr)
		case t.there && t.fault() == "":
			return name + " is active", "", nil
		case t.there && fault == "":
			fault = t.fault()
		}
	}
	jobs, jerr := m.jobs()
	for _, j := range jobs {
		for _, command := range j.commands {
			if j.idle != "" || !renews.MatchString(command) {
				continue
			}
			switch runs, cerr := m.cronRuns(ctx); {
			case cerr != nil:
				err = cmp.Or(err, cerr)
			case runs:
				return j.file + " renews by cron", "", nil
			case fault == "":
				fault = "cron, by which " + j.file + " renews, does not run"
			}
		}
	}
	return "", fault, cmp.Or(err, jerr)
}

// firstToEnd is when the first of certificates ends, and which that is when it should
// have been renewed before.
func (m *Machine) firstToEnd(names []string) (late string, ends time.Time, err error) {
	for _, name := range names {
		b, err := os.ReadFile(m.path(name)) // a link of certbot's; root's alone to write
		if err != nil {
			return "", ends, err
		}
		block, _ := pem.Decode(b)
		if block == nil {
			return "", ends, fmt.Errorf("%s holds no certificate", name)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return "", ends, fmt.Errorf("%s: %w", name, err)
		}
		if least := min(20*24*time.Hour, cert.NotAfter.Sub(cert.NotBefore)/4); cert.NotAfter.Sub(m.Now) < least && (late == "" || cert.NotAfter.Before(ends)) {
			late, ends = name, cert.NotAfter
		} else if late == "" && (ends.IsZero() || cert.NotAfter.Before(ends)) {
			ends = cert.NotAfter
		}
	}
	return late, ends, nil
}
