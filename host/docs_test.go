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
