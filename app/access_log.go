package app

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/policy"
)

// accessLog writes one record for each request once it is over, refused and
// broken-off ones too, with OpenTelemetry's attribute names.
//
// It holds no query, no body and no header but the first 256 bytes of
// User-Agent. The path is logged: secrets have no place in paths. It is absent
// when app/path refused it, the user when nobody signed in.
var accessLog = Control{
	Meta: check.Meta{
		ID:    "app/access-log",
		Title: "Every request leaves one structured line without secrets",
		Why:   "Without a trace of each request an attack is neither seen nor understood afterwards.",
		Ref:   "OWASP API8 2023, CWE-778, CWE-532; OpenTelemetry HTTP conventions; ASVS 5.0 V16.2.5, V16.3.1, V16.4.1; blueprint A8, checklist 10",
	},
	Done: func(x *Exchange) {
		h := x.ring.deps.Log.Handler()
		if !h.Enabled(context.Background(), slog.LevelInfo) {
			return
		}
		// Not Logger.LogAttrs: it looks up the caller's source line, at twice
		// the cost of all the rest.
		r := slog.NewRecord(x.start.Add(x.took), slog.LevelInfo, "request", 0)
		var room [16]slog.Attr
		r.AddAttrs(x.logged(room[:0])...)
		_ = h.Handle(context.Background(), r) // requests do not fail for want of a log
	},
	Value:  func(*policy.Policy, *Route) string { return "one line per request" },
	Inside: "look in the log for the X-Request-Id of an answer: journalctl -u ringwall -o cat | grep ID",
}

// logged appends what the access log holds of an exchange.
func (x *Exchange) logged(a []slog.Attr) []slog.Attr {
	method, _ := cut(x.method, 32)
	a = append(a, slog.String("http.request.method", method))
	if x.Path != "" {
		a = append(a, slog.String("url.path", x.Path))
	}
	if x.Route != nil {
		a = append(a, slog.String("http.route", x.Route.Pattern))
	}
	size := x.Answer.Written
	if x.method == http.MethodHead {
		size = 0
	}
	a = append(a,
		slog.Int("http.response.status_code", x.Answer.Status),
		slog.Int64("http.response.body.size", size),
		slog.Float64("http.server.request.duration", x.took.Seconds()),
	)
	if x.Client.IsValid() {
		a = append(a, slog.String("client.address", x.Client.String()))
	}
	if x.Caller != nil {
		a = append(a, slog.String("user.id", x.Caller.Subject))
	}
	a = append(a, slog.String("network.protocol.version", protocolVersion(x.R)))
	if ua := x.R.Header["User-Agent"]; len(ua) > 0 {
		agent, _ := cut(ua[0], 256)
		a = append(a, slog.String("user_agent.original", agent))
	}
	if x.ID != "" {
		a = append(a, slog.String("ringwall.request_id", x.ID))
	}
	if x.denied != nil && x.denied.Control != "" {
		a = append(a, slog.String("ringwall.control", x.denied.Control))
	}
	if !x.returned {
		a = append(a, slog.Bool("ringwall.broken_off", true))
	}
	return a
}

func protocolVersion(r *http.Request) string {
	switch {
	case r.ProtoMajor == 1 && r.ProtoMinor == 1:
		return "1.1"
	case r.ProtoMajor == 2:
		return "2"
	case r.ProtoMajor == 3:
		return "3"
	}
	return "1.0"
}
