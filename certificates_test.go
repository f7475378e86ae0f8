package ringwall_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall"
	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/policy"
)

// authority stands for edge/acme.
type authority struct {
	cert    *tls.Certificate
	run     chan [2]string // the addresses that Run was told
	stopped chan struct{}
}

func (a *authority) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if a.cert == nil {
		return nil, errors.New("none yet")
	}
	return a.cert, nil
}

func (a *authority) Challenge(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/.well-known/acme-challenge/x" {
			next.ServeHTTP(w, r)
		}
	})
}

func (a *authority) Run(ctx context.Context, https, redirect string) {
	a.run <- [2]string{https, redirect}
	<-ctx.Done()
	close(a.stopped)
}

func acmePolicy(t *testing.T, site, email string) *policy.Policy {
	t.Helper()
	p := policy.Default()
	p.Site, p.Edge.Listen, p.Edge.Redirect = site, "127.0.0.1:0", "127.0.0.1:0"
	p.Edge.TLS.ACME = policy.ACME{Email: email, Directory: "https://127.0.0.1:1/dir"}
	p.App.Routes = []policy.Route{{Path: "/", Allow: []string{"anyone"}}}
	return p
}

func TestCertificateOfAnAuthority(t *testing.T) {
	s := newSite(t)
	s.certify(t, "api.example.com")
	pair, err := tls.LoadX509KeyPair(s.dir+"/site.pem", s.dir+"/site.key")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, sni, err string
		cert           *tls.Certificate
	}{
		{"there", "api.example.com", "", &pair},
		{"not yet", "api.example.com", "internal error", nil},
		{"for another name", "www.example.com", "unrecognized name", &pair},
		{"for no name", "", "unrecognized name", &pair},
		{"not yet, for another name", "www.example.com", "unrecognized name", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := &authority{tt.cert, make(chan [2]string, 1), make(chan struct{})}
			deps, _ := quiet()
			deps.Certificates = a
			r := start(t, s, acmePolicy(t, "api.example.com", "ops@example.com"), hello, deps)
			at := r.Addresses()
			if got := <-a.run; got != [2]string{at.HTTPS, at.Redirect} {
				t.Errorf("Run was told %v, and listened on is %+v", got, at)
			}
			c, err := tls.Dial("tcp", at.HTTPS, &tls.Config{RootCAs: s.roots, ServerName: tt.sni, InsecureSkipVerify: tt.sni == ""})
			if err == nil {
				c.Close()
			}
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("handshake: %v, want %q", err, tt.err)
			}
			for path, want := range map[string]int{"/.well-known/acme-challenge/x": 200, "/": 308} {
				if res := r.get(t, "http://"+at.Redirect+path); res.StatusCode != want {
					t.Errorf("%s over plain HTTP: %s, want %d", path, res.Status, want)
				}
			}
			r.stop()
			if err := <-r.done; err != nil {
				t.Error(err)
			}
			select {
			case <-a.stopped:
			default:
				t.Error("Run of the server ended before that of the certificates")
			}
		})
	}
}

func TestReloadCannotChangeTheAuthority(t *testing.T) {
	deps, _ := quiet()
	if _, err := ringwall.New(acmePolicy(t, "api.example.com", "ops@example.com"), hello, deps); err == nil || !strings.Contains(err.Error(), "edge/acme") {
		t.Errorf("without Certificates: %v", err)
	}
	deps.Certificates = &authority{}
	srv, err := ringwall.New(acmePolicy(t, "api.example.com", "ops@example.com"), hello, deps)
	if err != nil {
		t.Fatal(err)
	}
	for want, p := range map[string]*policy.Policy{
		"edge.tls.acme": acmePolicy(t, "api.example.com", "other@example.com"),
		"site":          acmePolicy(t, "www.example.com", "ops@example.com"),
		"":              acmePolicy(t, "api.example.com", "ops@example.com"),
	} {
		if err := srv.Reload(p); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want+": a reload cannot change") {
			t.Errorf("reload of another %q: %v", want, err)
		}
	}
}

// TestTrapReloadWithoutCertificate: handshakes would fail from then on.
func TestTrapReloadWithoutCertificate(t *testing.T) {
	s := newSite(t)
	deps, _ := quiet()
	r := start(t, s, s.policy(t, rules), hello, deps)
	err := r.Reload(s.policy(t, strings.Replace(rules, ", tls: {cert: site.pem, key: site.key}", "", 1)))
	if err == nil || !strings.Contains(err.Error(), "there is no certificate") {
		t.Errorf("Reload: %v", err)
	}
	r.get(t, "https://"+r.Addresses().HTTPS+"/public/x")
}

// TestCertificateFilesAreFollowed: nobody asks for a reload. Its 3 seconds are
// the ones of edge.RefreshCertificate.
func TestCertificateFilesAreFollowed(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes some seconds")
	}
	t.Parallel()
	s := newSite(t)
	deps, events := quiet()
	r := start(t, s, s.policy(t, rules), hello, deps)
	old := r.get(t, "https://"+r.Addresses().HTTPS+"/public/x").TLS.PeerCertificates[0]
	s.certify(t, "localhost")
	for end := time.Now().Add(20 * time.Second); ; {
		r.client.CloseIdleConnections()
		if leaf := r.get(t, "https://"+r.Addresses().HTTPS+"/public/x").TLS.PeerCertificates[0]; !leaf.Equal(old) {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the new certificate is not served")
		}
		time.Sleep(50 * time.Millisecond)
	}
	if k := events.kinds(); slices.Contains(k, audit.CertificateKept) || !slices.Contains(k, audit.CertificateLoaded) {
		t.Errorf("events %v", k)
	}
}
