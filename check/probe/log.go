package probe

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"regexp"
	"strings"
	"sync"
)

// A Log keeps what a check sent and what came back, for evidence: the heads of
// requests and answers, never a body, with every secret blotted out. It is for
// one check; its methods may be called at any time.
type Log struct {
	mu   sync.Mutex
	all  []*exchange
	gone int // exchanges that were dropped between the first and the rest
}

// An Exchange is the heads of a request and its answer. Received tells what came
// in the place of an answer in brackets.
type Exchange struct{ Sent, Received string }

type exchange struct{ sent, received []byte }

// A check that sends hundreds of requests keeps the first and the last.
const (
	logFirst = 1
	logLast  = 3
	logHead  = 4 << 10 // bytes of a head
)

type logKey struct{}

// WithLog has what is sent under ctx written into l.
func WithLog(ctx context.Context, l *Log) context.Context { return context.WithValue(ctx, logKey{}, l) }

func logOf(ctx context.Context) *Log {
	l, _ := ctx.Value(logKey{}).(*Log)
	return l
}

func (l *Log) begin() *exchange {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	e := new(exchange)
	if len(l.all) == logFirst+logLast {
		l.all = append(l.all[:logFirst], l.all[logFirst+1:]...)
		l.gone++
	}
	l.all = append(l.all, e)
	return e
}

func (l *Log) add(to func(*exchange) *[]byte, e *exchange, b []byte) {
	if l == nil || e == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	at := to(e)
	*at = append(*at, b[:min(len(b), logHead-min(len(*at), logHead))]...)
}

func sentOf(e *exchange) *[]byte     { return &e.sent }
func receivedOf(e *exchange) *[]byte { return &e.received }

// note writes what came in the place of bytes.
func (l *Log) note(e *exchange, sent, received string) {
	l.add(sentOf, e, []byte(sent))
	l.add(receivedOf, e, []byte(received))
}

// Exchanges are the first and the last of what was sent.
func (l *Log) Exchanges() []Exchange {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []Exchange
	for i, e := range l.all {
		x := Exchange{head(e.sent), head(e.received)}
		if x.Received == "" {
			x.Received = "[no answer]"
		}
		if i == logFirst && l.gone > 0 {
			x.Sent = fmt.Sprintf("[%d more before this]\n", l.gone) + x.Sent
		}
		if x.Sent != "" {
			out = append(out, x)
		}
	}
	return out
}

// head is the first head in b, redacted.
func head(b []byte) string {
	s := string(b)
	s = strings.ReplaceAll(s, "\r\n", "\n")
	if i := strings.Index(s, "\n\n"); i >= 0 {
		s = s[:i]
	}
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = Redact(line)
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}

// tokens are in the forms that secrets have wherever they stand: JSON Web Tokens,
// and query parameters that carry one.
var (
	tokenForm = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}(\.[A-Za-z0-9_-]*){0,4}`)
	tokenArg  = regexp.MustCompile(`(?i)\b((?:access_|refresh_|id_)?token|code|key|api_?key|secret|password|passwd|session|sig|signature|ticket)=[^&;\s"']+`)
)

// Redact blots out what may be a secret in a line of a head: credentials, the
// values of cookies, tokens.
func Redact(line string) string {
	name, value, ok := strings.Cut(line, ":")
	if !ok || strings.ContainsAny(name, " /") {
		return blot(line)
	}
	switch lower := strings.ToLower(name); {
	case lower == "cookie":
		var kept []string
		for c := range strings.SplitSeq(value, ";") {
			n, _, _ := strings.Cut(strings.TrimSpace(c), "=")
			kept = append(kept, n+"=[redacted]")
		}
		return name + ": " + strings.Join(kept, "; ")
	case lower == "set-cookie":
		pair, attributes, more := strings.Cut(value, ";")
		n, _, _ := strings.Cut(strings.TrimSpace(pair), "=")
		out := name + ": " + n + "=[redacted]"
		if more {
			out += ";" + attributes
		}
		return out
	case strings.Contains(lower, "authorization"):
		scheme, _, _ := strings.Cut(strings.TrimSpace(value), " ")
		return name + ": " + scheme + " [redacted]"
	case strings.Contains(lower, "token"), strings.Contains(lower, "secret"), strings.Contains(lower, "api-key"), strings.Contains(lower, "apikey"), strings.Contains(lower, "password"):
		return name + ": [redacted]"
	}
	return blot(line)
}

func blot(s string) string {
	s = tokenForm.ReplaceAllString(s, "[redacted]")
	return tokenArg.ReplaceAllString(s, "${1}=[redacted]")
}

// loggedConn writes what goes over a connection into the log.
type loggedConn struct {
	net.Conn
	log *Log
	e   *exchange
}

func (c *loggedConn) Write(b []byte) (int, error) {
	c.log.add(sentOf, c.e, b) // before: the answer may be read while this still returns
	return c.Conn.Write(b)
}

func (c *loggedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.log.add(receivedOf, c.e, b[:n])
	return n, err
}

func (c *loggedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Conn.Close()
}

func describeHello(c *Client, cfg *tls.Config) string {
	s := "[TLS handshake with " + c.Host()
	if cfg.ServerName != "" {
		s += " for " + cfg.ServerName
	}
	if cfg.MaxVersion != 0 {
		s += ", at most " + tls.VersionName(cfg.MaxVersion)
	}
	return s + "]"
}

func describeState(s tls.ConnectionState) string {
	d := "[" + tls.VersionName(s.Version) + ", " + tls.CipherSuiteName(s.CipherSuite)
	if s.CurveID != 0 {
		d += ", " + s.CurveID.String()
	}
	if len(s.PeerCertificates) > 0 {
		leaf := s.PeerCertificates[0]
		d += fmt.Sprintf("; certificate of %s by %s until %s", leaf.Subject.CommonName, leaf.Issuer.CommonName, leaf.NotAfter.UTC().Format("2006-01-02"))
	}
	return d + "]"
}
