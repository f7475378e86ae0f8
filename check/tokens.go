package check

import "regexp"

// tokenForms are the forms that issuers gave their tokens so that they are found
// where they should not be, and what says of itself that it is a secret.
var tokenForms = []struct {
	what string
	form *regexp.Regexp
}{
	{"a private key", regexp.MustCompile(`-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----`)},
	{"an AWS key", regexp.MustCompile(`\b(?:AKIA|ASIA)[A-Z2-7]{16}\b`)},
	{"a GitHub token", regexp.MustCompile(`\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{60,})`)},
	{"a GitLab token", regexp.MustCompile(`\bglpat-[A-Za-z0-9_-]{20,}`)},
	{"a Slack token", regexp.MustCompile(`\bxox[abprs]-[A-Za-z0-9-]{10,}`)},
	{"a Stripe key", regexp.MustCompile(`\b[sr]k_live_[A-Za-z0-9]{20,}`)},
	{"a Google key", regexp.MustCompile(`\bAIza[A-Za-z0-9_-]{35}\b`)},
	{"an npm token", regexp.MustCompile(`\bnpm_[A-Za-z0-9]{36}\b`)},
	{"a SendGrid key", regexp.MustCompile(`\bSG\.[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{40,}`)},
	{"a JSON Web Token", regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{20,}`)},
	{"a refresh token of Ringwall", regexp.MustCompile(`\brw1\.[A-Za-z0-9_-]{20,}`)},
	{"a password in a URL", regexp.MustCompile(`\b[a-z][a-z0-9+.-]{2,12}://[^/\s:@'"$]+:[^/\s:@'"$*]{6,}@[a-z0-9]`)},
	{"a bearer token", regexp.MustCompile(`(?i)authorization:? ?['"]?bearer [A-Za-z0-9._~+/-]{20,}`)},
}

// Token says what kind of token is in b, "" for none. The token itself is told to
// nobody.
func Token(b []byte) string {
	for _, t := range tokenForms {
		if t.form.Match(b) {
			return t.what
		}
	}
	return ""
}
