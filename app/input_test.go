package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/policy"
)

// inputPolicy lets anyone in, so that the input controls are what acts.
func inputPolicy() *policy.Policy {
	p := policy.Default()
	p.Site = "localhost"
	p.App.Limits = map[string]policy.Limit{"global": {Requests: 1_000_000, Per: 1_000_000_000}}
	p.App.Routes = []policy.Route{
		{Path: "/upload", Allow: []string{"anyone"}, Body: 1_000_000_000, ContentTypes: []string{"multipart/form-data", "application/octet-stream"},
			Timeout: 10 * time.Minute}, // a loaded machine takes a while for a gigabyte
		{Path: "/none", Allow: []string{"anyone"}, Body: 1000},
		{Path: "/", Allow: []string{"anyone"}},
	}
	return p
}

type inputVerifier struct{}

func (inputVerifier) Verify(context.Context, string) (*app.Caller, error) {
	return nil, errors.New("nobody")
}

// inputEvents collects events.
type inputEvents struct{ list []audit.Event }

func (e *inputEvents) Record(v audit.Event) { e.list = append(e.list, v) }

func inputRing(t testing.TB, p *policy.Policy, deps app.Deps, h http.Handler) *app.Ring {
	t.Helper()
	if deps.Verifier == nil {
		deps.Verifier = inputVerifier{}
	}
	ring, err := app.New(p, h, deps)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// inputRead reads the body, as a handler does, and answers 200 with its length,
// or fails as a careless one: 500.
var inputRead = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		return
	}
	_ = json.NewEncoder(w).Encode(n)
})

// inputDo sends one request straight to h. media "" sends no Content-Type.
func inputDo(h http.Handler, method, target, media, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if body == "" {
		r = httptest.NewRequest(method, target, nil)
	}
	r.Host = "localhost"
	if media != "" {
		r.Header.Set("Content-Type", media)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// inputProblem is a refusal as the client sees it.
type inputProblem struct {
	Type   string
	Status int
	Detail string
	Errors []app.Issue
}

func inputRefusal(t testing.TB, w *httptest.ResponseRecorder) inputProblem {
	t.Helper()
	var p inputProblem
	if got := w.Header().Get("Content-Type"); got != "application/problem+json" {
		t.Fatalf("status %d, Content-Type %q, want a problem", w.Code, got)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	if p.Status != w.Code {
		t.Errorf("the problem says %d, the answer %d", p.Status, w.Code)
	}
	return p
}

// inputCodes are the codes and paths of a refusal's issues.
func inputCodes(p inputProblem) string {
	var out []string
	for _, i := range p.Errors {
		out = append(out, i.Path+" "+i.Code)
	}
	return strings.Join(out, ", ")
}
