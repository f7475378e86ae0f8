package main

import (
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMistakesAreToldBeforeTheWork: what could not be written, or asked for, is
// told at once, and not when a check of some minutes has ended.
func TestMistakesAreToldBeforeTheWork(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		change func(*checkFlags)
		want   string
	}{
		{func(f *checkFlags) { f.out = []string{filepath.Join(dir, "none", "x.html")} }, "nothing can be written in " + filepath.Join(dir, "none") + ": no such file"},
		{func(f *checkFlags) { f.out = []string{dir}; f.format = "json" }, "it is a folder"},
		{func(f *checkFlags) { f.out = []string{filepath.Join(dir, "x.pdf")} }, ".html .json"},
		{func(f *checkFlags) { f.plainPort = "abc" }, "--http-port abc"},
		{func(f *checkFlags) { f.sshPort = "99999" }, "--ssh-port 99999"},
		{func(f *checkFlags) { f.timeout = -time.Second }, "--timeout -1s"},
		// Each side has its own names, and neither takes what is none of them.
		{func(f *checkFlags) { f.inside, f.only = true, []string{"inside/nothing"} }, "--only inside/nothing: there is no such check"},
		{func(f *checkFlags) { f.inside, f.only = true, []string{"inside/history", "outside/nothing"} }, "--only outside/nothing: there is no such check"},
	} {
		f := checkFlags{failOn: "unknown", maxRequests: 400, timeout: time.Minute}
		tt.change(&f)
		err := runCheck(t.Context(), io.Discard, f, []string{"https://127.0.0.1:1"})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v", tt.want, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".ringwall-*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}
