package inside

import (
	"strings"
	"testing"
)

// FuzzIndexed: a repository is anybody's, and its index whatever they like.
func FuzzIndexed(f *testing.F) {
	f.Add([]byte("DIRC\x00\x00\x00\x02\x00\x00\x00\x01"))
	f.Add([]byte("DIRC\x00\x00\x00\x04\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		names, err := indexed(b)
		if err == nil && len(b) < 12+62*len(names) {
			t.Errorf("%d names in %d bytes", len(names), len(b))
		}
	})
}

// FuzzSimple: a crontab is its user's, and each command of it begins with a program.
func FuzzSimple(f *testing.F) {
	f.Add("cd /srv && sudo -u x ./backup.sh >/dev/null 2>&1 # daily")
	f.Add("if [ -d /x ]; then A=b nice -n 19 restic backup `date`; fi")
	f.Fuzz(func(t *testing.T, line string) {
		for _, command := range simple(line) {
			if words := strings.Fields(command); len(words) == 0 || before.MatchString(words[0]) || syntax.MatchString(words[0]) {
				t.Errorf("%q has the command %q", line, command)
			}
		}
		quoted(line)
	})
}
