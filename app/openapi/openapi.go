// Package openapi compiles an OpenAPI 3.1 document into a judge of requests. It
// stands apart from package app so that a program that validates otherwise does
// not link JSON Schema.
//
// What a document says is taken strictly. Query parameters, and properties of
// objects, that it does not describe are refused, unless a schema says
// additionalProperties or unevaluatedProperties itself; so are properties that
// are readOnly, which are then not required either. Objects are closed where a
// schema is used, not where it is defined, so that allOf and oneOf compose.
// Formats are asserted: those of JSON Schema 2020-12 (but for idn-email,
// idn-hostname and the iri family beyond a URI's form), int32, int64 and byte.
//
// What cannot be enforced is a mistake that stops the load, not a gap: remote
// references, unknown keywords, regular expressions outside Go's syntax,
// parameters that are objects or have content, servers below the root. Cookies
// are judged as they are sent, and not percent-decoded. Bodies are validated when they are JSON or a form; of others the media type is.
package openapi

import (
	"errors"
	"fmt"
	"net/http"
	"os"

	"github.com/ringwall/ringwall/app"
)

// A Document is compiled and immutable, and safe for concurrent use.
//
// Paths are those of the document below the base path, which is the path of its
// first server (none: /). All servers must have the same one. A trailing slash
// counts, and concrete segments come before templates, as OpenAPI says.
type Document struct {
	root    *node
	judges  chan *judge
	known   map[string]struct{} // property names, which issues may repeat
	omitted map[string]struct{} // those that are readOnly somewhere
}

func (d *Document) readOnly(name string) bool {
	_, ok := d.omitted[name]
	return ok
}

var _ app.RequestSchema = (*Document)(nil)

// maxSource is the largest document, in bytes.
const maxSource = 10 << 20

// Load reads and compiles a file, YAML or JSON. Its error lists every mistake
// with its line and JSON Pointer.
func Load(file string) (*Document, error) {
	src, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the OpenAPI document: %w", err)
	}
	return compile(file, src)
}

// Parse is Load for a document in memory.
func Parse(src []byte) (*Document, error) { return compile("openapi", src) }

func compile(file string, src []byte) (*Document, error) {
	l := newLoader(file, src)
	root, ok := l.read()
	if !ok {
		return nil, l.err()
	}
	d := l.document(root)
	if err := l.err(); err != nil {
		return nil, err
	}
	return d, nil
}

// Find implements app.RequestSchema.
func (d *Document) Find(method, path string) (documented bool, allow []string) {
	var values values
	item := d.root.find(path, &values, 0)
	if item == nil {
		return false, nil
	}
	if item.operation(method) == nil {
		return false, item.allow
	}
	return true, nil
}

// maxIssues is how many issues one answer lists.
const maxIssues = 20

// Check implements app.RequestSchema. A JSON or form body that is not given
// counts as absent.
func (d *Document) Check(r *http.Request, path string, body []byte) []app.Issue {
	var values values
	item := d.root.find(path, &values, 0)
	if item == nil {
		return nil
	}
	op := item.operation(r.Method)
	if op == nil {
		return nil
	}
	c := checker{doc: d, steps: fewSteps + stepsPerByte*len(body)}
	defer c.end()
	for i := range op.path {
		p := &op.path[i]
		p.check(&c, values[p.segment:p.segment+1])
	}
	op.checkQuery(&c, r.URL.RawQuery)
	for i := range op.header {
		p := &op.header[i]
		p.check(&c, r.Header[p.name])
	}
	for i := range op.cookie {
		p := &op.cookie[i]
		sent, ok := cookies(r.Header["Cookie"], p.name)
		if !ok {
			c.issue(p.where, "syntax", "is not well-formed")
			continue
		}
		p.check(&c, sent)
	}
	op.checkBody(&c, r, body)
	return c.result()
}

// err joins what went wrong, at most 50 mistakes.
func (l *loader) err() error {
	const most = 50
	errs := l.errs
	if len(errs) > most {
		errs = append(errs[:most:most], fmt.Errorf("%s: and %d more", l.file, len(l.errs)-most))
	}
	return errors.Join(errs...)
}
