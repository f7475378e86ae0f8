package app_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/app/openapi"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/internal/porttest"
	"github.com/ringwall/ringwall/policy"
)

// The tests in this file hold for every control, present and future: nobody
// has to write them again.

// notSeen are the controls that no request from outside can tell apart from
// their absence, with the reason. They have no Verify and say how to look.
var notSeen = map[string]string{
	"app/access-log": "a log is on the server; nothing of it goes over the wire",
}

// provable are the controls that the rest of this file holds to their proof.
func provable(t *testing.T) (list []app.Control) {
	t.Helper()
	for _, ctl := range app.Controls() {
		switch reason := notSeen[ctl.ID]; {
		case ctl.Verify != nil && ctl.Inside == "" && reason == "":
			list = append(list, ctl)
		case ctl.Verify == nil && ctl.Inside != "" && reason != "":
			t.Logf("%s is not seen from outside: %s", ctl.ID, reason)
		default:
			t.Errorf("%s has a proof: %v, a way to look from inside: %v, an excuse in notSeen: %v", ctl.ID, ctl.Verify != nil, ctl.Inside != "", reason != "")
		}
	}
	return list
}

// listPolicy is that of the notes example, in a hurry.
func listPolicy(t *testing.T) *policy.Policy {
	t.Helper()
	p, err := policy.Load("../examples/notes/api/ringwall.yaml", policy.LoadOptions{Dev: true, Environ: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	p.App.Timeout = time.Second
	p.Edge.HTTP3 = true // else nothing shows whether app/alt-svc is there
	return p
}

// listTokens are opaque: who they belong to is the verifier's affair.
type listTokens map[string]*app.Caller

func (l listTokens) Verify(_ context.Context, token string) (*app.Caller, error) {
	if c := l[token]; c != nil {
		return c, nil
	}
	return nil, errors.New("no such token")
}

var callers = listTokens{
	"token-of-alice": {Subject: "alice", Roles: []string{"user"}},
	"token-of-admin": {Subject: "root", Roles: []string{"admin"}},
}

// unprotected answers as an API does that nobody hardened.
func unprotected(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	h := w.Header()
	h.Set("Server", "Example/1.2.3")
	h.Set("X-Powered-By", "Express")
	h.Set("Content-Type", "application/json; charset=utf-8")
	fmt.Fprintf(w, `{"notes":[{"id":"1","title":"a","text":%q}]}`, strings.Repeat("All work and no play. ", 200))
}

// misled sets every header that a control owns, each to a value that does not
// protect: a proof that only looks for the name is fooled.
func misled(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	for name, v := range map[string]string{
		"Access-Control-Allow-Origin":       "*",
		"Access-Control-Allow-Credentials":  "true",
		"Cache-Control":                     "public, max-age=600",
		"Content-Security-Policy":           "default-src *",
		"Cross-Origin-Opener-Policy":        "unsafe-none",
		"Cross-Origin-Resource-Policy":      "cross-origin",
		"Origin-Agent-Cluster":              "?0",
		"Permissions-Policy":                "geolocation=*",
		"Ratelimit":                         "lots",
		"Ratelimit-Policy":                  "none",
		"Referrer-Policy":                   "unsafe-url",
		"Strict-Transport-Security":         "max-age=0",
		"X-Content-Type-Options":            "sniff",
		"X-Dns-Prefetch-Control":            "on",
		"X-Download-Options":                "open",
		"X-Frame-Options":                   "ALLOWALL",
		"X-Permitted-Cross-Domain-Policies": "all",
		"X-Request-Id":                      r.Header.Get("X-Request-Id"),
		"X-Xss-Protection":                  "1",
	} {
		h.Set(name, v)
	}
	unprotected(w, r)
}

func listServer(t *testing.T, handler http.Handler, without ...string) *httptest.Server {
	t.Helper()
	p := listPolicy(t)
	schema, err := openapi.Load(p.File(p.App.Schema))
	if err != nil {
		t.Fatal(err)
	}
	ring, err := app.NewWithout(p, handler, app.Deps{Verifier: callers, Schema: schema, Builtin: http.NotFoundHandler()}, without...)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(ring)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// listClient looks at https://localhost with httptest's certificate.
func listClient(t *testing.T, s *httptest.Server) *probe.Client {
	t.Helper()
	return listClientOf(t, s, map[string]string{"": "token-of-alice", "user": "token-of-alice", "admin": "token-of-admin"})
}

func listClientOf(t *testing.T, s *httptest.Server, tokens map[string]string) *probe.Client {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, err := probe.New("https://localhost:"+port, probe.Options{
		TLS: &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}, Tokens: tokens,
		Timeout: 5 * time.Second, MaxRequests: 5000,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// listFind runs one control's proof.
func listFind(t *testing.T, c *probe.Client, ctl app.Control) check.Finding {
	t.Helper()
	p := listPolicy(t)
	r := check.Run(t.Context(), []check.Check{{Meta: ctl.Meta, Verify: func(ctx context.Context) check.Finding {
		return ctl.Verify(ctx, p, c)
	}}}, check.Options{PerCheck: 30 * time.Second})
	return r.Results[0].Finding
}

func TestEveryControlInForcePasses(t *testing.T) {
	s := listServer(t, http.HandlerFunc(misled))
	c := listClient(t, s)
	for _, ctl := range provable(t) {
		t.Run(ctl.ID, func(t *testing.T) {
			f := listFind(t, c, ctl)
			if f.Verdict != check.Pass {
				t.Errorf("%v: got %q, want %q", f.Verdict, f.Got, f.Want)
			}
			t.Logf("%-7v %-24s %s", f.Verdict, ctl.ID, f.Got)
		})
	}
	t.Logf("%d connections for one run of all", c.Sent())
}

func TestEveryControlRemovedFails(t *testing.T) {
	for _, ctl := range provable(t) {
		t.Run(ctl.ID, func(t *testing.T) {
			if testing.Short() && ctl.ID == "app/timeout" {
				t.Skip("its proof waits for seconds")
			}
			t.Parallel()
			for name, handler := range map[string]http.HandlerFunc{"unprotected": unprotected, "misled": misled} {
				f := listFind(t, listClient(t, listServer(t, handler, ctl.ID)), ctl)
				if f.Verdict != check.Fail {
					t.Errorf("in front of the %s handler: %v, %q", name, f.Verdict, f.Got)
				} else if f.Got == "" || f.Want == "" || f.Fix == "" {
					t.Errorf("a failure says what came, what should have come and what to do: %+v", f)
				}
				t.Logf("%s: got %q, want %q, fix %q", name, f.Got, f.Want, f.Fix)
			}
		})
	}
}

func TestEveryControlUnseenIsUnknown(t *testing.T) {
	up := listServer(t, http.HandlerFunc(unprotected))
	down := listServer(t, http.HandlerFunc(unprotected))
	down.Close()
	mute := porttest.Serve(t, func(net.Conn) {})
	stranger, err := probe.New("https://"+up.Listener.Addr().String(), probe.Options{})
	if err != nil {
		t.Fatal(err)
	}
	hangsUp, err := probe.New("http://"+mute, probe.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, ctl := range provable(t) {
		for name, c := range map[string]*probe.Client{"refused": listClient(t, down), "unknown certificate": stranger, "hangs up": hangsUp} {
			t.Run(ctl.ID+"/"+name, func(t *testing.T) {
				if f := listFind(t, c, ctl); f.Verdict != check.Unknown {
					t.Errorf("%v: %q", f.Verdict, f.Got)
				} else if f.Got == "" {
					t.Error("it does not say why it could not see")
				}
			})
		}
	}
}

func TestEveryControlIsDescribed(t *testing.T) {
	seen := map[string]bool{}
	for _, ctl := range app.Controls() {
		if noun, ok := strings.CutPrefix(ctl.ID, "app/"); !ok || noun == "" || strings.Trim(noun, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || seen[ctl.ID] {
			t.Errorf("ID %q is not app/noun, or stands twice", ctl.ID)
		}
		seen[ctl.ID] = true
		if n := len(ctl.Title); n < 10 || n > 90 || strings.HasSuffix(ctl.Title, ".") || !strings.Contains(ctl.Title, " ") || seen[ctl.Title] {
			t.Errorf("%s: the title %q is no claim of 10 to 90 characters without a full stop, or stands twice", ctl.ID, ctl.Title)
		}
		seen[ctl.Title] = true
		if !strings.HasSuffix(ctl.Why, ".") {
			t.Errorf("%s: why %q is not a sentence", ctl.ID, ctl.Why)
		}
		if !strings.Contains(ctl.Ref, "blueprint ") && !strings.Contains(ctl.Ref, "RFC ") {
			t.Errorf("%s: ref %q names neither a standard nor a line of the blueprint", ctl.ID, ctl.Ref)
		}
		if ctl.Value == nil {
			t.Errorf("%s has no value to explain", ctl.ID)
		}
		if ctl.Wrap == nil && ctl.Static == nil && ctl.Finish == nil && ctl.Done == nil && len(ctl.Owns) == 0 {
			t.Errorf("%s does nothing", ctl.ID)
		}
	}
	for id := range notSeen {
		if !seen[id] {
			t.Errorf("notSeen speaks of %s, which is no control", id)
		}
	}
}
