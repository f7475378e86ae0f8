package check

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// given are the forms of a line that gives something a value that is better not
// shown. They are wider than those that a check fails for (key files, logs): a line
// too many that is blotted out costs nothing.
var given = []*regexp.Regexp{
	// JWT_SECRET_KEY=x, "db.password": "x", client-secret: x, --api-key=x
	regexp.MustCompile(`(?i)(?:secret|token|passwd|password|passphrase|private[_-]?key|api[_-]?key|access[_-]?key|database_url)[a-z0-9_.-]*["']?\s*[=:]\s*["']?[^\s"']`),
	// the environment's, whatever stands before: STRIPE_KEY=x, PGPASS=x
	regexp.MustCompile(`[A-Z0-9_](?:KEY|PASS|PWD|AUTH|SALT|DSN|PEPPER|CREDENTIALS?)=["']?[^\s"']`),
	// --password x
	regexp.MustCompile(`(?i)(?:^|\s)--?[a-z-]*(?:secret|token|passwd|password|passphrase|api-?key)\s+[^\s-]`),
	// in a URL: postgres://api:x@db, redis://:x@db, https://x@host
	regexp.MustCompile(`(?i)[a-z][a-z0-9+.-]*://[^/\s"'?#]+@`),
	regexp.MustCompile(`(?i)\b(?:bearer|basic|digest)\s+[a-z0-9._~+/=-]{6,}`),
	regexp.MustCompile(`(?i)\b(?:proxy-)?authorization["']?\s*[=:]\s*["']?[^\s"']`),
	regexp.MustCompile(`(?i)\b(?:set-)?cookies?["']?\s*[=:]\s*["']?[^\s"']`),
	regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}`),              // a JSON Web Token, whatever is left of it
	regexp.MustCompile(`\$(?:[0-9]|g?y|2[abxy]|argon2id?)\$`), // a hashed password
}

// Command is a command and what it printed, as evidence: the first lines of it,
// none that may hold a secret, and of a log or of nft's JSON only how long it is. An
// error stands in the place of the output.
func Command(argv []string, printed string, err error) Exchange {
	e := Exchange{Sent: "$ " + shown(strings.ReplaceAll(strings.Join(argv, " "), "\n", `\n`))}
	switch printed = strings.TrimRight(printed, "\n"); {
	case err != nil:
		e.Received = "[" + shown(err.Error()) + "]"
	case printed == "":
		e.Received = "[nothing]"
	case argv[0] == "journalctl":
		e.Received = fmt.Sprintf("[%d lines]", strings.Count(printed, "\n")+1)
	case argv[0] == "nft" && slices.Contains(argv, "-j"): // one line of JSON, of any length
		e.Received = fmt.Sprintf("[%d bytes]", len(printed))
	default:
		e.Received = shown(printed)
	}
	return e
}

// File is a file that was read, as evidence, in the same way. Of one that is
// somebody's own, in a home, only the length is told.
func File(path, content string) Exchange {
	e := Exchange{Sent: "[file " + path + "]", Received: shown(strings.TrimRight(content, "\n"))}
	if !strings.HasPrefix(path, "/etc/") && !strings.HasPrefix(path, "/proc/") {
		e.Received = fmt.Sprintf("[%d bytes]", len(content))
	}
	return e
}

// shown is text without secrets, as long as evidence may be: its beginning, and
// its end, where the rules of a firewall are.
func shown(text string) string {
	const end = 8
	all := strings.Split(text, "\n")
	key := false
	for i, line := range all {
		if strings.Contains(line, "-----BEGIN ") && strings.Contains(line, "PRIVATE KEY") {
			key = true
		}
		last := strings.Contains(line, "-----END ")
		if key || secret(line) {
			all[i] = "[redacted]"
		}
		if last {
			key = false
		}
	}
	if len(all) > maxLines {
		begin := maxLines - end - 1
		left := fmt.Sprintf("[%d more lines]", len(all)-begin-end)
		all = append(append(all[:begin:begin], left), all[len(all)-end:]...)
	}
	return strings.Join(all, "\n")
}

// secret reports whether something in a line is better not shown.
func secret(line string) bool {
	if Token([]byte(line)) != "" {
		return true
	}
	for _, form := range given {
		if form.MatchString(line) {
			return true
		}
	}
	return false
}
