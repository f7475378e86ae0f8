package policy_test

import (
	"strings"
	"testing"

	"github.com/ringwall/ringwall/policy"
)

// The accounts that the template speaks of come with the lines that it has as
// comments, and no others.
func TestTemplateWithAccounts(t *testing.T) {
	text := strings.NewReplacer(
		"registration: off", "registration: open",
		"  # verify_email", "  verify_email", "  # default_roles", "  default_roles", "  # mail:", "  mail:", "# store:", "store:",
	).Replace(string(policy.Template("api.example.com", "http://127.0.0.1:8000")))
	p, err := policy.Parse("ringwall.yaml", []byte(text), policy.LoadOptions{Environ: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	if !p.KeepsAccounts() || !p.Identity.VerifyEmail || p.Identity.Mail.SMTP == "" || len(p.Identity.DefaultRoles) != 1 || p.Store != "sqlite:ringwall.db" {
		t.Errorf("got %+v", p.Identity)
	}
}

// Without a way to send mail, nobody could prove an address.
func TestAccountsNeedMail(t *testing.T) {
	text := strings.Replace(string(policy.Template("localhost", "http://127.0.0.1:8000")), "registration: off", "registration: open", 1)
	if _, err := policy.Parse("ringwall.yaml", []byte(text), policy.LoadOptions{Environ: []string{}}); err == nil || !strings.Contains(err.Error(), "identity.mail.smtp") {
		t.Errorf("without mail: %v", err)
	}
	if _, err := policy.Parse("ringwall.yaml", []byte(text), policy.LoadOptions{Dev: true, Environ: []string{}}); err != nil {
		t.Errorf("serve --dev has a folder for mails: %v", err)
	}
}
