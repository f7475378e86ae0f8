package identity_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/identity"
	"github.com/ringwall/ringwall/policy"
	"github.com/ringwall/ringwall/store"
	"github.com/ringwall/ringwall/store/sqlitestore"
)

// A site is accounts behind the app ring on a real TLS listener, with SQLite.
type site struct {
	t      testing.TB
	store  *faultyStore
	file   string // of the store
	policy *policy.Policy
	svc    *identity.Service
	srv    *httptest.Server
	mailer *siteMailer
	clock  *clock

	mu     sync.Mutex
	events []audit.Event
	log    bytes.Buffer
}

const (
	ada      = "ada@example.org"
	password = "violet harbour tunnel 9"
	another  = "amber kettle meadow 4"
)

const siteRules = `
site: example.com
app:
  limits:
    global: {requests: 100000, per: 15m}
    auth: {requests: 100000, per: 15m, paths: [/api/auth/]}
  routes:
    - {path: /, allow: [signed-in]}
identity:
  registration: open
  verify_email: %v
  default_roles: [user]
  mail: {folder: mails, link: "https://app.example.com/account"}
  roles: {admin: ["*"], user: ["notes:read", "notes:write"], support: ["accounts:manage"], auditor: []}
`

// openSite starts a site where addresses need no proof, or do.
func openSite(t testing.TB, verify bool) *site { return openSiteOf(t, fmt.Sprintf(siteRules, verify)) }

func sitePolicy(t testing.TB, rules string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse("ringwall.yaml", []byte(rules), policy.LoadOptions{Environ: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// openSiteOf starts a site whose hashes are cheap.
func openSiteOf(t testing.TB, rules string) *site {
	t.Helper()
	s := openCostlySite(t, rules)
	identity.Cheapen(s.svc)
	return s
}

// openCostlySite starts a site as it is.
func openCostlySite(t testing.TB, rules string) *site {
	t.Helper()
	s := &site{t: t, policy: sitePolicy(t, rules), clock: &clock{t: time.Now()}, mailer: &siteMailer{sent: make(chan identity.Mail, 100)}}
	dir := identity.QuickDir(t)
	s.file = filepath.Join(dir, "accounts.db")
	st, err := sqlitestore.Open(t.Context(), s.file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	s.store = &faultyStore{Store: st}
	keys, err := identity.OpenKeyRing(filepath.Join(dir, "keys", "keys.json"), s.clock.now)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(audit.NewHandler(&lockedWriter{s: s}, slog.LevelDebug))
	if s.svc, err = identity.New(s.policy, identity.Deps{Store: s.store, Keys: keys, Mail: s.mailer, Audit: s, Log: log, Now: s.clock.now}); err != nil {
		t.Fatal(err)
	}
	notes := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, app.CallerFrom(r.Context()).Subject) })
	ring, err := app.New(s.policy, notes, app.Deps{Log: log, Audit: s, Verifier: s.svc.Verifier(), Builtin: s.svc.Handler(), Now: s.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	s.srv = httptest.NewTLSServer(ring)
	t.Cleanup(s.srv.Close)
	ctx, stop := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- s.svc.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-over; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return s
}

func (s *site) Record(e audit.Event) { s.mu.Lock(); s.events = append(s.events, e); s.mu.Unlock() }

// recorded counts events of a kind.
func (s *site) recorded(kind audit.Kind, outcome audit.Outcome) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		if e.Kind == kind && e.Outcome == outcome {
			n++
		}
	}
	return n
}

// told is all that was logged and recorded, as text.
func (s *site) told() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	b.Write(s.log.Bytes())
	for _, e := range s.events {
		fmt.Fprintf(&b, "%+v\n", e)
	}
	return b.String()
}

type lockedWriter struct{ s *site }

func (w *lockedWriter) Write(p []byte) (int, error) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	return w.s.log.Write(p)
}

// faultyStore is a real store that can be out.
type faultyStore struct {
	store.Store
	mu  sync.Mutex
	out bool
}

var errOut = errors.New("the disk is gone")

func (f *faultyStore) fail(out bool) { f.mu.Lock(); f.out = out; f.mu.Unlock() }

func (f *faultyStore) down() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.out {
		return errOut
	}
	return nil
}

func (f *faultyStore) AccountByEmail(ctx context.Context, email string) (store.Account, error) {
	if err := f.down(); err != nil {
		return store.Account{}, err
	}
	return f.Store.AccountByEmail(ctx, email)
}

func (f *faultyStore) Account(ctx context.Context, id string) (store.Account, error) {
	if err := f.down(); err != nil {
		return store.Account{}, err
	}
	return f.Store.Account(ctx, id)
}

func (f *faultyStore) CreateAccount(ctx context.Context, a store.Account) error {
	if err := f.down(); err != nil {
		return err
	}
	return f.Store.CreateAccount(ctx, a)
}

func (f *faultyStore) UpdateSession(ctx context.Context, id string, change func(*store.Session, store.Account) error) error {
	if err := f.down(); err != nil {
		return err
	}
	return f.Store.UpdateSession(ctx, id, change)
}

func (f *faultyStore) TakeTicket(ctx context.Context, kind string, sum []byte, now time.Time) (store.Ticket, error) {
	if err := f.down(); err != nil {
		return store.Ticket{}, err
	}
	return f.Store.TakeTicket(ctx, kind, sum, now)
}

func (f *faultyStore) Ping(ctx context.Context) error {
	return errors.Join(f.down(), f.Store.Ping(ctx))
}

// siteMailer keeps mails, or fails as often as it is told to.
type siteMailer struct {
	sent  chan identity.Mail
	mu    sync.Mutex
	fails []error
	tries int
}

func (m *siteMailer) Send(_ context.Context, mail identity.Mail) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tries++
	if len(m.fails) > 0 {
		err := m.fails[0]
		m.fails = m.fails[1:]
		return err
	}
	m.sent <- mail
	return nil
}

// mailed is the next mail.
func (s *site) mailed(to, subject string) identity.Mail {
	s.t.Helper()
	select {
	case m := <-s.mailer.sent:
		if m.To != to || !strings.HasPrefix(m.Subject, subject) {
			s.t.Fatalf("a mail to %s, %q; want one to %s, %q", m.To, m.Subject, to, subject)
		}
		return m
	case <-time.After(time.Minute):
		s.t.Fatalf("no mail %q came", subject)
	}
	panic("unreachable")
}

var mailedSecret = regexp.MustCompile(`#(verify|reset|invite)=([A-Za-z0-9_.-]{43,70})\n`)

func (s *site) secret(to, subject string) string {
	s.t.Helper()
	m := s.mailed(to, subject)
	found := mailedSecret.FindStringSubmatch(m.Text)
	if found == nil {
		s.t.Fatalf("no secret in %q", m.Text)
	}
	return found[2]
}

// A browser keeps cookies; its token is sent as Authorization.
type browser struct {
	*site
	http  *http.Client
	token string
	agent string
}

// browse makes a browser without cookies, at an address of its own.
func (s *site) browse(from string) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		return d.DialContext(ctx, network, s.srv.Listener.Addr().String())
	}
	tr := s.srv.Client().Transport.(*http.Transport).Clone()
	tr.DialContext, tr.ForceAttemptHTTP2 = dial, true
	s.t.Cleanup(tr.CloseIdleConnections)
	return &browser{site: s, http: &http.Client{Transport: tr, Jar: jar}, agent: "Browser of " + from}
}

type reply struct {
	status int
	header http.Header
	body   string
	json   map[string]any
}

func (r reply) String() string { return fmt.Sprintf("%d %s", r.status, r.body) }

// codes are "path code" of the errors of a problem.
func (r reply) codes() (out []string) {
	list, _ := r.json["errors"].([]any)
	for _, e := range list {
		m := e.(map[string]any)
		out = append(out, fmt.Sprint(m["path"], " ", m["code"]))
	}
	return out
}

// ask sends a request; body is marshalled unless it is nil.
func (b *browser) ask(method, path string, body any) reply {
	b.t.Helper()
	var r io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			b.t.Fatal(err)
		}
		r = bytes.NewReader(text)
	}
	req, err := http.NewRequest(method, "https://example.com"+path, r)
	if err != nil {
		b.t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("User-Agent", b.agent)
	if b.token != "" {
		req.Header.Set("Authorization", "Bearer "+b.token)
	}
	res, err := b.http.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	out := reply{status: res.StatusCode, header: res.Header, body: string(text)}
	_ = json.Unmarshal(text, &out.json)
	if cc := res.Header.Get("Cache-Control"); strings.HasPrefix(path, "/api/") && cc != "no-store" {
		b.t.Errorf("%s %s: Cache-Control is %q", method, path, cc)
	}
	if out.status >= 400 && res.Header.Get("Content-Type") != "application/problem+json" {
		b.t.Errorf("%s %s: %d is %s", method, path, out.status, res.Header.Get("Content-Type"))
	}
	return out
}

// must is ask with the status that must come.
func (b *browser) must(status int, method, path string, body any) reply {
	b.t.Helper()
	r := b.ask(method, path, body)
	if r.status != status {
		b.t.Fatalf("%s %s was answered %v, want %d", method, path, r, status)
	}
	return r
}

type fields map[string]any

func (b *browser) register(email string) reply {
	b.t.Helper()
	return b.must(201, "POST", "/api/auth/register", fields{"name": "Ada Lovelace", "email": email, "password": password})
}

func (b *browser) login(email, pw string) reply {
	b.t.Helper()
	return b.ask("POST", "/api/auth/login", fields{"email": email, "password": pw})
}

// enter signs in and keeps the access token.
func (b *browser) enter(email, pw string) {
	b.t.Helper()
	r := b.login(email, pw)
	if r.status != 200 {
		b.t.Fatalf("login of %s was answered %v", email, r)
	}
	b.token = r.json["access_token"].(string)
}

// member registers and signs in.
func (s *site) member(from, email string) *browser {
	s.t.Helper()
	b := s.browse(from)
	b.register(email)
	b.enter(email, password)
	return b
}

// admin is an account made on the server.
func (s *site) admin(from, email string, roles ...string) *browser {
	s.t.Helper()
	operator := identity.Actor{ID: "os:root", Operator: true}
	if _, err := s.svc.Accounts().Create(s.t.Context(), operator, identity.NewAccount{Email: email, Password: password, Roles: roles}); err != nil {
		s.t.Fatal(err)
	}
	b := s.browse(from)
	b.enter(email, password)
	return b
}

func (b *browser) id() string {
	b.t.Helper()
	return b.must(200, "GET", "/api/me", nil).json["id"].(string)
}

// cookieNamed is the cookie as the answer set it.
func (r reply) cookieNamed(name string) *http.Cookie {
	for _, c := range (&http.Response{Header: r.header}).Cookies() {
		if c.Name == name {
			return c
		}
	}
	return nil
}
