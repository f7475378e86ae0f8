package policy_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/ringwall/ringwall/policy"
)

// When the tests' policies are loaded.
func testNow() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }

// alone loads without the environment of whoever runs the tests.
func alone(env ...string) policy.LoadOptions {
	return policy.LoadOptions{Environ: append([]string{}, env...), Now: testNow}
}

func FuzzParse(f *testing.F) {
	f.Add(string(policy.Template("api.example.com", "http://127.0.0.1:8000")))
	f.Add(string(policy.Default().Show()))
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, name := range files {
		a, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range a.Files {
			f.Add(string(file.Data))
		}
	}
	f.Add("a: &a [*a, *a]\n")
	f.Add("site: a\n<<: {app: {body: 1MB}}\n")
	f.Add("site: \"a\\nb\"\r\napp: |\r\n  x\r\n")
	f.Fuzz(func(t *testing.T, src string) {
		p, err := policy.Parse("fuzz.yaml", []byte(src), alone())
		if err != nil {
			judgeErrors(t, src, err)
			return
		}
		shown := p.Show()
		again, err := policy.Parse("shown.yaml", shown, alone())
		if err != nil {
			t.Fatalf("Show wrote what Parse refuses: %v\n%s", err, shown)
		}
		sameValues(t, p, again)
	})
}

// judgeErrors holds what is true of all errors: Errors of at least one, each
// with a reason, placed in the file and in order of the places.
func judgeErrors(t *testing.T, src string, err error) {
	t.Helper()
	var all policy.Errors
	if !errors.As(err, &all) || len(all) == 0 {
		t.Fatalf("not policy.Errors: %T %v", err, err)
	}
	lines := strings.Split(strings.TrimPrefix(src, "\ufeff"), "\n")
	before := 0
	for _, e := range all {
		if e.Reason == "" || e.Error() == "" {
			t.Errorf("no reason: %#v", e)
		}
		if e.Line == 0 {
			continue
		}
		if e.Line < before || e.Line > len(lines) {
			t.Errorf("line %d of %d stands after line %d", e.Line, len(lines), before)
		}
		before = e.Line
		if e.Column < 1 || e.Column > utf8.RuneCountInString(lines[min(e.Line, len(lines))-1])+1 {
			t.Errorf("column %d is not on the line %q", e.Column, e.Source)
		}
	}
	if text := err.Error(); strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\n' || r == 0x7f }) {
		t.Errorf("a control character reaches the terminal: %q", text)
	}
}

// sameValues compares all that two policies say, not where they were read.
func sameValues(t *testing.T, a, b *policy.Policy) {
	t.Helper()
	if d := difference(a, b); d != "" {
		t.Error(d)
	}
}

func difference(a, b *policy.Policy) string {
	va, vb := reflect.ValueOf(a).Elem(), reflect.ValueOf(b).Elem()
	for i := range va.NumField() {
		if f := va.Type().Field(i); f.IsExported() && !reflect.DeepEqual(va.Field(i).Interface(), vb.Field(i).Interface()) {
			return fmt.Sprintf("%s differs:\n%+v\n%+v", f.Name, va.Field(i), vb.Field(i))
		}
	}
	return ""
}
