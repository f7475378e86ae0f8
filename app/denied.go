package app

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/ringwall/ringwall/audit"
)

// Denied is a refusal by one control. Detail is public and must hold nothing
// of the request's values; Err is for the log only.
type Denied struct {
	Control string     // ID of the control; "": the handler itself refused
	Kind    audit.Kind // event that it raises; "": none
	Status  int        // 4xx or 5xx
	Detail  string     // one plain sentence for the client
	Err     error      // for the operator
	Issues  []Issue    // what is wrong with the input, on 400
}

// An Issue is one thing that is wrong with a request's input.
type Issue struct {
	Path    string `json:"path"`    // JSON Pointer into the body (RFC 6901), or "query/NAME", "path/NAME", "header/NAME"
	Code    string `json:"code"`    // stable word: required, unknown, type, format, too_short, ...
	Message string `json:"message"` // for people; never repeats the value
}

// problem is RFC 9457's object, with two members of ours.
type problem struct {
	Type      string  `json:"type"`
	Title     string  `json:"title"`
	Status    int     `json:"status"`
	Detail    string  `json:"detail,omitempty"`
	RequestID string  `json:"request_id,omitempty"`
	Errors    []Issue `json:"errors,omitempty"`
}

// problemDocs is where a problem's type is explained; it is an identifier
// first, as RFC 9457, 3.1.1 allows.
const problemDocs = "https://github.com/ringwall/ringwall/blob/main/docs/controls.md#"

// send writes the refusal; the caller has claimed the answer. It replaces the
// handler's headers: none of them describe this body.
func (d *Denied) send(a *Answer) {
	a.problem(make(http.Header, 4), d.problem())
}

// problem is what the client is told. A refusal by no control is the handler's
// own: it has no type but its status (RFC 9457, 4.2.1).
func (d *Denied) problem() problem {
	p := problem{Type: "about:blank", Title: http.StatusText(d.Status), Status: d.Status, Detail: d.Detail, Errors: d.Issues}
	if d.Control != "" {
		p.Type = problemDocs + strings.ReplaceAll(d.Control, "/", "-")
	}
	return p
}

// problem answers with p and the header h, which it completes. It leaves out
// the body where HEAD asks for none.
func (a *Answer) problem(h http.Header, p problem) {
	p.RequestID = a.x.ID
	body, err := json.Marshal(p)
	if err != nil { // strings and ints only: cannot happen
		body = []byte(`{"title":"Internal Server Error","status":500}`)
	}
	h["Content-Type"] = problemType
	if !a.problems {
		h["Content-Type"], body = plainType, []byte(p.Title+"\n")
	}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	h["Cache-Control"] = noStoreValue
	a.replaced = true
	a.commit(p.Status, h)
	if a.x.method != http.MethodHead {
		_, _ = a.send(body) // a client that is gone
	}
}

var (
	problemType  = []string{"application/problem+json"}
	plainType    = []string{"text/plain; charset=utf-8"}
	noStoreValue = []string{"no-store"}
)
