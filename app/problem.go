package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// problemAnswers makes every error of the ring, of a handler and of an upstream
// application/problem+json (RFC 9457), and keeps internals to the log.
//
// What comes from behind the ring:
//   - 5xx of an upstream: the body is replaced, whatever its type. JSON errors of
//     frameworks hold stacks, and so does the problem+json of some (the developer
//     page of ASP.NET Core).
//   - 5xx of a Go handler: likewise, unless it is problem+json, which a Go program
//     writes on purpose.
//   - 4xx: the body is replaced when it is text/plain, text/html or of no named
//     type: what frameworks and routers write by themselves. Another type is
//     the API's own contract and passes as it is: clients need it to see what to
//     correct. What it says is the API's to answer for.
//
// Headers that do not describe the body stay, such as Allow, WWW-Authenticate,
// Retry-After and Location. Nothing is buffered.
//
// A panic is answered 500; its text and stack are logged. When the answer has
// begun already the connection is broken off, so that the client does not take
// half an answer for a whole one. http.ErrAbortHandler does that at once.
var problemAnswers = Control{
	Meta: check.Meta{
		ID:     "app/problem",
		Most:   6,
		Points: 15,
		Title:  "Errors are problem+json and tell no internals",
		Why:    "Stack traces and framework error pages tell an attacker what runs where, and which input broke it.",
		Ref:    "RFC 9457; CWE-209; ASVS 5.0 V16.5.1; OWASP API8 2023; blueprint A8, T7",
	},
	Fixed: true,
	Wrap: func(p *policy.Policy, deps Deps) (Middleware, error) {
		upstream := p.Upstream != "" || len(p.Upstreams) > 0
		return func(next Handler) Handler {
			return func(x *Exchange) {
				x.Answer.problems, x.Answer.proxied = true, upstream
				defer recoverPanic(x, deps.Log)
				next(x)
			}
		}, nil
	},
	Done: func(x *Exchange) {
		if x.Answer.hidden > 0 && x.Answer.Status >= 500 {
			x.ring.deps.Log.LogAttrs(context.Background(), slog.LevelError, "the body of a server error was kept from the client",
				slog.Int("http.response.status_code", x.Answer.Status),
				slog.Int64("ringwall.hidden_bytes", x.Answer.hidden),
				slog.String("url.path", x.Path),
				slog.String("ringwall.request_id", x.ID))
		}
	},
	Value: func(*policy.Policy, *Route) string {
		return "application/problem+json; bodies of 5xx and framework pages replaced"
	},
	Verify: verifyProblem,
}

func recoverPanic(x *Exchange, log *slog.Logger) {
	v := recover()
	if v == nil {
		return
	}
	a := &x.Answer
	expired := a.state.expired()
	begun := a.Begun()
	if v != http.ErrAbortHandler {
		message, _ := cut(fmt.Sprint(v), 1000)
		stack, _ := cut(string(debug.Stack()), 32_000)
		log.LogAttrs(context.Background(), slog.LevelError, "the handler panicked",
			slog.String("exception.type", fmt.Sprintf("%T", v)),
			slog.String("exception.message", message),
			slog.String("exception.stacktrace", stack),
			slog.String("url.path", x.Path),
			slog.String("ringwall.request_id", x.ID))
		d := Denied{Control: "app/problem", Kind: audit.HandlerPanicked, Status: http.StatusInternalServerError,
			Detail: "The service failed.", Err: fmt.Errorf("panic with a value of type %T", v)}
		if expired {
			x.Event(d.Kind, audit.Failure, d.Control, d.Status, d.Err.Error())
		} else {
			x.Deny(d)
		}
		if !begun {
			return
		}
	}
	if expired || a.replaced {
		return // the ring has answered in full
	}
	panic(http.ErrAbortHandler)
}

// cut shortens s to at most n bytes and says whether it did.
func cut(s string, n int) (string, bool) {
	if len(s) <= n {
		return s, false
	}
	return strings.ToValidUTF8(s[:n], ""), true
}

// hides reports whether the body of a handler's answer is kept from the client.
func hides(status int, h http.Header, proxied bool) bool {
	switch {
	case status < 400:
		return false
	case status >= 500 && proxied:
		return true
	}
	kind := ""
	if ct := h["Content-Type"]; len(ct) > 0 {
		kind, _, _ = strings.Cut(ct[0], ";")
		kind = strings.TrimSpace(kind)
	}
	if strings.EqualFold(kind, "application/problem+json") {
		return false
	}
	return status >= 500 || kind == "" || strings.EqualFold(kind, "text/plain") || strings.EqualFold(kind, "text/html")
}

// replace answers an error of the handler in its place; the caller has claimed
// the answer.
func (a *Answer) replace(status int) {
	h := make(http.Header, len(a.h)+3)
	for name, v := range a.h {
		if !describesBody(name) || name == "Content-Range" && status == http.StatusRequestedRangeNotSatisfiable {
			h[name] = v
		}
	}
	// about:blank: the status says it all (RFC 9457, 4.2.1).
	p := problem{Type: "about:blank", Title: http.StatusText(status), Status: status}
	if p.Title == "" {
		p.Title = "Error " + strconv.Itoa(status)
	}
	if status >= 500 {
		p.Detail = "The service failed."
	}
	a.problem(h, p)
}

// describesBody tells the headers that belong to the body that they came with.
func describesBody(name string) bool {
	switch name {
	case "Etag", "Last-Modified", "Accept-Ranges", "Transfer-Encoding", "Trailer", "Digest", "Repr-Digest",
		"Cache-Control", "Expires", "Age", "Pragma":
		return true
	}
	return strings.HasPrefix(name, "Content-") || strings.HasPrefix(name, http.TrailerPrefix)
}

// verifyProblem provokes errors in the ways that any API has, and reads them.
func verifyProblem(ctx context.Context, p *policy.Policy, c *probe.Client) check.Finding {
	token := c.Token("admin")
	if token == "" {
		token = c.Token("")
	}
	json := [2]string{"Content-Type", "application/json"}
	seen := 0
	for _, t := range []struct {
		name string
		req  probe.Request
	}{
		{"GET //", probe.Request{Target: "//"}},
		{"a page that is not there", probe.Request{Target: "/ringwall-check/not-there", Token: token}},
		{"an unknown method", probe.Request{Method: "RINGWALL", Target: "/", Token: token}},
		{"a bad token", probe.Request{Target: "/", Token: "not.a.token"}},
		{"broken JSON", probe.Request{Method: http.MethodPost, Target: "/", Token: token, Headers: [][2]string{json}, Body: `{"a":`}},
	} {
		res, err := c.Do(ctx, t.req)
		if err != nil {
			return check.Unseen("no answer to %s: %v", t.name, err)
		}
		if res.Status < 400 {
			continue
		}
		seen++
		if err := judgeProblem(res); err != nil {
			return check.Failed(t.name+" was answered "+res.Line()+": "+err.Error(), "application/problem+json without internals",
				"put the app ring in front of the API")
		}
	}
	if seen == 0 {
		return check.Unseen("no request could be made to fail")
	}
	return check.Passed("%d kinds of errors were problem+json without internals", seen)
}

func judgeProblem(res *probe.Response) error {
	for _, mark := range []string{"goroutine ", ".go:", "panic:", "\n    at ", "node_modules", "Traceback (most recent", ".java:", "SQLSTATE"} {
		if strings.Contains(string(res.Body), mark) {
			return fmt.Errorf("the body has %q, as a stack or an internal error has", strings.TrimSpace(mark))
		}
	}
	if kind, _, _ := strings.Cut(res.Header.Get("Content-Type"), ";"); !strings.EqualFold(strings.TrimSpace(kind), "application/problem+json") {
		return fmt.Errorf("its type is %q", kind)
	}
	var got problem
	if err := json.Unmarshal(res.Body, &got); err != nil {
		return errors.New("its body is not JSON")
	}
	if got.Status != res.Status || got.Title == "" {
		return errors.New("its status or title member is wrong")
	}
	return nil
}
