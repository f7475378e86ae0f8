package reporttest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/internal/reporttest"
)

// judge stands for a test, and keeps whether it failed.
type judge struct {
	testing.TB
	said []string
}

func (j *judge) Helper() {}
func (j *judge) Errorf(format string, args ...any) {
	j.said = append(j.said, format)
}

func TestSame(t *testing.T) {
	report := func(second check.Finding) check.Report {
		return check.Report{Target: "vm", Results: []check.Result{
			{Meta: check.Meta{ID: "host/ssh", Title: "Keys only"}, Finding: check.Passed("OpenSSH 9.2p1 answers in 12ms")},
			{Meta: check.Meta{ID: "inside/updates", Title: "None waits"}, Finding: second},
		}}
	}
	for name, tt := range map[string]struct {
		written, seen check.Report
		except        string
		want          int
	}{
		"as it was":         {written: report(check.Passed("none")), seen: report(check.Passed("none"))},
		"another number":    {written: report(check.Passed("11 of 1.2.3 in 3ms")), seen: report(check.Passed("7 of 1.10 in 1.5s"))},
		"other words":       {written: report(check.Passed("none")), seen: report(check.Passed("nothing")), want: 2},
		"another verdict":   {written: report(check.Passed("none")), seen: report(check.Failed("none", "", "")), want: 2},
		"one more":          {written: report(check.Passed("none")), seen: check.Report{Results: report(check.Finding{}).Results[:1]}, want: 1},
		"another, left out": {written: report(check.Passed("none")), seen: report(check.Failed("apt", "", "")), except: "inside/updates"},
		"nothing":           {written: check.Report{}, seen: check.Report{}, want: 1},
	} {
		file := filepath.Join(t.TempDir(), "report.txt")
		var b strings.Builder
		if err := tt.written.WriteText(&b, check.Text{}); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		j := &judge{TB: t}
		if reporttest.Same(j, file, tt.seen, tt.except); len(j.said) != tt.want {
			t.Errorf("%s: %q, want %d", name, j.said, tt.want)
		}
	}
}
