package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/google/renameio/v2"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/report"
	"github.com/ringwall/ringwall/internal/state"
)

// formats are the forms of a report, by the name that --format knows. Text is
// written apart, for it knows of terminals.
var formats = map[string]func(io.Writer, check.Report) error{
	"text":   nil,
	"json":   func(w io.Writer, r check.Report) error { return r.WriteJSON(w) },
	"sarif":  report.SARIF,
	"junit":  report.JUnit,
	"html":   report.HTML,
	"badge":  report.Badge,
	"shield": report.Shields,
}

// endings say in which form a file is written whose name ends so.
var endings = map[string]string{".json": "json", ".sarif": "sarif", ".xml": "junit", ".html": "html", ".htm": "html", ".svg": "badge", ".txt": "text"}

func formatNames() []string { return slices.Sorted(maps.Keys(formats)) }

// writeReports writes the report to every file of --out, or to w.
func writeReports(w io.Writer, f checkFlags, r check.Report) error {
	text := check.Text{By: check.View(f.by), Long: f.long}
	write := func(w io.Writer, format string, text check.Text) error {
		if format == "text" || format == "" {
			return r.WriteText(w, text)
		}
		return formats[format](w, r)
	}
	if len(f.out) == 0 {
		if file, ok := w.(*os.File); ok {
			text.Color = colors(file)
		}
		return write(w, f.format, text)
	}
	for _, name := range f.out {
		format, err := f.formOf(name)
		if err != nil {
			return err
		}
		// Written whole or not at all: others read it.
		var b bytes.Buffer
		if err := write(&b, format, text); err != nil {
			return err
		}
		if err := replaceFile(name, b.Bytes()); err != nil {
			return fmt.Errorf("--out: %w", err)
		}
	}
	for _, res := range r.ToDo() {
		fmt.Fprintf(os.Stderr, "%-7s  %s: %.160s\n", strings.ToUpper(res.Verdict.String()), res.ID, res.Got)
	}
	fmt.Fprintf(os.Stderr, "%s; written to %s\n", r.Summary(), strings.Join(f.out, ", "))
	return nil
}

// formOf is the form in which a file of --out is written.
func (f *checkFlags) formOf(name string) (string, error) {
	if f.format != "" {
		return f.format, nil
	}
	format := endings[strings.ToLower(filepath.Ext(name))]
	if format == "" {
		return "", fmt.Errorf("--out %s: its name does not end in one of %s; or add --format", name, strings.Join(slices.Sorted(maps.Keys(endings)), " "))
	}
	return format, nil
}

// writable is an error when a file of --out could not be written: told before the
// work, which would be lost.
func (f *checkFlags) writable() error {
	for _, name := range f.out {
		if _, err := f.formOf(name); err != nil {
			return err
		}
		if stream(name) {
			continue
		}
		to, err := leadsTo(name)
		if err != nil {
			return fmt.Errorf("--out %s: %w", name, err)
		}
		if fi, err := os.Lstat(to); err == nil && !fi.Mode().IsRegular() {
			if fi.IsDir() {
				return fmt.Errorf("--out %s: it is a folder", name)
			}
			continue // a device, which is written as it is
		}
		dir := filepath.Dir(to)
		tmp, err := os.CreateTemp(dir, ".ringwall-")
		if err != nil {
			return fmt.Errorf("--out %s: nothing can be written in %s: %w", name, dir, unwrapped(err))
		}
		tmp.Close()
		_ = os.Remove(tmp.Name())
	}
	return nil
}

// unwrapped is an error without the path that it was about.
func unwrapped(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

// stream reports a name that is written to and never replaced, whatever it leads to:
// /dev/stdout may be a file.
func stream(name string) bool {
	return strings.HasPrefix(name, "/dev/") && !strings.HasPrefix(name, "/dev/shm/") || strings.HasPrefix(name, "/proc/")
}

// leadsTo is where a link leads, so that the link stays. It is an error when another
// user has put a link, a pipe or a device there: root, who writes a report to /tmp,
// must not be led to /etc.
func leadsTo(name string) (string, error) {
	to, err := state.Follow(name)
	if err != nil {
		return "", err
	}
	if fi, err := os.Lstat(to); err == nil && !fi.Mode().IsRegular() && !fi.IsDir() {
		if st, ok := fi.Sys().(*syscall.Stat_t); ok && st.Uid != 0 && int(st.Uid) != os.Geteuid() {
			return "", fmt.Errorf("%s is no file, and of another user (uid %d)", to, st.Uid)
		}
	}
	return to, nil
}

// replaceFile writes a whole file, or a device that cannot be replaced.
func replaceFile(name string, b []byte) error {
	to := name
	if !stream(name) {
		var err error
		if to, err = leadsTo(name); err != nil {
			return err
		}
	}
	if fi, err := os.Stat(to); err == nil && (stream(name) || !fi.Mode().IsRegular()) {
		file, err := os.OpenFile(to, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer file.Close()
		_, err = file.Write(b)
		return err
	}
	return renameio.WriteFile(to, b, 0o644, renameio.WithTempDir(filepath.Dir(to)))
}
