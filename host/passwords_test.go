package host_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/host"
	"github.com/ringwall/ringwall/policy"
)

// TestWhatPAMAsksOfAPassword: the first module that decides counts, and a package that is
// installed and not asked has not been let write.
func TestWhatPAMAsksOfAPassword(t *testing.T) {
	const (
		asked = "password\trequisite\t\t\tpam_pwquality.so retry=3\n"
		unix  = "# here are the per-package modules\npassword\t[success=1 default=ignore]\tpam_unix.so obscure yescrypt\n"
		deny  = "password\trequisite\t\t\tpam_deny.so\n"
		has   = "installed 1.4.5\n"
	)
	for _, tt := range []struct {
		name, stack, installed string
		want                   check.Verdict
		got                    string
	}{
		{"right", asked + unix + deny, has, check.Pass, "asks pam_pwquality"},
		{"without its package", unix + deny, "no", check.Fail, "pam_unix.so comes first"},
		{"too late", unix + asked, "no", check.Fail, "pam_unix.so comes first"},
		{"only a word", strings.Replace(asked, "requisite", "optional", 1) + unix, "no", check.Fail, "pam_unix.so comes first"},
		{"nothing of it", deny, "no", check.Fail, "does not look at new passwords"},
		{"a package that was not let write", unix + deny, has, check.Fail, "pam_unix.so comes first, though libpam-pwquality is installed: it was switched off there, or /etc/pam.d/common-password cannot be written"},
		{"a package that is not seen", unix + deny, "", check.Unknown, "dark"},
		{"no file", "", has, check.Unknown, "there is no"},
	} {
		m := texts{files: map[string]host.FileState{"/etc/os-release": debian}, said: map[string]string{}}
		if tt.stack != "" {
			m.files["/etc/pam.d/common-password"] = file(tt.stack)
		}
		if tt.installed != "" {
			m.said[isInstalled+"libpam-pwquality"] = tt.installed
		}
		f, _ := host.Verify("host/passwords", policy.Default(), host.NewFacts(m), time.Now())
		if f.Verdict != tt.want || !strings.Contains(f.Got, tt.got) || strings.Contains(f.Got, "though") && !strings.Contains(tt.got, "though") {
			t.Errorf("%s: %v: %s", tt.name, f.Verdict, f.Got)
		}
	}
}
