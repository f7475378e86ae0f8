package identity

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/identity/password"
	"github.com/ringwall/ringwall/policy"
)

// routes are all endpoints, and the map of the files named api_*.go.
func (s *Service) routes() http.Handler {
	mux := http.NewServeMux()
	for pattern, h := range map[string]http.Handler{
		"POST /api/auth/register":     app.Handle(s.register),
		"POST /api/auth/verify-email": app.Handle(s.verifyEmail),

		"POST /api/auth/login":   app.Handle(s.login),
		"POST /api/auth/refresh": app.Handle(s.refresh),
		"POST /api/auth/logout":  app.Handle(s.logout),

		"POST /api/auth/password":        app.Handle(s.changePassword),
		"POST /api/auth/password/forgot": app.Handle(s.forgotPassword),
		"POST /api/auth/password/reset":  app.Handle(s.resetPassword),

		"GET /api/auth/sessions":         app.Handle(s.listSessions),
		"DELETE /api/auth/sessions":      app.Handle(s.endOtherSessions),
		"DELETE /api/auth/sessions/{id}": app.Handle(s.endSession),

		"GET /api/me":    app.Handle(s.me),
		"DELETE /api/me": app.Handle(s.deleteMe),

		"GET /api/admin/users":                  app.Handle(s.listUsers),
		"GET /api/admin/users/{id}":             app.Handle(s.getUser),
		"POST /api/admin/users/{id}/lock":       app.Handle(s.lockUser),
		"POST /api/admin/users/{id}/unlock":     app.Handle(s.unlockUser),
		"PUT /api/admin/users/{id}/roles":       app.Handle(s.setUserRoles),
		"DELETE /api/admin/users/{id}/sessions": app.Handle(s.endUserSessions),
		"GET /api/admin/invites":                app.Handle(s.listInvites),
		"POST /api/admin/invites":               app.Handle(s.invite),
		"DELETE /api/admin/invites":             app.Handle(s.withdrawInvite),
	} {
		mux.Handle(pattern, noStore(h))
	}
	mux.Handle("GET /.well-known/jwks.json", s.deps.Keys.JWKS())
	return mux
}

// Handler serves the routes of policy.Builtin. It must be behind the app ring,
// which says who calls and from where, and admits to /api/me and /api/admin/
// only whom the policy allows: ringwall.Deps.Identity and app.Deps.Builtin put
// it there. A request that comes in by another way is answered 500.
func (s *Service) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if x := app.FromContext(r.Context()); x == nil || x.Route == nil || !x.Route.Builtin {
			s.deps.Log.Error("a request for accounts did not come through the ring; give the service to ringwall.Deps or app.Deps")
			http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
			return
		}
		s.handler.ServeHTTP(w, r)
	})
}

func noStore(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		h.ServeHTTP(w, r)
	})
}

// A visit is one request, under the rules in force when it came in.
type visit struct {
	*rules
	x    *app.Exchange
	from origin
}

func (s *Service) visit(ctx context.Context) visit {
	x := app.FromContext(ctx)
	return visit{s.current.Load(), x, origin{Client: x.Client, UserAgent: x.R.UserAgent(),
		Device: deviceSum(cookieOf(x.R, deviceCookie)), RequestID: x.ID}}
}

// signedIn is visit for endpoints of those who are signed in.
func (s *Service) signedIn(ctx context.Context) (visit, error) {
	v := s.visit(ctx)
	if v.x.Caller == nil {
		return v, v.unauthorized("Sign in first: this takes an access token.", nil)
	}
	return v, nil
}

// actor is who calls, for operations on accounts.
func (v visit) actor() Actor {
	return Actor{ID: v.x.Caller.Subject, Session: v.x.Caller.Session, Client: v.from.Client, RequestID: v.from.RequestID}
}

// setCookies gives the answer cookies, also when it is a refusal.
func (v visit) setCookies(values ...string) { v.x.Answer.Set("Set-Cookie", values) }

// unauthorized is a 401 with its challenge (RFC 9110, 15.5.2).
func (v visit) unauthorized(detail string, err error) error {
	v.x.Answer.Set("Www-Authenticate", []string{`Bearer realm="` + v.policy.Site + `"`})
	return &app.Error{Status: http.StatusUnauthorized, Detail: detail, Err: err}
}

// later is a refusal for some time, in whole seconds and at least one.
func (v visit) later(status int, wait time.Duration, detail string, err error) error {
	seconds := max(1, int64((wait+time.Second-1)/time.Second))
	v.x.Answer.Set("Retry-After", []string{strconv.FormatInt(seconds, 10)})
	return &app.Error{Status: status, Detail: detail, Err: err}
}

// event records what came of a visit. subject is the account that it was about,
// when somebody is.
func (s *Service) event(v visit, kind audit.Kind, outcome audit.Outcome, subject string, status int, detail string) {
	e := s.draft(v, kind, outcome, status)
	e.Subject, e.Detail = subject, detail
	s.deps.Audit.Record(e)
}

// draft is an event of a visit that is not recorded yet.
func (s *Service) draft(v visit, kind audit.Kind, outcome audit.Outcome, status int) audit.Event {
	e := audit.Event{Time: s.deps.Now(), Kind: kind, Outcome: outcome, Control: "identity/accounts", Client: v.from.Client,
		RequestID: v.from.RequestID, Method: v.x.R.Method, Path: v.x.Path, Route: v.x.Route.Pattern, Status: status}
	if v.x.Caller != nil {
		e.Session = v.x.Caller.Session
	}
	return e
}

// storeWait is when to come back while the store is out.
const storeWait = 5 * time.Second

// refuse makes the answer to an error: a refusal as it is, 503 while too many
// passwords are being checked, and 503 for any other, which is the store's.
func (s *Service) refuse(v visit, err error) error {
	var (
		refusal *Refusal
		answer  *app.Error
		busy    *password.Busy
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &answer):
		return err
	case errors.As(err, &refusal):
		out := &app.Error{Status: refusal.Status, Detail: refusal.Message}
		if refusal.Path != "" {
			out.Detail = "The request is not as it should be; see errors."
			out.Issues = []app.Issue{{Path: refusal.Path, Code: refusal.Code, Message: refusal.Message}}
		}
		return out
	case errors.As(err, &busy):
		return v.later(http.StatusServiceUnavailable, busy.RetryAfter, "Too many people sign in at the moment. Try again in a few seconds.", err)
	case v.x.R.Context().Err() != nil && errors.Is(err, v.x.R.Context().Err()):
		return err
	}
	s.event(v, audit.StoreFailed, audit.Failure, "", http.StatusServiceUnavailable, err.Error())
	return v.later(http.StatusServiceUnavailable, storeWait, "Accounts cannot be reached at the moment.", err)
}

// issues collects what is wrong with an input.
type issues []app.Issue

func (i *issues) add(path, code string, err error) {
	if err != nil {
		*i = append(*i, app.Issue{Path: path, Code: code, Message: err.Error()})
	}
}

// addRefusal takes up a refusal of a value, and gives back any other error.
func (i *issues) addRefusal(err error) error {
	var r *Refusal
	if err == nil || !errors.As(err, &r) || r.Path == "" {
		return err
	}
	*i = append(*i, app.Issue{Path: r.Path, Code: r.Code, Message: r.Message})
	return nil
}

func (i issues) refusal() error {
	if len(i) == 0 {
		return nil
	}
	return &app.Error{Status: http.StatusBadRequest, Detail: "The request is not as it should be; see errors.", Issues: i}
}

var _ interface {
	Reload(*policy.Policy) error
	Ready(context.Context) error
	Run(context.Context) error
} = (*Service)(nil)
