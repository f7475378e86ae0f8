package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/ringwall/ringwall/audit"
)

// Handle makes a handler of a function that takes its input decoded and checked.
// The exported fields of In, a struct, each say by one tag where they come from:
//
//	json:"title"   a member of the body, a JSON object
//	path:"id"      a wildcard of the http.ServeMux pattern
//	query:"limit"  a query parameter; a slice takes all of that name
//
// and by others what they must be:
//
//	check:"min=2,max=80"  the value; rules are separated by commas
//	each:"max=20"         every element of a slice or a map
//
// The rules of check and each:
//
//	optional     may be absent; it is then the zero value, which no rule judges
//	default=20   what it is when absent
//	min=, max=   characters of a string, elements of a slice or map, or value of a number
//	maxbytes=    bytes of a string in UTF-8
//	oneof=a|b    one of these strings
//	format=      email (as the HTML standard's input field takes it) or uuid
//	pattern=     a regular expression of package regexp for the whole string; last, for it may hold commas
//
// A field that is not a pointer, optional or with a default is required. A
// pointer is nil when the member is absent or null; nothing else may be null.
// Types are strings, booleans, integers, floats, slices, maps with string keys,
// structs, pointers to these, and types with UnmarshalText or UnmarshalJSON, such
// as time.Time. Fields of embedded structs count as the outer one's.
//
// Input that is not exactly so never reaches fn. Member names match by exact
// case; unknown members and query parameters, repeated ones, null, U+0000 in a
// string and numbers that the type cannot hold are refused. The answer is 400
// with all issues, up to 20; 413 and 415 as for app/body and app/content-type,
// which matters where there is no ring around: the body may then have 200 kB
// and 32 levels.
//
// What fn returns is answered as JSON: 200, or 201 for a Created, or 204 without
// body for a None. An *Error is answered with its status and detail. Any other
// error is answered 500, and its text goes to the log, not to the client.
//
// Handle panics when In, or a tag of it, is none of the above, as the handler
// would be wrong for every request.
func Handle[In, Out any](fn func(context.Context, In) (Out, error)) http.Handler {
	plan, err := compileInput[In]()
	if err != nil {
		panic("app.Handle: " + err.Error())
	}
	return &typedHandler[In, Out]{plan: plan, fn: fn}
}

// None is the input or output of a handler that takes or gives nothing.
type None = struct{}

// Created is an output that is answered 201, with a Location when that is set.
type Created[T any] struct {
	Value    T
	Location string // path of what was created (RFC 9110, 15.3.2)
}

func (c Created[T]) created() (value any, location string) { return c.Value, c.Location }

// An Error is a handler's own refusal. Detail is public: one plain sentence that
// holds nothing of the request's values. Err is for the log.
type Error struct {
	Status int // 400 to 599; anything else is answered 500
	Detail string
	Issues []Issue // what is wrong with the input, if that is what it is
	Err    error
}

func (e *Error) Error() string {
	if e.Err != nil {
		return e.Detail + ": " + e.Err.Error()
	}
	return e.Detail
}

func (e *Error) Unwrap() error { return e.Err }

type typedHandler[In, Out any] struct {
	plan *inputPlan
	fn   func(context.Context, In) (Out, error)
}

func (h *typedHandler[In, Out]) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	in := new(In)
	if d := h.plan.decode(r, in); d != nil {
		refuse(w, r, *d)
		return
	}
	out, err := h.fn(r.Context(), *in)
	if err != nil {
		refuse(w, r, deniedError(r.Context(), err))
		return
	}
	status, value := http.StatusOK, any(out)
	switch v := value.(type) {
	case None:
		w.WriteHeader(http.StatusNoContent)
		return
	case interface{ created() (any, string) }:
		var location string
		status = http.StatusCreated
		if value, location = v.created(); location != "" {
			w.Header().Set("Location", location)
		}
	}
	body, err := json.Marshal(value)
	if err != nil {
		refuse(w, r, deniedError(r.Context(), fmt.Errorf("encode the answer: %w", err)))
		return
	}
	w.Header()["Content-Type"] = jsonMediaValue
	w.Header()["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client went away: app/access-log tells
}

var jsonMediaValue = []string{jsonMedia}

// deniedError is the answer to a handler's error.
func deniedError(ctx context.Context, err error) Denied {
	var e *Error
	switch {
	case errors.As(err, &e) && 400 <= e.Status && e.Status <= 599:
		return Denied{Status: e.Status, Detail: e.Detail, Issues: e.Issues, Err: e.Err}
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return Denied{Status: http.StatusServiceUnavailable, Detail: "The request was ended before it was answered.", Err: err}
	}
	return Denied{Status: http.StatusInternalServerError, Detail: "The request could not be answered.", Err: err}
}

// refuse answers with d, in the ring or without one.
func refuse(w http.ResponseWriter, r *http.Request, d Denied) {
	if x := FromContext(r.Context()); x != nil {
		x.Deny(d)
		return
	}
	body, err := json.Marshal(d.problem())
	if err != nil { // strings and ints only: cannot happen
		panic(err)
	}
	w.Header()["Content-Type"] = problemType
	w.Header()["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.Header()["Cache-Control"] = noStoreValue
	if d.Status == http.StatusRequestEntityTooLarge && r.ProtoMajor == 1 {
		w.Header()["Connection"] = closeConnection
	}
	w.WriteHeader(d.Status)
	_, _ = w.Write(body)
}

// Bounds of bodies outside a ring.
const (
	bareBody  = 200_000
	bareDepth = 32
)

// decode fills *in, of the plan's type, from the request, or says why not.
func (p *inputPlan) decode(r *http.Request, in any) *Denied {
	d := decoder{}
	v := p.target(in)
	p.path.decode(&d, v, func(name string) ([]string, bool) {
		s := r.PathValue(name)
		return []string{s}, s != ""
	})
	p.decodeQuery(&d, v, r.URL.RawQuery)
	body, denied := p.read(r)
	if denied != nil {
		return denied
	}
	switch {
	case p.body == nil && len(body) > 0:
		d.issue("unknown", "no body is expected here")
	case p.body != nil:
		if len(body) == 0 {
			body = []byte("{}") // what is required is then missing
		}
		d.b = body
		d.object(p.body, v)
	}
	if len(d.issues) == 0 {
		return nil
	}
	return &Denied{Control: "app/schema", Kind: audit.InputRefused, Status: http.StatusBadRequest,
		Detail: "The request is not as it should be; see errors.", Issues: d.issues,
		Err: errors.New(d.issues[0].Code + " at " + d.issues[0].Path)}
}

// read returns the body once it is known to be sound JSON. Of a body that is not
// expected it returns the first byte.
func (p *inputPlan) read(r *http.Request) ([]byte, *Denied) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	x := FromContext(r.Context())
	if x != nil && x.scanned {
		return x.body, nil
	}
	limit := int64(bareBody)
	if x != nil {
		limit = x.Route.Body
	}
	if p.body == nil {
		limit = 1
	} else if l, reason := jsonOnly.judge(r.Header["Content-Type"]); l != mediaJSON || !uncoded(r.Header["Content-Encoding"]) {
		return nil, &Denied{Control: "app/schema", Kind: audit.InputRefused, Status: http.StatusUnsupportedMediaType,
			Detail: jsonOnly.detail, Err: errors.New("not uncoded JSON: " + reason)}
	}
	if r.ContentLength > limit && p.body != nil {
		d, _ := BodyDenied(&http.MaxBytesError{Limit: limit})
		return nil, &d
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	if err != nil {
		d, ok := BodyDenied(err)
		if !ok {
			d = Denied{Control: "app/schema", Kind: audit.InputRefused, Status: http.StatusBadRequest,
				Detail: "The body broke off.", Err: err}
		}
		return nil, &d
	}
	if p.body == nil || len(body) == 0 {
		return body, nil
	}
	if int64(len(body)) > limit {
		d, _ := BodyDenied(&http.MaxBytesError{Limit: limit})
		return nil, &d
	}
	if fault, at := scanJSON(body, bareDepth); fault != jsonClean {
		d := fault.denied(at, bareDepth)
		return nil, &d
	}
	return body, nil
}

// jsonOnly is what a body of a typed handler may be.
var jsonOnly = func() mediaList {
	l, err := compileMedia([]string{jsonMedia})
	if err != nil {
		panic(err)
	}
	return l
}()
