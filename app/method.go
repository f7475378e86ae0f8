package app

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

const servedMethods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

// knownMethod lets through the methods that routes can name. TRACE and CONNECT
// are answered 405 with Allow, any other token, get in lower case too, 501
// (RFC 9110, 9.1 and 15.6.2).
//
// A header that asks for another method than the request line's is answered
// 400. Dropping it instead would carry out what the client did not mean.
var knownMethod = Control{
	Meta: check.Meta{
		ID:     "app/method",
		Most:   5,
		Points: 6,
		Title:  "Only the methods of an API are served",
		Why:    "TRACE echoes credentials, and X-HTTP-Method-Override turns a permitted POST into a DELETE behind the rules.",
		Ref:    "RFC 9110, 9.1; ASVS 5.0 V4.1.4, V13.4.4; OWASP API8 2023; blueprint A4, T7",
	},
	Wrap: func(*policy.Policy, Deps) (Middleware, error) {
		allow := []string{servedMethods}
		return func(next Handler) Handler {
			return func(x *Exchange) {
				if methodBits[x.R.Method] == 0 {
					d := Denied{Control: "app/method", Kind: audit.ProtocolRefused, Status: http.StatusNotImplemented,
						Detail: "The method is not one that this server knows.", Err: errors.New("unknown method")}
					if x.R.Method == http.MethodTrace || x.R.Method == http.MethodConnect {
						x.Answer.Set("Allow", allow)
						d.Status, d.Detail, d.Err = http.StatusMethodNotAllowed, "The method is not allowed.", errors.New("method not allowed")
					}
					x.Deny(d)
					return
				}
				h := x.R.Header
				if h["X-Http-Method-Override"] != nil || h["X-Http-Method"] != nil || h["X-Method-Override"] != nil {
					x.Deny(Denied{Control: "app/method", Kind: audit.ProtocolRefused, Status: http.StatusBadRequest,
						Detail: "Send the method itself: a header cannot override it.", Err: errors.New("a header overrides the method")})
					return
				}
				next(x)
			}
		}, nil
	},
	Value: func(*policy.Policy, *Route) string { return servedMethods },
	Verify: func(ctx context.Context, _ *policy.Policy, c *probe.Client) check.Finding {
		fix := "put the app ring in front of the API, or refuse these methods and headers in the proxy"
		ok, err := c.Do(ctx, probe.Request{Target: "/"})
		if err != nil {
			return check.Unseen("no answer to GET /: %v", err)
		}
		if ok.Status == http.StatusBadRequest || ok.Status == http.StatusMethodNotAllowed || ok.Status == http.StatusNotImplemented {
			return check.Unseen("GET / itself is answered %s, so a refusal proves nothing", ok.Line())
		}
		const canary = "ringwall-echo-canary"
		for _, try := range []struct {
			sent string
			req  probe.Request
			want int
		}{
			{"TRACE /", probe.Request{Method: "TRACE", Headers: [][2]string{{"X-Canary", canary}}}, http.StatusMethodNotAllowed},
			{"BREW /", probe.Request{Method: "BREW"}, http.StatusNotImplemented},
			{"GET / with X-HTTP-Method-Override", probe.Request{Headers: [][2]string{{"X-HTTP-Method-Override", "DELETE"}}}, http.StatusBadRequest},
		} {
			try.req.Target = "/"
			res, err := c.Do(ctx, try.req)
			if err != nil {
				return check.Unseen("no answer to %s: %v", try.sent, err)
			}
			switch {
			case strings.Contains(string(res.Body), canary):
				return check.Failed(try.sent+" echoed a request header", "no echo", fix)
			case res.Status != try.want:
				return check.Failed(try.sent+" was answered "+res.Line(), strconv.Itoa(try.want), fix)
			case res.Status == http.StatusMethodNotAllowed && res.Header.Get("Allow") == "":
				return check.Failed(try.sent+" was answered 405 without Allow", "Allow (RFC 9110, 15.5.6)", fix)
			}
		}
		return check.Passed("TRACE was answered 405, an unknown method 501, a method override 400, GET / %d", ok.Status)
	},
}
