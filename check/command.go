package check

import (
	"fmt"
	"regexp"
	"strings"
)

// given is a line that gives something a value that is better not shown.
var given = regexp.MustCompile(`(?i)(?:secret|token|passwd|password|private_?key|api_?key|database_url)["']?\s*[=:]\s*["']?[^\s"'<$*\[]{6,}`)

// Command is a command and what it printed, as evidence: the first lines of it,
// none that may hold a secret, and of a log only how long it is. An error stands
// in the place of the output.
func Command(argv []string, printed string, err error) Exchange {
	e := Exchange{Sent: "$ " + strings.ReplaceAll(strings.Join(argv, " "), "\n", `\n`)}
	switch printed = strings.TrimRight(printed, "\n"); {
	case err != nil:
		e.Received = "[" + shown(err.Error()) + "]"
	case printed == "":
		e.Received = "[nothing]"
	case argv[0] == "journalctl":
		e.Received = fmt.Sprintf("[%d lines]", strings.Count(printed, "\n")+1)
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
	if len(all) > maxLines {
		all = append(append(all[:maxLines-end-1:maxLines-end-1], "…"), all[len(all)-end:]...)
	}
	for i, line := range all {
		if Token([]byte(line)) != "" || given.MatchString(line) {
			all[i] = "[redacted]"
		}
	}
	return strings.Join(all, "\n")
}
