package edge_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/internal/porttest"
	"github.com/ringwall/ringwall/policy"
)

// tlsSite serves HTTPS with a config made of a pair, for api.example.com.
func tlsSite(t *testing.T, life, left time.Duration, config func(*tls.Certificate) *tls.Config) (addr string, roots *x509.CertPool) {
	t.Helper()
	now := time.Now()
	cert, key := writePair(t, t.TempDir(), now.Add(left-life), now.Add(left), "api.example.com")
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	l := tls.NewListener(srv.Listener, config(&pair))
	srv.Listener = l
	srv.Start()
	t.Cleanup(srv.Close)
	roots = x509.NewCertPool()
	roots.AddCert(pair.Leaf)
	return l.Addr().String(), roots
}

// ringwallTLS is what the edge serves for api.example.com.
func ringwallTLS(pair *tls.Certificate) *tls.Config {
	return edge.TLSConfig(func(name string) bool { return edge.ServedName("api.example.com", name) },
		func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair, nil }, false)
}

// verifyEdge runs the proof of one control against an address.
func verifyEdge(t *testing.T, id, url string, roots *x509.CertPool, p *policy.Policy) check.Finding {
	t.Helper()
	c, err := probe.New(url, probe.Options{TLS: &tls.Config{RootCAs: roots}, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	for _, ctl := range edge.Controls() {
		if ctl.ID == id {
			return ctl.Verify(t.Context(), p, c)
		}
	}
	t.Fatalf("there is no control %s", id)
	return check.Finding{}
}

func sitePolicy() *policy.Policy {
	p := policy.Default()
	p.Site = "api.example.com"
	return p
}

func TestServedName(t *testing.T) {
	for _, tt := range []struct {
		site, asked string
		want        bool
	}{
		{"api.example.com", "api.example.com", true},
		{"api.example.com", "API.Example.COM", true}, // RFC 6066: names are ASCII, in any case
		{"api.example.com", "", false},
		{"api.example.com", "www.example.com", false},
		{"api.example.com", "x.api.example.com", false},
		{"api.example.com", "api.example.com.evil.example", false},
		{"api.example.com", "localhost", false},
		{"api.example.com", "127.0.0.1", false},
		{"localhost", "localhost", true},
		{"localhost", "", true},
		{"localhost", "127.0.0.1", true}, // not allowed by RFC 6066, and sent by some
		{"localhost", "evil.example", false},
		{"127.0.0.1", "", true},
		{"::1", "", true},
		{"::1", "evil.example", false},
	} {
		if got := edge.ServedName(tt.site, tt.asked); got != tt.want {
			t.Errorf("site %s: %q served is %v, want %v", tt.site, tt.asked, got, tt.want)
		}
	}
}

// TestTrapUnknownNameGetsNoCertificate: the alert is that of RFC 6066, section 3.
func TestTrapUnknownNameGetsNoCertificate(t *testing.T) {
	addr, roots := tlsSite(t, 90*day, 60*day, ringwallTLS)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		tickets := tls.NewLRUClientSessionCache(4)
		dial := func(name string) (*tls.Conn, error) {
			return tls.Dial("tcp", addr, &tls.Config{ServerName: name, RootCAs: roots, InsecureSkipVerify: true, MaxVersion: version, ClientSessionCache: anyName{tickets}})
		}
		for _, name := range []string{"", "evil.example", "localhost"} {
			if _, err := dial(name); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
				t.Errorf("%s: client that asks for %q: %v, want the alert unrecognized_name", tls.VersionName(version), name, err)
			}
		}
		for i := range 2 {
			c, err := dial("api.example.com")
			if err != nil {
				t.Fatal(err)
			}
			_, _ = c.Write([]byte("GET / HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n"))
			_, _ = c.Read(make([]byte, 1024)) // tickets of 1.3 come after the handshake
			if resumed := c.ConnectionState().DidResume; resumed != (i == 1) {
				t.Errorf("%s: handshake %d resumed is %v", tls.VersionName(version), i, resumed)
			}
			c.Close()
		}
		// With the site's ticket, but for another name.
		if _, err := dial("evil.example"); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
			t.Errorf("%s: ticket with another name: %v, want the alert unrecognized_name", tls.VersionName(version), err)
		}
	}
}

// anyName keeps one session for all names, as an attacker's client may.
type anyName struct{ tls.ClientSessionCache }

func (c anyName) Get(string) (*tls.ClientSessionState, bool) { return c.ClientSessionCache.Get("") }
func (c anyName) Put(_ string, s *tls.ClientSessionState)    { c.ClientSessionCache.Put("", s) }

func TestVerifyTLS(t *testing.T) {
	if testing.Short() {
		t.Skip("one of the servers never answers, and is waited for")
	}
	plain := func(change func(*tls.Config)) func(*tls.Certificate) *tls.Config {
		return func(pair *tls.Certificate) *tls.Config {
			c := &tls.Config{Certificates: []tls.Certificate{*pair}}
			change(c)
			return c
		}
	}
	for _, tt := range []struct {
		name   string
		config func(*tls.Certificate) *tls.Config
		want   check.Verdict
		got    string
	}{
		{"in force", ringwallTLS, check.Pass, "X25519MLKEM768"},
		{"1.0 too", plain(func(c *tls.Config) { c.MinVersion = tls.VersionTLS10 }), check.Fail, "TLS 1.1"},
		{"CBC too", plain(func(c *tls.Config) {
			c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}
		}), check.Fail, "CBC"},
		{"no 1.3", plain(func(c *tls.Config) {
			c.MaxVersion = tls.VersionTLS12
			c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
		}), check.Fail, "TLS 1.2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr, roots := tlsSite(t, 90*day, 60*day, tt.config)
			f := verifyEdge(t, "edge/tls", "https://"+addr, roots, sitePolicy())
			if f.Verdict != tt.want || !strings.Contains(f.Got, tt.got) {
				t.Errorf("%+v, want %v with %q", f, tt.want, tt.got)
			}
		})
	}
	for name, url := range map[string]string{"down": "https://" + porttest.Address(t), "no TLS": "http://" + porttest.Address(t)} {
		if f := verifyEdge(t, "edge/tls", url, nil, sitePolicy()); f.Verdict != check.Unknown {
			t.Errorf("%s: %+v, want unknown", name, f)
		}
	}
	if f := verifyEdge(t, "edge/tls", "https://"+silent(t), nil, sitePolicy()); f.Verdict != check.Unknown {
		t.Errorf("silent: %+v, want unknown", f)
	}
}

// silent accepts and says nothing.
func silent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

func TestVerifyCertificate(t *testing.T) {
	toAll := func(pair *tls.Certificate) *tls.Config { return &tls.Config{Certificates: []tls.Certificate{*pair}} }
	for _, tt := range []struct {
		name       string
		life, left time.Duration
		config     func(*tls.Certificate) *tls.Config
		site       string
		trusted    bool
		want       check.Verdict
		got        string
	}{
		{"in force", 90 * day, 60 * day, ringwallTLS, "api.example.com", true, check.Pass, "59 days left"},
		{"nobody trusts it", 90 * day, 60 * day, ringwallTLS, "api.example.com", false, check.Fail, "unknown authority"},
		{"expired", 90 * day, -time.Hour, ringwallTLS, "api.example.com", true, check.Fail, "expired"},
		{"13 days", 90 * day, 13 * day, ringwallTLS, "api.example.com", true, check.Fail, "12 days are left"},
		{"15 days", 90 * day, 15*day + time.Hour, ringwallTLS, "api.example.com", true, check.Pass, "15 days"},
		{"of six days, two", 6 * day, 2 * day, ringwallTLS, "api.example.com", true, check.Pass, "left"},
		{"of six days, an hour", 6 * day, time.Hour, ringwallTLS, "api.example.com", true, check.Fail, "are left"},
		{"none for the site", 90 * day, 60 * day, ringwallTLS, "www.example.com", true, check.Fail, "unrecognized name"},
		{"of another site", 90 * day, 60 * day, toAll, "www.example.com", true, check.Fail, "www.example.com"},
		{"given to all", 90 * day, 60 * day, toAll, "api.example.com", true, check.Fail, "was given the site's"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr, roots := tlsSite(t, tt.life, tt.left, tt.config)
			if !tt.trusted {
				roots = x509.NewCertPool()
			}
			p := sitePolicy()
			p.Site = tt.site
			f := verifyEdge(t, "edge/certificate", "https://"+addr, roots, p)
			if f.Verdict != tt.want || !strings.Contains(f.Got, tt.got) {
				t.Errorf("%+v, want %v with %q", f, tt.want, tt.got)
			}
		})
	}
	if f := verifyEdge(t, "edge/certificate", "https://"+porttest.Address(t), nil, sitePolicy()); f.Verdict != check.Unknown {
		t.Errorf("down: %+v, want unknown", f)
	}
}

const day = 24 * time.Hour

func TestVerifyKeyExchange(t *testing.T) {
	classic := func(pair *tls.Certificate) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{*pair}, CurvePreferences: []tls.CurveID{tls.X25519}}
	}
	for _, tt := range []struct {
		name   string
		config func(*tls.Certificate) *tls.Config
		want   check.Verdict
		got    string
	}{
		{"in force", ringwallTLS, check.Pass, "X25519MLKEM768"},
		{"no hybrid", classic, check.Fail, "X25519"},
	} {
		addr, roots := tlsSite(t, 90*day, 60*day, tt.config)
		f := verifyEdge(t, "edge/key-exchange", "https://"+addr, roots, sitePolicy())
		if f.Verdict != tt.want || !strings.Contains(f.Got, tt.got) {
			t.Errorf("%s: %+v, want %v with %q", tt.name, f, tt.want, tt.got)
		}
	}
	if f := verifyEdge(t, "edge/key-exchange", "https://"+porttest.Address(t), nil, sitePolicy()); f.Verdict != check.Unknown {
		t.Errorf("down: %+v, want unknown", f)
	}
}
