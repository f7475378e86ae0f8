package inside

import (
	"os"
	"path"
	"regexp"
	"strings"
)

// A job is what cron runs: a line of a crontab, or a program in a folder.
type job struct {
	file     string
	commands []string // each by itself
	idle     string   // why cron does not run it
}

// toSystemd stands in jobs of Debian's that do nothing where systemd runs.
const toSystemd = "/run/systemd/system"

// runParts are the names that run-parts(8) and cron.d take.
var runParts = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// jobs are all of cron's. The error is of a file that could not be read.
func (m *Machine) jobs() (jobs []job, err error) {
	read := func(name string) [][]byte {
		file, rerr := m.rootsLink(name)
		var b []byte
		if rerr == nil {
			b, rerr = m.head(file, 1<<20)
		}
		if rerr != nil && !absent(rerr) && err == nil {
			err = rerr
		}
		return lines(b)
	}
	for _, pattern := range []string{"/etc/crontab", "/etc/cron.d/*", "/var/spool/cron/crontabs/*", "/var/spool/cron/*"} {
		for _, name := range m.glob(pattern) {
			if fi, serr := os.Lstat(m.path(name)); serr == nil && fi.IsDir() {
				continue
			}
			j := job{file: name}
			if path.Dir(name) == "/etc/cron.d" && !runParts.MatchString(path.Base(name)) {
				j.idle = name + " has a name that cron leaves out"
			}
			for _, line := range read(name) {
				fields := 6 // minute, hour, day, month, weekday, and the user
				if strings.HasPrefix(name, "/var/spool/") {
					fields = 5
				}
				if strings.HasPrefix(string(line), "@") {
					fields -= 4
				}
				words := strings.Fields(string(line))
				if len(words) > fields && !strings.HasPrefix(words[0], "#") && !strings.Contains(words[0], "=") && !strings.Contains(string(line), toSystemd) {
					j.commands = append(j.commands, simple(strings.Join(words[fields:], " "))...)
				}
			}
			jobs = append(jobs, j)
		}
	}
	for _, pattern := range []string{"/etc/cron.hourly/*", "/etc/cron.daily/*", "/etc/cron.weekly/*"} {
		for _, name := range m.glob(pattern) {
			fi, serr := os.Stat(m.path(name)) // a link is run, too
			if serr != nil || !fi.Mode().IsRegular() {
				continue
			}
			j := job{file: name}
			switch {
			case !runParts.MatchString(path.Base(name)):
				j.idle = name + " has a name that run-parts leaves out"
			case fi.Mode().Perm()&0o111 == 0:
				j.idle = name + " cannot be executed"
			}
			for _, line := range read(name) {
				if strings.Contains(remark.ReplaceAllString(string(line), ""), toSystemd) {
					j.idle = name + " leaves it to a timer"
				}
				j.commands = append(j.commands, simple(string(line))...)
			}
			jobs = append(jobs, j)
		}
	}
	return jobs, err
}

var (
	redirected = regexp.MustCompile(`[0-9&]*[<>]{1,2}&?\s*[^\s;|&]+`)
	remark     = regexp.MustCompile(`(^|\s)#.*`)
	together   = regexp.MustCompile("[;&|()`{}]+")
	// Words before a command that are none.
	before = regexp.MustCompile(`^(if|then|else|elif|do|while|until|time|!|exec|sudo|nice|ionice|nohup|chronic|env|command|[A-Za-z_][A-Za-z0-9_]*=.*|-.*|[0-9]+)$`)
	// What a script says beside commands.
	syntax = regexp.MustCompile(`^(fi|done|esac|case|for|set|exit|return|export|local|trap|umask|shift|break|continue|true|false|:|source|\.)$`)
)

// simple splits a line of a shell into commands that begin with their program,
// without what they are given and give.
func simple(line string) (out []string) {
	line = redirected.ReplaceAllString(remark.ReplaceAllString(line, ""), " ")
	for _, one := range together.Split(line, -1) {
		words := strings.Fields(one)
		for len(words) > 0 && before.MatchString(words[0]) {
			words = words[1:]
		}
		if len(words) > 0 && !syntax.MatchString(words[0]) {
			out = append(out, strings.Join(words, " "))
		}
	}
	return out
}
