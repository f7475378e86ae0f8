package watch_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	netmail "net/mail"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/identity"
	"github.com/ringwall/ringwall/identity/mail"
	"github.com/ringwall/ringwall/internal/porttest"
	"github.com/ringwall/ringwall/policy"
	"github.com/ringwall/ringwall/watch"
)

// TestSignature has the vector of Standard Webhooks' own libraries.
func TestSignature(t *testing.T) {
	key, err := base64.StdEncoding.DecodeString("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	got := watch.Signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// posted is one request as a receiver saw it.
type posted struct {
	header http.Header
	path   string
	body   []byte
}

func receiver(t *testing.T, secure bool, answer http.HandlerFunc) (s *httptest.Server, got chan posted) {
	t.Helper()
	got = make(chan posted, 100)
	s = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got <- posted{r.Header, r.Method + " " + r.URL.RequestURI(), b}
		if answer != nil {
			answer(w, r)
		}
	}))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.EnableHTTP2 = true
	if secure {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s, got
}

func rootsOf(s *httptest.Server) *x509.CertPool {
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return roots
}

const canary = "canary-93b1"

func tested(t *testing.T, address string, key string, roots *x509.CertPool) error {
	t.Helper()
	p := policyOf(t, "")
	p.Watch.WebhookAddress = policy.NewSecret(address)
	if key != "" {
		p.Watch.WebhookKey = policy.NewSecret(key)
	}
	n, err := watch.NewNotifier(p, watch.Deps{Roots: roots})
	if err != nil {
		t.Fatal(err)
	}
	trials := n.Test(t.Context())
	if len(trials) != 1 || trials[0].Way != "webhook" || strings.Contains(trials[0].To, canary) {
		t.Fatalf("got %+v", trials)
	}
	return trials[0].Err
}

func TestWebhook(t *testing.T) {
	s, got := receiver(t, true, nil)
	key := bytes.Repeat([]byte{7, 9, 201, 44}, 8)
	if err := tested(t, s.URL+"/hook/"+canary+"?a=b", base64.StdEncoding.EncodeToString(key), rootsOf(s)); err != nil {
		t.Fatal(err)
	}
	p := <-got
	if p.path != "POST /hook/"+canary+"?a=b" || p.header.Get("Content-Type") != "application/json" || !strings.HasPrefix(p.header.Get("Webhook-Id"), "msg_") {
		t.Errorf("got %s %v", p.path, p.header)
	}
	want := watch.Signature(key, p.header.Get("Webhook-Id"), p.header.Get("Webhook-Timestamp"), p.body)
	if p.header.Get("Webhook-Signature") != want {
		t.Errorf("signed %q, want %q", p.header.Get("Webhook-Signature"), want)
	}
	var b map[string]any
	if err := json.Unmarshal(p.body, &b); err != nil {
		t.Fatal(err)
	}
	if b["version"] != 1.0 || b["test"] != true || b["site"] != "api.example.com" || !strings.Contains(b["text"].(string), "test") || b["id"] != p.header.Get("Webhook-Id") {
		t.Errorf("got %s", p.body)
	}
	// Words that Slack's and Mattermost's incoming webhooks read in their own way.
	for _, name := range []string{"type", "channel", "username", "icon_url", "icon_emoji", "attachments", "blocks", "props", "priority"} {
		if _, has := b[name]; has {
			t.Errorf("the body has %q", name)
		}
	}
	// Without a key nothing is signed.
	if err := tested(t, s.URL, "", rootsOf(s)); err != nil {
		t.Fatal(err)
	}
	if p := <-got; p.header.Get("Webhook-Signature") != "" {
		t.Errorf("signed without a key: %v", p.header)
	}
}

func TestWebhookRefusals(t *testing.T) {
	elsewhere, atOther := receiver(t, false, nil)
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"500": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, "the receiver answered 500"},
		"404": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, "the receiver answered 404"},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+"/"+canary, http.StatusTemporaryRedirect)
		}, "the receiver answered 307: redirects are not followed"},
		"broken off":  {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
		"huge answer": {func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 10<<20)) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := receiver(t, false, tt.answer)
			err := tested(t, s.URL+"/"+canary, "", nil)
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), canary) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
	if len(atOther) > 0 {
		t.Error("a redirect was followed")
	}
}

func TestWebhookUnreachable(t *testing.T) {
	s, got := receiver(t, true, nil)
	other, _ := receiver(t, true, nil)
	old := httptest.NewUnstartedServer(nil)
	old.TLS = &tls.Config{MaxVersion: tls.VersionTLS11}
	old.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	old.StartTLS()
	defer old.Close()
	for name, tt := range map[string]struct {
		address string
		roots   *x509.CertPool
		want    string
	}{
		"nobody listens":        {"https://" + porttest.Address(t) + "/" + canary, nil, "connection refused"},
		"unknown authority":     {s.URL + "/" + canary, x509.NewCertPool(), "unknown authority"},
		"certificate of others": {strings.Replace(s.URL, "127.0.0.1", "localhost", 1) + "/" + canary, rootsOf(s), "not localhost"},
		"TLS 1.1":               {old.URL + "/" + canary, rootsOf(old), "protocol version"},
		"plain HTTP":            {strings.Replace(other.URL, "https", "http", 1) + "/" + canary, nil, "400"},
	} {
		t.Run(name, func(t *testing.T) {
			err := tested(t, tt.address, "", tt.roots)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), canary) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
	if len(got) > 0 {
		t.Error("something was posted")
	}
}

// A receiver that takes the request and never answers: Test ends with its
// context, and Record does not wait.
func TestWebhookSilent(t *testing.T) {
	release := make(chan struct{})
	s, got := receiver(t, false, func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	p := policyOf(t, "watch: {webhook: \""+s.URL+"\"}")
	n, err := watch.NewNotifier(p, watch.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan []watch.Trial, 1)
	go func() { done <- n.Test(ctx) }()
	<-got
	for range 10_000 {
		n.Record(audit.Event{Kind: audit.StoreFailed})
	}
	cancel()
	if trials := <-done; !errors.Is(trials[0].Err, context.Canceled) {
		t.Errorf("got %+v", trials)
	}
}

// mailbox is the backend of an SMTP server of somebody else's making.
type mailbox struct {
	code  atomic.Int32 // of the answer to RCPT; 0: taken
	mails chan string
}

type mailboxSession struct {
	*mailbox
	to string
}

func (b *mailbox) NewSession(*smtp.Conn) (smtp.Session, error) {
	return &mailboxSession{mailbox: b}, nil
}

func (s *mailboxSession) Mail(string, *smtp.MailOptions) error { return nil }
func (s *mailboxSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	if c := int(s.code.Load()); c != 0 {
		return &smtp.SMTPError{Code: c, EnhancedCode: smtp.EnhancedCode{c / 100, 1, 1}, Message: "no"}
	}
	s.to = to
	return nil
}
func (s *mailboxSession) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	s.mails <- string(b)
	return err
}
func (s *mailboxSession) Reset()        {}
func (s *mailboxSession) Logout() error { return nil }

func mailServer(t *testing.T) (addr string, b *mailbox) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b = &mailbox{mails: make(chan string, 100)}
	s := smtp.NewServer(b)
	s.Domain = "mail.example.com"
	s.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close() })
	return l.Addr().String(), b
}

// smtpWay joins the way of mail of accounts, as cmd/ringwall does.
func smtpWay(p *policy.Policy) (watch.SendMail, error) {
	m, err := mail.New(p, nil)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, to, subject, text string) error {
		err := m.Send(ctx, identity.Mail{To: to, Subject: subject, Text: text})
		if errors.Is(err, identity.ErrUndeliverable) {
			return errors.Join(watch.ErrUndeliverable, err)
		}
		return err
	}, nil
}

// TestRealReceivers is the whole way with the real clock, to a web server over
// TLS and to a mail server.
func TestRealReceivers(t *testing.T) {
	web, posts := receiver(t, true, nil)
	addr, box := mailServer(t)
	p := policyOf(t, "watch: {webhook: \""+web.URL+"\", mail: [ops@example.com, boss@example.com]}\nidentity: {mail: {smtp: \""+addr+"\", from: ringwall@example.com}}")
	n, err := watch.NewNotifier(p, watch.Deps{Mail: smtpWay, Roots: rootsOf(web)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { n.Run(ctx); close(done) }()
	n.Record(stolen("u1"))
	post := <-posts
	var b body
	if err := json.Unmarshal(post.body, &b); err != nil || len(b.Notices) != 1 || b.Notices[0].Kind != "token.reused" {
		t.Errorf("%v: %s", err, post.body)
	}
	if late := time.Since(b.Notices[0].First); late > 10*time.Second {
		t.Errorf("it came %v after the event", late)
	}
	to := map[string]bool{}
	for range 2 {
		m, err := netmail.ReadMessage(strings.NewReader(<-box.mails))
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(m.Body)
		to[m.Header.Get("To")] = true
		if m.Header.Get("Subject") != "Ringwall: token.reused (api.example.com)" || m.Header.Get("Auto-Submitted") != "auto-generated" || !strings.Contains(string(text), "client 192.0.2.7, caller `u1`") {
			t.Errorf("got %v\n%s", m.Header, text)
		}
	}
	if !to["<ops@example.com>"] || !to["<boss@example.com>"] {
		t.Errorf("mails to %v", to)
	}
	cancel()
	<-done
}

func TestMailRefused(t *testing.T) {
	addr, box := mailServer(t)
	p := policyOf(t, "watch: {mail: [ops@example.com]}\nidentity: {mail: {smtp: \""+addr+"\"}}")
	n, err := watch.NewNotifier(p, watch.Deps{Mail: smtpWay})
	if err != nil {
		t.Fatal(err)
	}
	for code, final := range map[int32]bool{550: true, 451: false} {
		box.code.Store(code)
		if err := n.Test(t.Context())[0].Err; err == nil || errors.Is(err, watch.ErrUndeliverable) != final {
			t.Errorf("%d: %v", code, err)
		}
	}
	box.code.Store(0)
	if err := n.Test(t.Context())[0].Err; err != nil {
		t.Error(err)
	}
}
