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
	Control string     // ID of the control
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

// write sends the refusal through a. It replaces the handler's headers: none
// of them describe this body.
func (d *Denied) write(a *Answer, x *Exchange) {
	if !a.state.begin() {
		return
	}
	if a.timer != nil {
		a.timer.Stop()
	}
	d.send(a, x)
}

// send writes the refusal; the caller has moved a.state.
func (d *Denied) send(a *Answer, x *Exchange) {
	body, err := json.Marshal(problem{
		Type:  problemDocs + strings.ReplaceAll(d.Control, "/", "-"),
		Title: http.StatusText(d.Status), Status: d.Status, Detail: d.Detail,
		RequestID: x.ID, Errors: d.Issues,
	})
	if err != nil { // strings and ints only: cannot happen
		body = []byte(`{"title":"Internal Server Error","status":500}`)
	}
	a.commit(d.Status, http.Header{
		"Content-Type":   {"application/problem+json"},
		"Content-Length": {strconv.Itoa(len(body))},
		"Cache-Control":  {"no-store"},
	})
	if x.R.Method != http.MethodHead {
		n, _ := a.w.Write(body)
		a.Written += int64(n)
	}
}
