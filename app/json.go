package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// jsonHygiene refuses JSON that two parsers read in two ways, so that what was
// checked here is what the API sees. It buffers JSON bodies, which app/body
// bounds, and no others. Numbers pass as they stand up to 100 bytes and while a
// float64 can hold their size: 64-bit ids are common, and only some parsers
// round them.
//
// A refusal names what is wrong and the byte where it was seen, never a key or
// a value: at this point every key is the client's word.
var jsonHygiene = Control{
	Meta: check.Meta{
		ID:    "app/json",
		Most:  10,
		Title: "JSON bodies have one reading",
		Why:   "Parsers disagree on duplicate keys, letter case, broken Unicode and depth: one checks the first role, the next obeys the second.",
		Ref:   "RFC 8259, 4, 7 and 8; RFC 7493, 2; ASVS 5.0 V1.5.3, V2.2.1; blueprint A5, T4, checklist 5",
	},
	Wrap: func(p *policy.Policy, _ Deps) (Middleware, error) {
		depth := p.App.JSONDepth
		if depth < 1 {
			return nil, p.Errorf("app.json_depth", "the default is 32", "%d levels leave no room for a body", depth)
		}
		return func(next Handler) Handler {
			return func(x *Exchange) {
				if x.mediaKind() != mediaJSON {
					next(x)
					return
				}
				body, err := x.ReadBody()
				if err != nil {
					x.denyBody("app/json", err)
					return
				}
				if fault, at := scanJSON(body, depth); fault != jsonClean {
					x.Deny(fault.denied(at, depth))
					return
				}
				x.scanned = true
				next(x)
			}
		}, nil
	},
	Value: func(p *policy.Policy, _ *Route) string {
		return "one value, no key twice, at most " + strconv.Itoa(p.App.JSONDepth) + " levels"
	},
	Verify: verifyJSON,
}

// jsonFaults tells clients what is wrong: a stable code and a sentence.
var jsonFaults = [...]struct{ code, message string }{
	jsonEmpty:     {"empty", "The body is empty; JSON is expected."},
	jsonMark:      {"byte_order_mark", "The body starts with a byte order mark; send plain UTF-8."},
	jsonSyntax:    {"syntax", "The body is not JSON"},
	jsonTrailing:  {"trailing", "Something follows the JSON value"},
	jsonDeep:      {"depth", "Arrays and objects nest too deep"},
	jsonDuplicate: {"duplicate", "Two keys of one object are the same, or differ only in letter case"},
	jsonForbidden: {"forbidden_key", "An object has the key __proto__, or constructor with prototype in it"},
	jsonEncoding:  {"utf8", "The body is not UTF-8"},
	jsonSurrogate: {"surrogate", "An escape is half of a surrogate pair"},
	jsonNumber:    {"number", "A number is too long or too large"},
}

func (f jsonFault) denied(at, depth int) Denied {
	code, message := jsonFaults[f].code, jsonFaults[f].message
	switch f {
	case jsonEmpty, jsonMark:
	case jsonDeep:
		message += ", more than " + strconv.Itoa(depth) + " levels, at byte " + strconv.Itoa(at) + "."
	default:
		message += ", at byte " + strconv.Itoa(at) + "."
	}
	return Denied{Control: "app/json", Kind: audit.InputRefused, Status: http.StatusBadRequest,
		Detail: "The body is not JSON that every parser reads alike.", Err: errors.New(message),
		Issues: []Issue{{Path: "", Code: code, Message: message}}}
}

// verifyJSON sends bodies to a path that nothing serves: this control stands
// before whatever would say so. A good body there shows what that answer is.
func verifyJSON(ctx context.Context, p *policy.Policy, c *probe.Client) check.Finding {
	const fix = "put the app ring in front of the API"
	t, err := probeTarget(p, c, http.MethodPost)
	if err != nil {
		return check.Unseen("%v", err)
	}
	if t.media != jsonMedia {
		return check.Unseen("%s does not accept %s", t.path, jsonMedia)
	}
	good, err := c.Do(ctx, t.request(http.MethodPost, jsonMedia, t.body))
	if err != nil {
		return check.Unseen("no answer to a POST %s: %v", t.path, err)
	}
	switch s := good.Status; {
	case s == http.StatusUnauthorized || s == http.StatusForbidden:
		return check.Unseen("a good body was answered %s: give the check an access token", good.Line())
	case s == http.StatusBadRequest || s == http.StatusTooManyRequests || s >= 500:
		return check.Unseen("a good body was answered %s, so a refusal proves nothing", good.Line())
	}
	bad := []struct{ what, body string }{
		{"a key twice", `{"role":"user","role":"admin"}`},
		{"a key twice by escape", `{"role":"user","r\u006fle":"admin"}`},
		{"a key in two letter cases", `{"role":"user","Role":"admin"}`},
		{"__proto__", `{"__proto__":{"admin":true}}`},
		{"something after the value", `{} {}`},
		{"half a surrogate pair", `{"a":"\ud800"}`},
		{"broken UTF-8", "{\"a\":\"\xff\"}"},
		{"too many levels", deepJSON(p.App.JSONDepth + 1)},
	}
	for _, b := range bad {
		res, err := c.Do(ctx, t.request(http.MethodPost, jsonMedia, b.body))
		if err != nil {
			return check.Unseen("no answer to a body with %s: %v", b.what, err)
		}
		if res.Status == http.StatusTooManyRequests {
			return check.Unseen("a body with %s was answered %s", b.what, res.Line())
		}
		if res.Status != http.StatusBadRequest {
			return check.Failed(fmt.Sprintf("a body with %s was answered %s, a good one %s", b.what, res.Line(), good.Line()), "400", fix)
		}
	}
	return check.Passed("%d ambiguous bodies were answered 400, a good one %d", len(bad), good.Status)
}

// deepJSON is n arrays in one another.
func deepJSON(n int) string {
	b := make([]byte, 2*n)
	for i := range n {
		b[i], b[2*n-1-i] = '[', ']'
	}
	return string(b)
}
