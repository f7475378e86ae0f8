package nginx

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/ringwall/ringwall/policy"
)

// Diff compares what the policy says with the files that are there: "" when
// nothing differs, the last install came to its end, there is a certificate, and the
// nginx that runs has read them all. Secrets are not shown. It writes nothing.
func (in *Installer) Diff(ctx context.Context, p *policy.Policy) (string, error) {
	var err error
	if in.Options.Version, err = in.Host.Version(ctx); err != nil {
		return "", err
	}
	files, err := in.Host.Files(ctx)
	if err != nil {
		return "", err
	}
	old, err := unfinished(in.backups(p))
	if err != nil {
		return "", err
	}
	changes, waits, err := in.Plan(p, files)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	if old != nil { // what it has written may all be there, and nobody has proved it
		fmt.Fprintf(&out, "%s: an install is at work, or was broken off: run ringwall nginx install\n", old.folder)
	}
	if waits {
		cert, _ := Certificate(p)
		fmt.Fprintf(&out, "%s: %v; then run ringwall nginx install\n", cert, ErrNeedsCertificate)
	}
	for _, c := range changes {
		d, err := c.diff()
		if err != nil {
			return "", err
		}
		out.WriteString(d)
	}
	not, err := in.unread(ctx, p, files, changes)
	for _, name := range not {
		fmt.Fprintf(&out, "%s: %s\n", name, NotRead)
	}
	return out.String(), err
}

// NotRead ends the line of Diff about a file that the running nginx has not read.
const NotRead = "nginx has not read this since it was changed: it runs with what was there before, until a reload that goes well"

// unread are the files of the site that the running nginx has not read; none where
// it does not run, as it begins with what is there.
func (in *Installer) unread(ctx context.Context, p *policy.Policy, files []File, changes []Change) ([]string, error) {
	pid, err := in.Host.Running(ctx, files)
	if err != nil || pid == 0 {
		return nil, err
	}
	cert, key := Certificate(p)
	patience := map[string]time.Duration{cert: 0, key: 0}
	for _, f := range files {
		if strings.HasPrefix(f.Name, p.Edge.Nginx.Folder+"/") || f.Name == p.Edge.Nginx.Conf {
			patience[f.Name] = 0
		}
	}
	for _, c := range changes {
		if strings.HasPrefix(c.Path, p.Edge.Nginx.State+"/") { // Ringwall writes it, and has nginx read it
			patience[c.Path] = 2 * Every
		}
	}
	return unread(pid, patience)
}

func (c Change) diff() (string, error) {
	fi, err := os.Stat(c.Path)
	missing := errors.Is(err, fs.ErrNotExist)
	switch {
	case err != nil && !missing:
		return "", err
	case c.Remove:
		if missing {
			return "", nil
		}
		return fmt.Sprintf("%s: is to be taken out\n", c.Path), nil
	case missing:
		return fmt.Sprintf("%s: is not there\n", c.Path), nil
	case c.Folder || c.Keep:
		if mode := fi.Mode().Perm(); mode&^c.Mode != 0 {
			return fmt.Sprintf("%s: others can get at it, mode %04o instead of %04o\n", c.Path, mode, c.Mode), nil
		}
		return "", nil
	}
	b, err := os.ReadFile(c.Path)
	if err != nil {
		return "", err
	}
	var out string
	if string(b) != c.Text {
		if c.Secret {
			out = fmt.Sprintf("%s: holds something else, which is secret\n", c.Path)
		} else {
			out = fmt.Sprintf("--- %s\n+++ the policy\n%s", c.Path, diffLines(string(b), c.Text))
		}
	}
	if mode := fi.Mode().Perm(); mode&^c.Mode != 0 {
		out += fmt.Sprintf("%s: others can get at it, mode %04o instead of %04o\n", c.Path, mode, c.Mode)
	}
	return out, nil
}

// diffLines shows what differs of two texts, line by line, each change with its
// place in the first one.
func diffLines(was, is string) string {
	a, b := strings.SplitAfter(was, "\n"), strings.SplitAfter(is, "\n")
	const most = 5000
	if len(a) > most || len(b) > most {
		return "  they differ, and are too long to be compared\n"
	}
	// The longest common subsequence, after what is the same at both ends.
	before := 0
	for before < len(a) && before < len(b) && a[before] == b[before] {
		before++
	}
	after := 0
	for after < len(a)-before && after < len(b)-before && a[len(a)-1-after] == b[len(b)-1-after] {
		after++
	}
	x, y := a[before:len(a)-after], b[before:len(b)-after]
	common := make([][]int32, len(x)+1)
	for i := range common {
		common[i] = make([]int32, len(y)+1)
	}
	for i := len(x) - 1; i >= 0; i-- {
		for j := len(y) - 1; j >= 0; j-- {
			if x[i] == y[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var out strings.Builder
	together := false
	line := func(i int, mark, text string) {
		if !together {
			fmt.Fprintf(&out, "@@ line %d @@\n", before+i+1)
			together = true
		}
		out.WriteString(mark + strings.TrimSuffix(text, "\n") + "\n")
	}
	for i, j := 0, 0; i < len(x) || j < len(y); {
		switch {
		case i < len(x) && j < len(y) && x[i] == y[j]:
			i, j, together = i+1, j+1, false
		case j == len(y) || i < len(x) && common[i+1][j] >= common[i][j+1]:
			line(i, "-", x[i])
			i++
		default:
			line(i, "+", y[j])
			j++
		}
	}
	return out.String()
}
