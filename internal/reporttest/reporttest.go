// Package reporttest holds the reports in docs, which are there for readers, to what
// the tests see that they tell of.
package reporttest

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ringwall/ringwall/check"
)

// Same fails the test unless the file tells of the same results as the report, word
// for word but for numbers and versions, which are those of one machine and one day,
// and for where lines break. Of the checks in except it compares nothing.
func Same(t testing.TB, file string, r check.Report, except ...string) {
	t.Helper()
	docs, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var run strings.Builder
	if err := r.WriteText(&run, check.Text{}); err != nil {
		t.Fatal(err)
	}
	got, want := results(run.String(), except), results(string(docs), except)
	for _, s := range got {
		if !slices.Contains(want, s) {
			t.Errorf("%s does not have this; -update writes it anew\n%s", file, s)
		}
	}
	for _, s := range want {
		if !slices.Contains(got, s) {
			t.Errorf("%s has this, and the run had not; -update writes it anew\n%s", file, s)
		}
	}
	if len(got) == 0 {
		t.Errorf("there is no result to compare %s with", file)
	}
}

var (
	begins   = regexp.MustCompile(`(?m)^[A-Z]+ +([a-z]+/[a-z0-9-]+): |^[0-9]+ pass, `)
	changing = regexp.MustCompile(`ringwall-check-[a-z0-9]+|/var/log/journal/\w+|[0-9][0-9.]*(ms|µs|s\b)?`)
)

// results are those of a text, each without what changes from run to run.
func results(text string, except []string) (out []string) {
	at := append(begins.FindAllStringSubmatchIndex(text, -1), []int{len(text)})
	for i := range len(at) - 1 {
		if at[i][2] < 0 { // the sum, which is of the results
			break
		}
		if !slices.Contains(except, text[at[i][2]:at[i][3]]) {
			out = append(out, changing.ReplaceAllString(strings.Join(strings.Fields(text[at[i][0]:at[i+1][0]]), " "), "#"))
		}
	}
	return out
}
