package host

import (
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/policy"
)

var passwords = Control{
	Meta: check.Meta{
		ID:    "host/passwords",
		Title: "A password that somebody sets on the server is no guess",
		Why:   "keys let in, and still a password for the console or for sudo is typed one night, and stays",
		Ref:   "CIS Debian 12, 5.3.2; pam_pwquality(8); blueprint H7, T9",
	},
	Plan: func(_ *policy.Policy, f *Facts) ([]Change, error) { return f.install("libpam-pwquality") },
	Verify: func(_ *policy.Policy, f *Facts) check.Finding {
		want, fix := "password requisite pam_pwquality.so", "ringwall host apply, or: pam-auth-update --enable pwquality"
		s, err := f.File(passwordStack)
		if err == nil && !s.Exists {
			return check.Unseen("there is no %s", passwordStack)
		}
		if err != nil {
			return check.Unseen("%v", err)
		}
		got := "PAM does not look at new passwords"
	lines:
		for line := range strings.Lines(s.Content) {
			switch field := strings.Fields(line); {
			case len(field) < 3 || field[0] != "password":
			case field[1] == "requisite" && field[2] == "pam_pwquality.so", field[1] == "required" && field[2] == "pam_pwquality.so":
				return check.Passed("PAM asks pam_pwquality before it takes a new password")
			case strings.Contains(line, "pam_unix.so"):
				got, want = "PAM takes any new password: pam_unix.so comes first", want+" before it"
				break lines
			}
		}
		// Its package has pam-auth-update write there, which says nothing where it does not.
		there, err := f.Installed("libpam-pwquality")
		switch {
		case err != nil:
			return check.Unseen("%v", err)
		case there:
			return check.Failed(got+", though libpam-pwquality is installed: it was switched off there, or "+passwordStack+" cannot be written, or was changed by hand", want,
				"pam-auth-update --enable pwquality; where that changes nothing, let it be written, or write the line; or waive host/passwords")
		}
		return check.Failed(got, want, fix)
	},
}

// passwordStack is what PAM does when somebody changes a password.
const passwordStack = "/etc/pam.d/common-password"
