package nginx

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/ringwall/ringwall/edge"
)

// errorPath begins the paths of nginx's own answers. They are internal: a client
// that asks for one is answered 404.
const errorPath = "/.ringwall-error/"

// An errorPage is one of nginx's own answers.
type errorPage struct {
	status int
	codes  []string // nginx's own names of it, besides the status
	detail string
}

// servedMethods is Allow of 405: nginx refuses TRACE and CONNECT itself.
const servedMethods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

// ownHeaders are the maps that give nginx's own answers, and the ring's not, what
// else they need. A value that is empty is no header.
func ownHeaders() []Directive {
	ds := noted("Headers of nginx's own answers: those of the ring have a date.",
		block("map", []string{"$upstream_http_date", "$ringwall_own"}, d("default", ""), d("", "no-store")))
	return append(ds,
		block("map", []string{"$ringwall_own:$status", "$ringwall_retry"}, d("default", ""), d("~^no-store:(?:429|502|503)$", "1")),
		block("map", []string{"$ringwall_own:$status", "$ringwall_allow"}, d("default", ""), d("no-store:405", servedMethods)))
}

var errorPages = []errorPage{
	{400, []string{"495", "496", "497"}, ""},
	{403, nil, "This is not served."},
	{404, nil, "Nothing is here."},
	{405, nil, "The method is not allowed."},
	{408, nil, "The request did not come in time."},
	{413, nil, "The request body is too large."},
	{414, nil, "The request line is too long."},
	{415, nil, "The type of the body is not known here."},
	{421, nil, "This host is not served here."},
	{429, nil, "Too many requests at once. Try again in a moment."},
	{431, []string{"494"}, ""},
	{500, nil, "The server could not answer."},
	{501, nil, ""},
	{502, nil, "The server is being restarted. Try again in a moment."},
	{503, nil, "The server is busy. Try again in a moment."},
	{504, nil, "The server did not answer in time."},
	{505, nil, ""},
}

// errorPages are the headers of every answer, and nginx's own answers in the form
// of the ring's: problem+json (RFC 9457). The headers stand in the server, and no
// location has an add_header: one that had would inherit none of them.
func (r *rendering) errorPages(headers []Directive) []Directive {
	known := edge.Refusals()
	ds := append([]Directive(nil), headers...)
	ds = noted("Headers of every answer, errors too. No location may add one: it would lose these.", append(ds,
		d("add_header", "Cache-Control", "$ringwall_own", "always"),
		d("add_header", "Retry-After", "$ringwall_retry", "always"),
		d("add_header", "Allow", "$ringwall_allow", "always"))...)
	var pages, bodies []Directive
	for _, e := range errorPages {
		status := strconv.Itoa(e.status)
		at := errorPath + status
		pages = append(pages, d("error_page", status, at))
		if len(e.codes) > 0 {
			pages = append(pages, d("error_page", slices.Concat(e.codes, []string{"=" + status, at})...))
		}
		detail := e.detail
		if detail == "" {
			detail = known[e.status]
		}
		inside := []Directive{d("internal")}
		if e.status == http.StatusBadRequest {
			inside = append(inside, block("if", []string{"($ringwall_broken)"}, d("return", "444")))
		}
		body := edge.RefusalBody(e.status, detail, "edge-framing")
		bodies = append(bodies, block("location", []string{"=", at}, append(inside,
			d("default_type", "application/problem+json"), d("return", status, literal(string(body))))...))
	}
	ds = append(ds, noted("nginx's own answers, as the ring writes them.", pages...)...)
	return append(ds, bodies...)
}
