package host_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/ringwall/ringwall/host"
)

var update = flag.Bool("update", false, "write the list of controls into docs/host.md")

// TestDocs holds the list in docs/host.md to what the code says.
func TestDocs(t *testing.T) {
	const path = "../docs/host.md"
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), "<!-- controls -->\n")
	_, after, ok2 := strings.Cut(rest, "<!-- end -->")
	if !ok || !ok2 {
		t.Fatal(path + " has no place for the list of controls")
	}
	var list strings.Builder
	list.WriteString("| control | what is then true | against | see |\n|---|---|---|---|\n")
	for _, c := range host.Controls() {
		fmt.Fprintf(&list, "| `%s` | %s | %s | %s |\n", c.ID, c.Title, c.Why, c.Ref)
	}
	want := before + "<!-- controls -->\n" + list.String() + "<!-- end -->" + after
	if want == string(b) {
		return
	}
	if !*update {
		t.Fatal(path + " does not list what the code has; write it with: go test ./host -run Docs -update")
	}
	if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestDocsKeepWarnings: what ssh-audit warns of and an apply keeps, by the list that a
// booted server is compared with, is told where its result is praised, too.
func TestDocsKeepWarnings(t *testing.T) {
	list, err := os.ReadFile("../docs/check.md")
	if err != nil {
		t.Fatal(err)
	}
	told, err := os.ReadFile("../docs/host.md")
	if err != nil {
		t.Fatal(err)
	}
	_, row, _ := strings.Cut(string(told), "| ssh-audit 2.5.0 | ")
	row, _, _ = strings.Cut(row, "\n")
	kept := 0
	for line := range strings.Lines(string(list)) {
		cell := strings.Split(line, " | ")
		if len(cell) < 4 || cell[0] != "| ssh-audit" || !strings.HasPrefix(cell[2], "warn") || cell[3] != "kept" {
			continue
		}
		for name := range strings.SplitSeq(cell[1], ", ") {
			kept++
			if !strings.Contains(row, name) {
				t.Errorf("docs/host.md does not tell of ssh-audit's warning of %s", name)
			}
		}
	}
	if kept == 0 || !strings.Contains(row, fmt.Sprintf(", %d warnings:", kept)) {
		t.Errorf("docs/check.md has %d warnings that are kept, and docs/host.md says: %s", kept, row)
	}
}
