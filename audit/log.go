package audit

import (
	"context"
	"log/slog"
)

// NewLog returns a sink that writes each event as one record of l, with
// attributes named as OpenTelemetry names them where it does. Empty fields are
// left out. What the rings refused is a warning; what is the server's own
// failure is an error; the rest is information.
func NewLog(l *slog.Logger) Sink { return logSink{l} }

type logSink struct{ *slog.Logger }

func (l logSink) Record(e Event) {
	level := e.Kind.level()
	h := l.Handler()
	if !h.Enabled(context.Background(), level) {
		return
	}
	var a [15]slog.Attr
	attrs := append(a[:0], slog.String("event.name", string(e.Kind)))
	add := func(key, v string) {
		if v != "" {
			attrs = append(attrs, slog.String(key, v))
		}
	}
	add("event.outcome", string(e.Outcome))
	add("ringwall.control", e.Control)
	if e.Client.IsValid() {
		add("client.address", e.Client.String())
	}
	add("user.id", e.Subject)
	add("session.id", e.Session)
	add("ringwall.request_id", e.RequestID)
	add("http.request.method", e.Method)
	add("url.path", e.Path)
	add("http.route", e.Route)
	if e.Status != 0 {
		attrs = append(attrs, slog.Int("http.response.status_code", e.Status))
	}
	if e.Elsewhere {
		attrs = append(attrs, slog.Bool("ringwall.elsewhere", true))
	}
	add("ringwall.detail", e.Detail)
	r := slog.NewRecord(e.Time, level, "security event", 0)
	r.AddAttrs(attrs...)
	_ = h.Handle(context.Background(), r) // a sink never fails its caller; Buffer counts what is lost
}

func (k Kind) level() slog.Level {
	switch k {
	case AuthExpired, UpstreamUp, PolicyLoaded, ServerStarted, ServerStopped, AccountCreated, AccountVerified, AccountDeleted, AccountLocked, AccountUnlocked,
		RolesChanged, InviteCreated, InviteWithdrawn, PasswordChanged, PasswordReset, ResetRequested, SignedIn, SignedOut, TokenRefreshed, KeyRotated, KeyRevoked,
		StoreMoved, AuditSummarised, AuditAnchored, AuditPruned, TrafficCalmed, CertificateLoaded, CertificateObtained, BanEnded, BanRemoved, BanSpared:
		return slog.LevelInfo
	case HandlerPanicked, UpstreamFailed, UpstreamDown, PolicyKept, StoreFailed, MailFailed, NoticeFailed, AuditLost, AuditBroken, CertificateKept, CertificateFailed, BanFailed:
		return slog.LevelError
	}
	return slog.LevelWarn
}

// Tee returns a sink that gives every event to each of sinks, in order.
func Tee(sinks ...Sink) Sink { return tee(sinks) }

type tee []Sink

func (t tee) Record(e Event) {
	for _, s := range t {
		s.Record(e)
	}
}
