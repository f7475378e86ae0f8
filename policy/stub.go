package policy

import (
	"errors"
	"fmt"
	"time"
)

type document struct{}

// Default is a policy with every default and nothing site-specific.
func Default() *Policy {
	return &Policy{Site: "localhost", App: App{
		CORS:         CORS{Credentials: true, Methods: []string{"GET", "POST", "PUT", "PATCH", "DELETE"}, Headers: []string{"Content-Type", "Authorization"}, MaxAge: 10 * time.Minute},
		Limits:       map[string]Limit{"global": {Requests: 600, Per: 15 * time.Minute}, "auth": {Requests: 20, Per: 15 * time.Minute, Paths: []string{"/api/auth/"}}},
		LimitsMemory: 64e6, Body: 200e3, ContentTypes: []string{"application/json", "application/x-www-form-urlencoded"}, JSONDepth: 32, Timeout: 30 * time.Second,
		Headers: Headers{HSTS: HSTS{MaxAge: 365 * 24 * time.Hour}, CSP: "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'", Permissions: "geolocation=(), microphone=(), camera=()"},
		Log:     "info",
	}}
}

func (p *Policy) Waived(control string) (Waiver, bool) {
	for _, w := range p.Waivers {
		if w.Control == control {
			return w, true
		}
	}
	return Waiver{}, false
}

func (w Waiver) Expired(now time.Time) bool { return !now.Before(w.Until.AddDate(0, 0, 1)) }

func (p *Policy) Errorf(path, hint, format string, args ...any) error {
	return errors.New(path + ": " + fmt.Sprintf(format, args...) + " (" + hint + ")")
}
