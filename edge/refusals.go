package edge

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/ringwall/ringwall/policy"
)

// refusals are whole answers, ready to be written, by status: for requests that
// cannot be read. They hold nothing of the request.
type refusals struct{ secure, plain map[int][]byte }

// refused are the statuses that net/http and the framing answer with before
// there is a request.
var refused = map[int]string{
	http.StatusBadRequest:                  "The request is not well-formed HTTP/1.1.",
	http.StatusRequestTimeout:              "The request header did not come in time.",
	http.StatusExpectationFailed:           "Only 100-continue can be expected.",
	http.StatusRequestHeaderFieldsTooLarge: "The request header is too large.",
	http.StatusNotImplemented:              "Only the transfer coding chunked is known.",
	http.StatusHTTPVersionNotSupported:     "Only HTTP/1.0, HTTP/1.1 and HTTP/2 are spoken.",
}

// newRefusals prepares the answers. headers gives those that all answers have;
// nil: none.
func newRefusals(p *policy.Policy, headers func(p *policy.Policy, secure bool) map[string]string) refusals {
	build := func(secure bool) map[int][]byte {
		h := map[string]string{}
		if headers != nil {
			maps.Copy(h, headers(p, secure))
		}
		out := map[int][]byte{}
		for status, detail := range refused {
			out[status] = refusal(status, detail, h)
		}
		return out
	}
	return refusals{secure: build(true), plain: build(false)}
}

// refusal is one answer: problem+json (RFC 9457), after which the connection
// ends.
func refusal(status int, detail string, headers map[string]string) []byte {
	body := refusalBody(status, detail, "edge-framing")
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		fmt.Fprintf(&b, "%s: %s\r\n", name, headers[name])
	}
	fmt.Fprintf(&b, "Cache-Control: no-store\r\nConnection: close\r\nContent-Length: %d\r\nContent-Type: application/problem+json\r\n\r\n%s", len(body), body)
	return []byte(b.String())
}

// refusalBody is problem+json (RFC 9457); about is the heading in docs/controls.md.
func refusalBody(status int, detail, about string) []byte {
	body, err := json.Marshal(struct {
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
	}{"https://github.com/ringwall/ringwall/blob/main/docs/controls.md#" + about, http.StatusText(status), status, detail})
	if err != nil {
		panic(err) // strings and a number
	}
	return body
}
