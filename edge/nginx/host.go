package nginx

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ringwall/ringwall/policy"
)

// A Host is the nginx of a machine. It runs nothing but that program.
type Host struct {
	Binary string `json:"binary"`           // nginx
	Conf   string `json:"conf,omitempty"`   // its main file; "": the one that it was built for
	Prefix string `json:"prefix,omitempty"` // its folder; "": likewise
}

// hostFile says in edge.nginx.folder, which is root's, on which nginx the policy
// was installed.
const hostFile = "host.json"

// InstalledOn is the nginx that the policy was installed on last, which another one
// of the machine must not be taken for. An error when it was
// installed on none.
func InstalledOn(p *policy.Policy) (Host, error) {
	var h Host
	b, err := os.ReadFile(filepath.Join(p.Edge.Nginx.Folder, hostFile))
	if err == nil {
		err = json.Unmarshal(b, &h)
	}
	if err == nil && !filepath.IsAbs(h.Binary) {
		err = fmt.Errorf("%q is no program", h.Binary)
	}
	if err != nil {
		return Host{}, fmt.Errorf("which nginx has this policy is not known until ringwall nginx install: %w", err)
	}
	return h, nil
}

// FindHost finds nginx: at name, or, for "", in PATH and where Debian has it.
func FindHost(name string) (Host, error) {
	if name != "" {
		found, err := exec.LookPath(name)
		if err != nil {
			return Host{}, fmt.Errorf("nginx: %w", err)
		}
		return Host{Binary: found}, nil
	}
	if found, err := exec.LookPath("nginx"); err == nil {
		return Host{Binary: found}, nil
	}
	for _, found := range []string{"/usr/sbin/nginx", "/usr/local/sbin/nginx"} {
		if _, err := os.Stat(found); err == nil {
			return Host{Binary: found}, nil
		}
	}
	return Host{}, errors.New("nginx is not installed")
}

// Args are arguments with those that name its main file and its folder.
func (h Host) Args(args ...string) []string {
	if h.Conf != "" {
		args = append(args, "-c", h.Conf)
	}
	if h.Prefix != "" {
		args = append(args, "-p", h.Prefix)
	}
	return args
}

// Command is what to type for nginx to get the arguments.
func (h Host) Command(args ...string) string {
	return strings.Join(append([]string{h.Binary}, h.Args(args...)...), " ")
}

// plain is an error when a command of this nginx cannot be written to a file:
// shells, systemd and logrotate each have characters of their own.
func (h Host) plain() error {
	for _, path := range []string{h.Binary, h.Conf, h.Prefix} {
		if strings.Trim(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-/") != "" {
			return fmt.Errorf("%q cannot be written to a unit of systemd: name a path of letters, digits and . _ + - /, such as a link to it", path)
		}
	}
	return nil
}

// run runs nginx with the arguments, within half a minute.
func (h Host) run(ctx context.Context, args ...string) (string, error) {
	args = h.Args(args...)
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, h.Binary, args...)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Version asks nginx which it is.
func (h Host) Version(ctx context.Context) (Version, error) {
	out, err := h.run(ctx, "-V")
	if err != nil {
		return Version{}, fmt.Errorf("%s -V: %w: %s", h.Binary, err, lastLines(out, 1))
	}
	return ParseVersion(out)
}

// Test has nginx judge its configuration as it is on disk. The error has what
// nginx says.
func (h Host) Test(ctx context.Context) error {
	out, err := h.run(ctx, "-t")
	if err != nil {
		return fmt.Errorf("nginx -t: %s", complaint(out, err))
	}
	return nil
}

// complaint is what of nginx's words says what is wrong.
func complaint(out string, err error) string {
	var lines []string
	for line := range strings.Lines(out) {
		if strings.Contains(line, "[emerg]") || strings.Contains(line, "[crit]") || strings.Contains(line, "[error]") || strings.Contains(line, "[alert]") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	if len(lines) == 0 {
		return strings.TrimSpace(err.Error() + " " + lastLines(out, 3))
	}
	return strings.Join(lines, "\n  ")
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "; ")
}

// A File is one that nginx reads.
type File struct {
	Name, Text string
}

var dumped = regexp.MustCompile(`(?m)^# configuration file (/.+):$`)

// Files are all that nginx reads as its configuration, included ones too.
func (h Host) Files(ctx context.Context) ([]File, error) {
	out, err := h.run(ctx, "-T")
	if err != nil {
		return nil, fmt.Errorf("nginx -T: %s", complaint(out, err))
	}
	var files []File
	at := dumped.FindAllStringSubmatchIndex(out, -1)
	for i, m := range at {
		end := len(out)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		files = append(files, File{out[m[2]:m[3]], strings.TrimPrefix(out[m[1]:end], "\n")})
	}
	if len(files) == 0 {
		return nil, errors.New("nginx -T names no file")
	}
	return files, nil
}

var builtPid = regexp.MustCompile(`--pid-path=(\S+)`)

// Running is the process id of nginx's master, 0 when none runs.
func (h Host) Running(ctx context.Context, files []File) (int, error) {
	out, err := h.run(ctx, "-V")
	if err != nil {
		return 0, err
	}
	name := "/run/nginx.pid"
	if m := builtPid.FindStringSubmatch(out); m != nil {
		name = m[1]
	}
	for _, f := range files {
		ds, _ := Parse(f.Name, f.Text) // another file may not be ours to understand
		for _, d := range ds {
			if d.Name == "pid" && len(d.Args) == 1 {
				name = d.Args[0]
			}
		}
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(h.Prefix, name)
	}
	b, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid <= 1 || syscall.Kill(pid, 0) == syscall.ESRCH {
		return 0, nil
	}
	return pid, nil
}

// Reload has the running nginx take its configuration, and sees that it did: a
// master that finds a port taken, or a file unreadable, goes on with the old one
// and says so in its log alone. It then has no new workers. When it returns, the
// old ones take no connections any more.
func (h Host) Reload(ctx context.Context, pid int) error {
	before := workers(pid)
	if out, err := h.run(ctx, "-s", "reload"); err != nil {
		return fmt.Errorf("nginx -s reload: %s", complaint(out, err))
	}
	for range 100 {
		if replaced(before, workers(pid)) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	if syscall.Kill(pid, 0) == syscall.ESRCH {
		return errors.New("nginx ended instead of taking its configuration")
	}
	return errors.New("nginx did not take its configuration, and goes on with the one before; its error log says why")
}

// replaced reports whether there is a new worker, and of the old ones none that
// still takes connections.
func replaced(before, now map[int]bool) bool {
	anew := false
	for worker := range now {
		if !before[worker] {
			anew = true
			continue
		}
		title, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", worker))
		if err == nil && !strings.Contains(string(title), "shutting down") {
			return false
		}
	}
	return anew
}

// workers are the children of a process.
func workers(pid int) map[int]bool {
	out := map[int]bool{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		_, rest, ok := strings.Cut(string(b[strings.LastIndexByte(string(b), ')')+1:]), " ")
		f := strings.Fields(rest) // state, parent
		if !ok || len(f) < 2 || f[1] != strconv.Itoa(pid) {
			continue
		}
		n, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err == nil {
			out[n] = true
		}
	}
	return out
}
