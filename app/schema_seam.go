package app

import "net/http"

// A RequestSchema is a compiled description of an API's requests. Paths are
// canonical. It is safe for concurrent use; package openapi makes one.
type RequestSchema interface {
	// Find reports whether the document describes the operation. When it knows
	// the path and not the method, allow is the value of an Allow header; else
	// nil. GET covers HEAD.
	Find(method, path string) (documented bool, allow []string)

	// Check judges a request of a documented operation: the media type of its
	// body, its parameters and, when the body is JSON or a form, its body. body
	// is then the whole of it, else nil. No issues: the request is as described.
	// A request of an undocumented operation has none either.
	Check(r *http.Request, path string, body []byte) []Issue
}
