package arch_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/check/inside"
	"github.com/ringwall/ringwall/check/outside"
	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/host"
	"github.com/ringwall/ringwall/identity"
)

// TestEveryControlIsListed reads the files of each ring, and of the checks that need
// none: what somebody wrote and forgot to list would never be enforced, or looked at.
// Each has a file of its own.
func TestEveryControlIsListed(t *testing.T) {
	for _, ring := range []struct {
		dir, kind string
		all       int
	}{
		{"app", "Control", len(app.Controls())},
		{"edge", "Control", len(edge.Controls())},
		{"identity", "Control", len(identity.Controls())},
		{"host", "Control", len(host.Controls())},
		{"check/inside", "Check", len(inside.Checks(&inside.Machine{}))},
		{"check/outside", "Check", len(outside.Checks())},
	} {
		t.Run(strings.ReplaceAll(ring.dir, "/", "-"), func(t *testing.T) {
			declared, listed := controlsOf(t, filepath.Join("..", "..", ring.dir), ring.kind)
			if len(listed) != ring.all {
				t.Errorf("the literal lists %d names, the package gives %d", len(listed), ring.all)
			}
			inFile := map[string]string{}
			for name, file := range declared {
				if !slices.Contains(listed, name) {
					t.Errorf("%s: %s is in no list", file, name)
				}
				if other := inFile[file]; other != "" {
					t.Errorf("%s holds two, %s and %s: one file each", file, name, other)
				}
				inFile[file] = name
			}
			for _, name := range listed {
				if declared[name] == "" {
					t.Errorf("%s is listed, and is no %s literal", name, ring.kind)
				}
			}
		})
	}
}

// controlsOf are the variables of a package that are literals of a type, by their
// files, and the names in its literal list of that type.
func controlsOf(t *testing.T, dir, kind string) (declared map[string]string, listed []string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no files: %v", err)
	}
	declared = map[string]string{}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		is := func(e ast.Expr) bool { id, ok := e.(*ast.Ident); return ok && id.Name == kind }
		for _, d := range f.Decls {
			if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.VAR {
				for _, s := range g.Specs {
					for i, value := range s.(*ast.ValueSpec).Values {
						if lit, ok := value.(*ast.CompositeLit); ok && is(lit.Type) {
							declared[s.(*ast.ValueSpec).Names[i].Name] = filepath.Base(name)
						}
					}
				}
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if lit, ok := n.(*ast.CompositeLit); ok {
				if list, ok := lit.Type.(*ast.ArrayType); ok && is(list.Elt) {
					for _, e := range lit.Elts {
						if id, ok := e.(*ast.Ident); ok {
							listed = append(listed, id.Name)
						}
					}
				}
			}
			return true
		})
	}
	return declared, listed
}
