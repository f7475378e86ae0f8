package policy_test

import (
	"errors"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/ringwall/ringwall/policy"
)

var update = flag.Bool("update", false, "rewrite the answers in testdata")

func TestMistakes(t *testing.T) {
	const file = "testdata/mistakes.txtar"
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(archive.Files); i += 2 {
		src, want := archive.Files[i], &archive.Files[i+1]
		name, _ := strings.CutSuffix(src.Name, ".yaml")
		if want.Name != name+".want" {
			t.Fatalf("%s follows %s", want.Name, src.Name)
		}
		t.Run(name, func(t *testing.T) {
			opts := alone()
			opts.Dev = strings.HasPrefix(name, "dev-")
			p, err := policy.Parse("ringwall.yaml", src.Data, opts)
			if err == nil || p != nil {
				t.Fatal("accepted")
			}
			judgeErrors(t, string(src.Data), err)
			var all policy.Errors
			errors.As(err, &all)
			for _, e := range all {
				if e.Hint == "" {
					t.Errorf("no hint: %v", e)
				}
			}
			got := err.Error() + "\n"
			if *update {
				want.Data = []byte(got)
			} else if got != string(want.Data) {
				t.Errorf("got\n%s\nwant\n%s", got, want.Data)
			}
		})
	}
	if *update {
		if err := os.WriteFile(file, txtar.Format(archive), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}
