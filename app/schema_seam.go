package app

import "net/http"

// A RequestSchema is a compiled description of an API's requests.
type RequestSchema interface {
	// Check judges one request. path is the canonical path; body is the whole
	// body, read already when the request has one that the schema may judge,
	// else nil. documented is false when the document knows no such operation.
	Check(r *http.Request, path string, body []byte) (issues []Issue, documented bool)
}
