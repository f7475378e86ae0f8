package inside

import (
	"context"
	"strings"

	"github.com/ringwall/ringwall/check"
)

// renewal looks for what renews the certificates that an authority issued for
// some weeks.
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
			if text = strings.TrimSpace(text); text != "active" {
				return check.Unseen("edge.tls.acme has Ringwall renew the certificate, and ringwall.service is %q: %v", text, err)
			}
			return check.Passed("ringwall.service runs, and renews the site's certificate itself (edge.tls.acme)")
		}
		certs := m.glob("/etc/letsencrypt/live/*/fullchain.pem")
		for _, timer := range []string{"certbot.timer", "snap.certbot.renew.timer", "lego.timer", "acme.timer"} {
			if text, err := m.Run(ctx, "systemctl", "is-active", timer); err == nil && strings.TrimSpace(text) == "active" {
				return check.Passed("%s is active, for %d certificates", timer, len(certs))
			}
		}
		for _, name := range append(m.glob("/var/spool/cron/crontabs/*"), append(m.glob("/etc/cron.d/*"), m.glob("/etc/cron.daily/*")...)...) {
			b, err := m.head(name, 1<<20)
			if err != nil {
				continue
			}
			for _, line := range lines(b) {
				s := strings.TrimSpace(string(line))
				// Debian's own line of cron leaves it to the timer where systemd runs.
				if !strings.HasPrefix(s, "#") && !strings.Contains(s, "/run/systemd/system") && (strings.Contains(s, "certbot") || strings.Contains(s, "acme.sh") || strings.Contains(s, "dehydrated") || strings.Contains(s, "lego ")) {
					return check.Passed("%s renews %d certificates", name, len(certs))
				}
			}
		}
		switch {
		case len(certs) > 0:
			return check.Failed("nothing renews what is in /etc/letsencrypt/live", "an active timer", "systemctl enable --now certbot.timer; then certbot renew --dry-run")
		case m.UID != 0:
			return check.Unseen("no timer renews certificates, and crontabs cannot be read: %v", errNotRoot)
		}
		return check.Moot("no certificate of an authority's is on this server: renew it where it ends")
	},
}
