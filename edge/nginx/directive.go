package nginx

import (
	"strings"
)

// A Directive is one of nginx's: a name, its arguments as nginx takes them, and
// what stands in its braces.
type Directive struct {
	Name    string
	Args    []string
	Block   []Directive
	IsBlock bool
	Comment string // printed before it, one # line for each of its lines

	File string // where Parse found it
	Line int
}

// d makes a directive that ends with a semicolon.
func d(name string, args ...string) Directive { return Directive{Name: name, Args: args} }

// block makes one with braces.
func block(name string, args []string, inside ...Directive) Directive {
	return Directive{Name: name, Args: args, Block: inside, IsBlock: true}
}

// noted puts a comment before the first of some directives.
func noted(comment string, ds ...Directive) []Directive {
	if len(ds) > 0 {
		ds[0].Comment = comment
	}
	return ds
}

// Print writes directives as a file. A comment's lines and every argument are
// written so that Parse, and nginx, read exactly them.
func Print(ds []Directive) string {
	var b strings.Builder
	print(&b, ds, "")
	return b.String()
}

func print(b *strings.Builder, ds []Directive, indent string) {
	for i, d := range ds {
		if d.Comment != "" {
			if i > 0 {
				b.WriteByte('\n')
			}
			for line := range strings.SplitSeq(d.Comment, "\n") {
				b.WriteString(strings.TrimRight(indent+"# "+line, " ") + "\n")
			}
		}
		if d.Name == "" && d.Args == nil { // a comment alone
			continue
		}
		b.WriteString(indent + quote(d.Name))
		for _, a := range d.Args {
			b.WriteString(" " + quote(a))
		}
		if !d.IsBlock {
			b.WriteString(";\n")
			continue
		}
		b.WriteString(" {\n")
		print(b, d.Block, indent+"    ")
		b.WriteString(indent + "}\n")
	}
}

// quote writes one argument. What has any character besides those of ordinary
// words is put in quotes, in which nginx reads a backslash before a quote or
// another backslash as that character, and \n, \r and \t as what they are in Go.
func quote(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("_./:@$=+,*-()[]%~?", r)
	}) {
		return s
	}
	mark := byte('"')
	if strings.Contains(s, `"`) && !strings.Contains(s, `'`) { // JSON
		mark = '\''
	}
	var b strings.Builder
	b.WriteByte(mark)
	for i := range len(s) {
		switch c := s[i]; c {
		case mark, '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case '\n':
			b.WriteString(`\n`)
		case '\r':
			b.WriteString(`\r`)
		case '\t':
			b.WriteString(`\t`)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte(mark)
	return b.String()
}

// literal is a text in an argument that may hold variables: its dollar signs
// stay what they are.
func literal(s string) string { return strings.ReplaceAll(s, "$", "${ringwall_dollar}") }
