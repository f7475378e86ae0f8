package mail_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	netmail "net/mail"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/ringwall/ringwall/identity"
	"github.com/ringwall/ringwall/identity/mail"
	"github.com/ringwall/ringwall/internal/porttest"
	"github.com/ringwall/ringwall/policy"
)

// mailServer is an SMTP server of somebody else's making, on loopback.
type mailServer struct {
	addr  string
	roots *x509.CertPool
	mu    sync.Mutex
	mails []received
	auths int
	code  int // of the answer to RCPT; 0: taken
}

type received struct {
	from, to, text string
	secure         bool
}

type mailOptions struct {
	listen           string
	noTLS, implicit  bool
	user, certOf     string
	insecureAuth     bool
	silent           bool // takes connections and says nothing
	certNotTrustedBy bool
}

func newMailServer(t *testing.T, o mailOptions) *mailServer {
	t.Helper()
	if o.listen == "" {
		o.listen = "127.0.0.1:0"
	}
	if o.certOf == "" {
		o.certOf = "mail.example.com"
	}
	l, err := net.Listen("tcp", o.listen)
	if err != nil {
		t.Skipf("listen on %s: %v", o.listen, err)
	}
	s := &mailServer{addr: l.Addr().String(), roots: x509.NewCertPool()}
	if o.silent {
		t.Cleanup(func() { l.Close() })
		return s
	}
	cert, parsed := certificate(t, o.certOf)
	if !o.certNotTrustedBy {
		s.roots.AddCert(parsed)
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}}
	srv := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &mailSession{server: s, conn: c, user: o.user}, nil
	}))
	srv.Domain, srv.AllowInsecureAuth, srv.EnableSMTPUTF8 = "mail.example.com", o.insecureAuth, true
	srv.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	if !o.noTLS && !o.implicit {
		srv.TLSConfig = config
	}
	if o.implicit {
		l = tls.NewListener(l, config)
	}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close() })
	return s
}

func certificate(t *testing.T, host string) (tls.Certificate, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{host}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, parsed
}

type mailSession struct {
	server *mailServer
	conn   *smtp.Conn
	user   string // "": no AUTH
	known  bool
	mail   received
}

func (s *mailSession) AuthMechanisms() []string {
	if s.user == "" {
		return nil
	}
	return []string{sasl.Plain}
}

func (s *mailSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		s.server.mu.Lock()
		s.server.auths++
		s.server.mu.Unlock()
		if s.known = user == s.user && password == "letmein"; !s.known {
			return &smtp.SMTPError{Code: 535, EnhancedCode: smtp.EnhancedCode{5, 7, 8}, Message: "no"}
		}
		return nil
	}), nil
}

func (s *mailSession) Mail(from string, _ *smtp.MailOptions) error {
	if s.user != "" && !s.known {
		return smtp.ErrAuthRequired
	}
	s.mail.from = from
	return nil
}

func (s *mailSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	if s.server.code != 0 {
		return &smtp.SMTPError{Code: s.server.code, EnhancedCode: smtp.EnhancedCode{s.server.code / 100, 1, 1}, Message: "no <" + to + "> here"}
	}
	s.mail.to += to
	return nil
}

func (s *mailSession) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	_, s.mail.secure = s.conn.TLSConnectionState()
	s.mail.text = string(b)
	s.server.mu.Lock()
	s.server.mails = append(s.server.mails, s.mail)
	s.server.mu.Unlock()
	return err
}

func (s *mailSession) Reset()        { s.mail = received{} }
func (s *mailSession) Logout() error { return nil }

var note = identity.Mail{To: "ada@example.com", Subject: "Choose a new password (api.example.com)",
	Text: "Somebody asked.\n\n    https://app.example.com/account#reset=abc_-=123\n.\n. a dot at the start of a line\n"}

// judged is the mail as net/mail reads it.
func judged(t *testing.T, text string, want identity.Mail) {
	t.Helper()
	m, err := netmail.ReadMessage(strings.NewReader(text))
	if err != nil {
		t.Fatalf("net/mail: %v in\n%s", err, text)
	}
	body, err := io.ReadAll(m.Body)
	if err != nil {
		t.Fatal(err)
	}
	to, err := m.Header.AddressList("To")
	if err != nil || len(to) != 1 || to[0].Address != want.To {
		t.Errorf("To is %v, %v", to, err)
	}
	if got := strings.TrimRight(strings.ReplaceAll(string(body), "\r\n", "\n"), "\n"); got != strings.TrimRight(want.Text, "\n") {
		t.Errorf("the text is\n%s\nwant\n%s", got, want.Text)
	}
	if m.Header.Get("Subject") != want.Subject || m.Header.Get("Auto-Submitted") != "auto-generated" || m.Header.Get("Bcc") != "" {
		t.Errorf("the header is %v", m.Header)
	}
	if _, err := m.Header.Date(); err != nil {
		t.Errorf("Date: %v", err)
	}
	host, _ := os.Hostname()
	if strings.Contains(text, "@"+host+">") || m.Header.Get("User-Agent") != "" || m.Header.Get("X-Mailer") != "" {
		t.Errorf("the header tells of the machine or the library: %v", m.Header)
	}
}

func TestSMTP(t *testing.T) {
	password := policy.NewSecret("letmein")
	for name, o := range map[string]mailOptions{
		"STARTTLS":                       {},
		"STARTTLS and a password":        {user: "site"},
		"implicit TLS":                   {implicit: true, listen: "127.0.0.65:465", certOf: "127.0.0.65"},
		"implicit TLS and a password":    {implicit: true, listen: "127.0.0.66:465", certOf: "127.0.0.66", user: "site"},
		"plain on loopback":              {noTLS: true},
		"unknown certificate, loopback":  {certNotTrustedBy: true},
		"plain on loopback and password": {noTLS: true, user: "site", insecureAuth: true},
	} {
		t.Run(name, func(t *testing.T) {
			srv := newMailServer(t, o)
			m := &mail.SMTP{Address: "mail.example.com:587", User: o.user, Password: password, From: "accounts@example.com", Name: "api.example.com", Roots: srv.roots}
			if o.noTLS || o.implicit || o.certNotTrustedBy {
				m.Address = srv.addr
			} else {
				mail.Reach(m, srv.addr)
			}
			if err := m.Send(t.Context(), note); err != nil {
				t.Fatal(err)
			}
			if len(srv.mails) != 1 {
				t.Fatalf("%d mails", len(srv.mails))
			}
			got := srv.mails[0]
			if got.from != "accounts@example.com" || got.to != note.To || !o.implicit && got.secure == o.noTLS {
				t.Errorf("got %+v", got)
			}
			judged(t, got.text, note)
		})
	}
}

// Whoever sits between strips STARTTLS from the server's answer, or shows a
// certificate of his own: then nothing is said, neither mail nor password.
func TestTrapSTARTTLSStripped(t *testing.T) {
	for name, o := range map[string]mailOptions{
		"stripped":              {noTLS: true},
		"stripped, password":    {noTLS: true, user: "site", insecureAuth: true},
		"unknown certificate":   {user: "site", certNotTrustedBy: true},
		"certificate of others": {user: "site", certOf: "mail.evil.example"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := newMailServer(t, o)
			m := &mail.SMTP{Address: "mail.example.com:587", User: o.user, Password: policy.NewSecret("letmein"), From: "accounts@example.com", Roots: srv.roots}
			mail.Reach(m, srv.addr)
			err := m.Send(t.Context(), note)
			if err == nil || errors.Is(err, identity.ErrUndeliverable) {
				t.Errorf("error %v, want one that can be mended", err)
			}
			if len(srv.mails) > 0 || srv.auths > 0 {
				t.Errorf("%d mails and %d passwords went out", len(srv.mails), srv.auths)
			}
		})
	}
}

func TestSMTPAnswers(t *testing.T) {
	srv := newMailServer(t, mailOptions{noTLS: true})
	m := &mail.SMTP{Address: srv.addr, From: "accounts@example.com"}
	for code, final := range map[int]bool{450: false, 451: false, 550: true, 553: true} {
		srv.code = code
		err := m.Send(t.Context(), note)
		if err == nil || errors.Is(err, identity.ErrUndeliverable) != final {
			t.Errorf("%d: %v, want final %v", code, err, final)
			continue
		}
		if strings.Contains(err.Error(), "ada@") || strings.Contains(err.Error(), "reset=") {
			t.Errorf("the error holds the address or the text: %v", err)
		}
	}
	srv = newMailServer(t, mailOptions{noTLS: true, user: "site", insecureAuth: true})
	m = &mail.SMTP{Address: srv.addr, User: "site", Password: policy.NewSecret("canary-93b1"), From: "accounts@example.com"}
	if err := m.Send(t.Context(), note); err == nil || errors.Is(err, identity.ErrUndeliverable) || strings.Contains(err.Error(), "canary") {
		t.Errorf("a wrong password: %v", err)
	}
}

func TestSMTPDown(t *testing.T) {
	m := &mail.SMTP{Address: porttest.Address(t), From: "accounts@example.com"}
	if err := m.Send(t.Context(), note); err == nil || errors.Is(err, identity.ErrUndeliverable) {
		t.Errorf("nobody listens: %v", err)
	}
	// A server that says nothing: Send ends with its context.
	silent := newMailServer(t, mailOptions{silent: true})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	m = &mail.SMTP{Address: silent.addr, From: "accounts@example.com"}
	if err := m.Send(ctx, note); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a silent server: %v", err)
	}
}

func TestTrapHeaderInjection(t *testing.T) {
	srv := newMailServer(t, mailOptions{noTLS: true})
	dir := t.TempDir()
	for _, way := range []identity.Mailer{&mail.SMTP{Address: srv.addr, From: "accounts@example.com"}, &mail.Folder{Dir: dir, From: "accounts@example.com"}} {
		for _, m := range []identity.Mail{
			{To: "ada@example.com\r\nBcc: evil@example.com", Subject: "x", Text: "x"},
			{To: "ada@example.com>\r\nRCPT TO:<evil@example.com", Subject: "x", Text: "x"},
			{To: "ada@example.com, evil@example.com", Subject: "x", Text: "x"},
			{To: "ada@example.com", Subject: "x\r\nBcc: evil@example.com", Text: "x"},
			{To: "ada@example.com", Subject: "x\nBcc: evil@example.com", Text: "x"},
		} {
			if err := way.Send(t.Context(), m); err == nil {
				t.Errorf("%T sent %+v", way, m)
			}
		}
	}
	if files, _ := os.ReadDir(dir); len(srv.mails) > 0 || len(files) > 0 {
		t.Errorf("%d mails and %d files", len(srv.mails), len(files))
	}
	// Text may hold anything: it ends neither the mail nor its header.
	m := identity.Mail{To: "ada@example.com", Subject: "x", Text: "a\r\n.\r\nMAIL FROM:<evil@example.com>\r\n\x1b[2J Bcc: é\n"}
	if err := (&mail.SMTP{Address: srv.addr, From: "accounts@example.com"}).Send(t.Context(), m); err != nil || len(srv.mails) != 1 {
		t.Fatalf("%d mails, %v", len(srv.mails), err)
	}
}

func TestFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "mails")
	var log bytes.Buffer
	f := &mail.Folder{Dir: dir, From: "accounts@example.com", Log: slog.New(slog.NewJSONHandler(&log, nil))}
	for range 20 {
		if err := f.Send(t.Context(), note); err != nil {
			t.Fatal(err)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 20 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, e := range files {
		fi, err := e.Info()
		if err != nil || fi.Mode().Perm() != 0o600 || filepath.Ext(e.Name()) != ".eml" {
			t.Errorf("%s: %v, %v", e.Name(), fi.Mode(), err)
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, files[0].Name()))
	if err != nil {
		t.Fatal(err)
	}
	judged(t, string(b), note)
	// A developer reads the secret in the file as it is.
	if !strings.Contains(string(b), "https://app.example.com/account#reset=abc_-=123\n") {
		t.Errorf("the link is not there as it is:\n%s", b)
	}
	if !strings.Contains(log.String(), files[0].Name()) || strings.Contains(log.String(), "reset=") {
		t.Errorf("the log is %s", &log)
	}
	if fi, err := os.Stat(dir); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("the folder: %v, %v", fi.Mode(), err)
	}
	if err := (&mail.Folder{Dir: "/dev/null/x", From: "accounts@example.com"}).Send(t.Context(), note); err == nil {
		t.Error("a mail was written to /dev/null/x")
	}
}

// A folder does not fill the disk: the oldest mails go, and what a killed process left.
func TestFolderIsBounded(t *testing.T) {
	dir := t.TempDir()
	write := func(name string) string {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for i := range 1005 {
		write(fmt.Sprintf("20260101T00%04d.000Z-AAAAAA.eml", i))
	}
	other, young := write("0-notes.txt"), write("20260101T000000.000Z-BBBBBB.eml.part")
	theirs, part := write("0-saved.eml"), write("0-saved.eml.part")
	old := write("20260101T000000.000Z-CCCCCC.eml.part")
	if err := errors.Join(os.Chtimes(old, time.Time{}, time.Now().Add(-2*time.Hour)), os.Chtimes(part, time.Time{}, time.Now().Add(-2*time.Hour))); err != nil {
		t.Fatal(err)
	}
	if err := (&mail.Folder{Dir: dir, From: "accounts@example.com"}).Send(t.Context(), note); err != nil {
		t.Fatal(err)
	}
	mails, err := filepath.Glob(filepath.Join(dir, "2*.eml"))
	if err != nil || len(mails) != 1000 || filepath.Base(mails[0]) != "20260101T000006.000Z-AAAAAA.eml" {
		t.Errorf("%d mails, from %s, %v", len(mails), mails[0], err)
	}
	if b, err := os.ReadFile(mails[len(mails)-1]); err != nil || len(b) == 0 {
		t.Errorf("the newest is not there: %v", err)
	}
	for name, stays := range map[string]bool{other: true, theirs: true, part: true, young: true, old: false} {
		if _, err := os.Lstat(name); (err == nil) != stays {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNewOfPolicy(t *testing.T) {
	of := func(text string) identity.Mailer {
		t.Helper()
		p, err := policy.Parse("ringwall.yaml", []byte("site: api.example.com\n"+text), policy.LoadOptions{Environ: []string{}})
		if err != nil {
			t.Fatal(err)
		}
		m, err := mail.New(p, nil)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	if m := of(""); m != nil {
		t.Errorf("without a way there is %T", m)
	}
	if m, ok := of("identity: {mail: {smtp: \"mail.example.com:465\", user: site}}").(*mail.SMTP); !ok || m.From != "accounts@api.example.com" || m.Address != "mail.example.com:465" || m.User != "site" {
		t.Errorf("smtp: %+v", m)
	}
	if m, ok := of("identity: {mail: {folder: mails, from: no-reply@example.com}}").(*mail.Folder); !ok || m.From != "no-reply@example.com" || filepath.Base(m.Dir) != "mails" {
		t.Errorf("folder: %+v", m)
	}
}
