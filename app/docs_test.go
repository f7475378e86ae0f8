package app_test

import (
	"cmp"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/identity"
	"github.com/ringwall/ringwall/policy"
)

var update = flag.Bool("update", false, "write docs/controls.md")

// TestDocsControls holds docs/controls.md to what the code says.
func TestDocsControls(t *testing.T) {
	const file = "../docs/controls.md"
	got := controlsPage(t)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("docs/controls.md is not what the code says; write it with: go test ./app -run Docs -update")
	}
}

func controlsPage(t *testing.T) string {
	var b strings.Builder
	b.WriteString(`# Controls

Every control of the app ring, outermost first: a request meets them in this order. Then those of the edge and of accounts; the server's are in
[host.md](host.md). ` + "`ringwall check URL`" + ` proves them from outside; ` + "`ringwall policy explain GET /path`" + ` shows what is in force for one request.

A refusal is answered with ` + "`application/problem+json`" + ` (RFC 9457). Its ` + "`type`" + ` is the address of the control's part of this page:

` + "```json" + `
{
  "type": "https://github.com/ringwall/ringwall/blob/main/docs/controls.md#app-rate",
  "title": "Too Many Requests",
  "status": 429,
  "detail": "Too many requests. Try again later.",
  "request_id": "0af7651916cd43dd8448eb211c80319c"
}
` + "```" + `

` + "`detail`" + ` never repeats what was sent. On 400, ` + "`errors`" + ` lists what is wrong as ` + "`{\"path\", \"code\", \"message\"}`" + `.
The log holds the reason for the operator, under the same ` + "`request_id`" + `.

A control is switched off by a waiver in the policy, and by nothing else. Every report shows it. From the day after its last, the control is
in force again and the check fails until the line is gone.

` + "```yaml" + `
waivers:
  - {control: app/hsts, reason: "the load balancer in front sends it", until: 2027-01-31}
` + "```" + `

This page is generated from the code: ` + "`go test ./app -run Docs -update`" + `.
`)
	defaults, err := app.Explain(policy.Default(), "GET", "/", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	statuses := answeredStatuses(t)
	for i, c := range app.Controls() {
		anchor := strings.ReplaceAll(c.ID, "/", "-")
		fmt.Fprintf(&b, "\n<a id=%q></a>\n## %s\n\n**%s.** %s\n\n", anchor, c.ID, c.Title, c.Why)
		fmt.Fprintf(&b, "- By default: %s\n", defaults.Controls[i].Value)
		if len(c.Owns) > 0 {
			fmt.Fprintf(&b, "- Owns: `%s`\n", strings.Join(c.Owns, "`, `"))
		}
		var answers []string
		for _, status := range slices.Sorted(maps.Keys(statuses[c.ID])) {
			answers = append(answers, fmt.Sprintf("%d %s", status, http.StatusText(status)))
		}
		if len(answers) > 0 {
			fmt.Fprintf(&b, "- Refuses with: %s\n", strings.Join(answers, ", "))
		}
		fmt.Fprintf(&b, "- Reference: %s\n", c.Ref)
		if c.Inside != "" {
			fmt.Fprintf(&b, "- Seen on the server only: %s\n", c.Inside)
		}
		if c.Fixed {
			b.WriteString("- Cannot be waived: other controls stand on it\n")
		}
	}
	b.WriteString("\n# The edge\n\nWhat is enforced before the app ring sees a request, in the order in which a connection and its requests meet it.\n")
	for _, c := range edge.Controls() {
		fmt.Fprintf(&b, "\n<a id=%q></a>\n## %s\n\n**%s.** %s\n\n- Reference: %s\n", strings.ReplaceAll(c.ID, "/", "-"), c.ID, c.Title, c.Why, c.Ref)
		if c.Inside != "" {
			fmt.Fprintf(&b, "- Seen on the server only: %s\n", c.Inside)
		}
	}
	b.WriteString("\n# Accounts\n\nWhat the accounts service promises, where `identity.registration` is not `off`. A waiver is of the proof alone: the service\nkeeps each promise all the same.\n")
	for _, c := range identity.Controls() {
		fmt.Fprintf(&b, "\n<a id=%q></a>\n## %s\n\n**%s.** %s\n\n- Reference: %s\n", strings.ReplaceAll(c.ID, "/", "-"), c.ID, c.Title, c.Why, c.Ref)
		if c.Inside != "" {
			fmt.Fprintf(&b, "- Seen on the server only: %s\n", c.Inside)
		}
	}
	b.WriteString(`
# Other types of problems

<a id="edge-upstream"></a>
## edge/upstream

Not a control, but a type that problems have: the API behind Ringwall could not be reached, broke off or did not answer in time
(502 Bad Gateway, 504 Gateway Timeout). The log says why, under the same ` + "`request_id`" + `.
`)
	return b.String()
}

// answeredStatuses reads from the package's files with which statuses each
// control refuses: those of its Denied literals, and those that its file
// assigns to a status.
func answeredStatuses(t *testing.T) map[string]map[int]bool {
	byName := map[string]int{}
	for code := 400; code < 600; code++ {
		byName["Status"+strings.NewReplacer(" ", "", "-", "", "'", "").Replace(http.StatusText(code))] = code
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]map[int]bool{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		add := func(control string, e ast.Expr) {
			sel, ok := e.(*ast.SelectorExpr)
			if !ok || byName[sel.Sel.Name] == 0 || control == "" {
				return
			}
			if out[control] == nil {
				out[control] = map[int]bool{}
			}
			out[control][byName[sel.Sel.Name]] = true
		}
		own := "" // the control of this file
		ast.Inspect(f, func(n ast.Node) bool {
			if lit, ok := n.(*ast.CompositeLit); ok && own == "" {
				own = field(lit, "ID")
			}
			return true
		})
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CompositeLit:
				if !denied(n) {
					break
				}
				control := cmp.Or(field(n, "Control"), own)
				for _, e := range n.Elts {
					if kv, ok := e.(*ast.KeyValueExpr); ok && fmt.Sprint(kv.Key) == "Status" {
						add(control, kv.Value)
					}
				}
			case *ast.AssignStmt:
				for i, l := range n.Lhs {
					target := fmt.Sprint(l)
					if sel, ok := l.(*ast.SelectorExpr); ok {
						target = sel.Sel.Name
					}
					if strings.EqualFold(target, "status") && i < len(n.Rhs) {
						add(own, n.Rhs[i])
					}
				}
			}
			return true
		})
	}
	return out
}

func denied(lit *ast.CompositeLit) bool {
	id, ok := lit.Type.(*ast.Ident)
	return ok && id.Name == "Denied"
}

// field gives the string literal of a composite literal's field.
func field(lit *ast.CompositeLit, name string) string {
	for _, e := range lit.Elts {
		kv, ok := e.(*ast.KeyValueExpr)
		if !ok || fmt.Sprint(kv.Key) != name {
			continue
		}
		if s, ok := kv.Value.(*ast.BasicLit); ok {
			return strings.Trim(s.Value, `"`)
		}
	}
	return ""
}
