package policy

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds of a policy file. The YAML parser takes quadratic time on long and on
// deep input and recurses on the latter, so both are bounded before it starts.
const (
	maxFile   = 1 << 20
	maxTokens = 50_000
	maxDepth  = 20
)

// A document is a parsed file: the tree without anchors, tags and the rest
// that a policy does not use, and where each key and value stands.
type document struct {
	file  string
	lines []string
	root  *node
	index map[string]*node // by path
}

type position struct{ line, column int }

type nodeKind uint8

const (
	null nodeKind = iota
	text          // quoted, or plain and not one of the following
	number
	boolean
	list
	table
	refused // said already
)

var kindNames = [...]string{"nothing", "a text", "a number", "true or false", "a list", "a table of keys", ""}

type node struct {
	kind   nodeKind
	value  string  // of a scalar
	items  []*node // of a list or table
	key    string  // in a table
	keyAt  position
	at     position
	quoted bool
}

// place is what a caret points at: the value, or the key of a whole table or
// list or of a value that is not there.
func (n *node) place() position {
	if n.keyAt.line > 0 && (n.kind == null || n.kind >= list) {
		return n.keyAt
	}
	return n.at
}

func child(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func item(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// parent cuts the last step off a path.
func parent(path string) string { return path[:max(0, strings.LastIndexAny(path, ".["))] }

// find returns the node of a path, or of its nearest parent that is written;
// nil when that is the whole file.
func (d *document) find(path string) *node {
	for ; path != ""; path = parent(path) {
		if n := d.index[path]; n != nil {
			return n
		}
	}
	return nil
}

// mistake makes an error that points at a place of the file.
func (d *document) mistake(at position, path, hint, reason string) *Error {
	e := &Error{File: d.file, Path: path, Reason: reason, Hint: hint}
	if at.line > 0 && at.line <= len(d.lines) {
		e.Source = d.lines[at.line-1]
		e.Line, e.Column = at.line, max(1, min(at.column, utf8.RuneCountInString(e.Source)+1))
	}
	return e
}

// parseDocument reads YAML. The errors are those of the form: syntax,
// encoding, duplicate keys and the parts of YAML that a policy may not use.
func parseDocument(file string, src []byte) (*document, Errors) {
	d := &document{file: file, index: map[string]*node{}}
	whole := func(hint, reason string) (*document, Errors) {
		return nil, Errors{d.mistake(position{}, "", hint, reason)}
	}
	if len(src) > maxFile {
		return whole("a policy is a few hundred lines", "the file is larger than 1MiB")
	}
	src = bytes.TrimPrefix(src, []byte("\ufeff"))
	src = bytes.ReplaceAll(src, []byte("\r\n"), []byte("\n")) // the parser counts both inside quotes
	d.lines = strings.Split(string(src), "\n")
	if at, reason := badCharacter(d.lines); reason != "" {
		return nil, Errors{d.mistake(at, "", "save the file as UTF-8 text", reason)}
	}
	body, err := d.parse(src)
	if err != nil {
		return nil, Errors{err}
	}
	c := &converter{doc: d}
	d.root = c.node("", body)
	if len(c.errs) == 0 && d.root.kind != table {
		return nil, Errors{d.mistake(d.root.at, "", "start with the line `site: api.example.com`",
			"the file is "+kindNames[d.root.kind]+", and a policy is a table of keys")}
	}
	return d, c.errs
}

const syntaxHint = "look here and above for brackets, quotes and indentation that do not match"

// parse runs the YAML parser and returns the body of the only document.
func (d *document) parse(src []byte) (body ast.Node, bad *Error) {
	defer func() {
		if recover() != nil { // earlier versions of it panicked on broken input; a reload must not end the server
			body, bad = nil, d.mistake(position{}, "", syntaxHint, "this is not YAML")
		}
	}()
	tokens := lexer.Tokenize(string(src))
	if len(tokens) > maxTokens {
		return nil, d.mistake(position{}, "", "a policy is a few hundred lines", "the file has more than 50,000 words")
	}
	if t := tooDeep(tokens); t != nil {
		return nil, d.mistake(at(t), "", "a policy needs six levels", "brackets or dashes are nested more than 20 deep")
	}
	f, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		reason, where := err.Error(), position{}
		if e, ok := err.(yaml.Error); ok {
			reason, where = e.GetMessage(), at(e.GetToken())
		}
		if where.line > 0 && where.line <= len(d.lines) && strings.HasPrefix(strings.TrimLeft(d.lines[where.line-1], " "), "\t") {
			return nil, d.mistake(where, "", "indent with blanks", "a tab is in the indentation")
		}
		return nil, d.mistake(where, "", syntaxHint, "this is not YAML: "+strings.Join(strings.Fields(reason), " "))
	}
	for _, doc := range f.Docs {
		if doc.Body == nil {
			continue
		}
		if body != nil {
			return nil, d.mistake(start(doc.Body), "", "keep one policy in one file", "a second document begins here")
		}
		body = doc.Body
	}
	if body == nil {
		return nil, d.mistake(position{}, "", "`ringwall init` writes a policy to start from", "the file is empty")
	}
	return body, nil
}

// tooDeep returns the token that opens a level too many. Nesting by indentation
// needs no bound here: n levels take n*n bytes.
func tooDeep(tokens token.Tokens) *token.Token {
	flow, run, line := 0, 0, 0
	for _, t := range tokens {
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow--
		case token.SequenceEntryType, token.MappingKeyType, token.TagType, token.AnchorType:
			if t.Position != nil && t.Position.Line != line {
				run, line = 0, t.Position.Line
			}
			run++
		}
		if flow > maxDepth || run > maxDepth {
			return t
		}
	}
	return nil
}

func at(t *token.Token) position {
	if t == nil || t.Position == nil {
		return position{}
	}
	return position{t.Position.Line, t.Position.Column}
}

// badCharacter finds bytes that are not UTF-8 and characters that a reader
// does not see.
func badCharacter(lines []string) (position, string) {
	for i, line := range lines {
		column := 0
		for at, r := range line {
			column++
			switch {
			case r == utf8.RuneError && !strings.HasPrefix(line[at:], "\uFFFD"):
				return position{i + 1, column}, "the file is not UTF-8"
			case r != '\t' && unprintable(r):
				return position{i + 1, column}, fmt.Sprintf("an invisible character (U+%04X) is in the file", r)
			}
		}
	}
	return position{}, ""
}

// unprintable reports control and format characters and line separators, but
// not the two joiners that some scripts need.
func unprintable(r rune) bool {
	return r != '\u200c' && r != '\u200d' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
}
