package host

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// Show is a change as people read it: its command, or the lines of its file
// that change, against the server as it is.
func (c Change) Show(f *Facts) string {
	switch {
	case c.File != nil:
		return c.File.show(f)
	case c.Package != nil:
		return "$ apt-get install " + strings.Join(c.Package.Names, " ")
	case c.Unit != nil:
		now := ""
		if c.Unit.Do == Enable || c.Unit.Do == Disable || c.Unit.Do == Mask {
			now = " --now"
		}
		return "$ systemctl " + string(c.Unit.Do) + now + " " + c.Unit.Name
	case c.User != nil:
		return "+ " + c.User.Name + " in " + strings.Join(c.User.Groups, ", ")
	case c.Command != nil:
		return "$ " + strings.Join(c.Command.Argv, " ")
	}
	return ""
}

func (w *File) show(f *Facts) string {
	now, err := f.File(w.Path)
	var b strings.Builder
	switch is := fmt.Sprintf("%s %s", now.Mode.Perm(), now.Owner); {
	case err != nil:
		return fmt.Sprintf("%s: %v", w.Path, err)
	case w.Absent:
		fmt.Fprintf(&b, "--- %s (%s)\n+++ removed", w.Path, is)
		return b.String()
	case !now.Exists:
		fmt.Fprintf(&b, "+++ %s (new, %s %s)", w.Path, fs.FileMode(w.Mode), w.owner())
	case is != fmt.Sprintf("%s %s", fs.FileMode(w.Mode), w.owner()):
		fmt.Fprintf(&b, "+++ %s (%s becomes %s %s)", w.Path, is, fs.FileMode(w.Mode), w.owner())
	default:
		fmt.Fprintf(&b, "+++ %s", w.Path)
	}
	for _, line := range lines(now.Content, w.Content) {
		b.WriteString("\n" + line)
	}
	return b.String()
}

// around is how many unchanged lines are shown around a change.
const around = 2

// lines compares two texts line by line, as diff -u does: the longest common
// subsequence stays, with little around what changes.
func lines(old, new string) []string {
	a, b := split(old), split(new)
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	end := 0
	for end < len(a)-head && end < len(b)-head && a[len(a)-1-end] == b[len(b)-1-end] {
		end++
	}
	var out []string
	for _, l := range a[max(0, head-around):head] {
		out = append(out, " "+l)
	}
	out = append(out, changed(a[head:len(a)-end], b[head:len(b)-end])...)
	for _, l := range a[len(a)-end : len(a)-end+min(end, around)] {
		out = append(out, " "+l)
	}
	return out
}

func split(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(s, "\n"), "\n")
}

// mostCells bounds the table of changed, for which two files of 2000 lines are
// enough; larger ones are shown as removed and added whole.
const mostCells = 4 << 20

func changed(a, b []string) []string {
	if len(a)*len(b) > mostCells {
		return slices.Concat(marked("-", a), marked("+", b))
	}
	// common[i][j] is the length of the longest subsequence of a[i:] and b[j:].
	common := make([][]int, len(a)+1)
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var out []string
	i, j := 0, 0
	for i < len(a) && j < len(b) {
		switch {
		case a[i] == b[j]:
			out = append(out, " "+a[i])
			i, j = i+1, j+1
		case common[i+1][j] >= common[i][j+1]:
			out = append(out, "-"+a[i])
			i++
		default:
			out = append(out, "+"+b[j])
			j++
		}
	}
	return slices.Concat(out, marked("-", a[i:]), marked("+", b[j:]))
}

func marked(sign string, lines []string) []string {
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = sign + l
	}
	return out
}
