package edge_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/edge"
)

// writePair makes a self-signed certificate for the names in dir.
func writePair(t *testing.T, dir string, from, until time.Time, names ...string) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "test"},
		NotBefore: from, NotAfter: until, DNSNames: names,
	}, &x509.Certificate{Subject: pkix.Name{CommonName: "test"}}, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	pk, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "site.pem"), filepath.Join(dir, "site.key")
	writeFile(t, cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
	writeFile(t, key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pk}), 0o600)
	return cert, key
}

func writeFile(t *testing.T, path string, b []byte, perm os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, b, perm); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, perm); err != nil {
		t.Fatal(err)
	}
}

func TestTrapCertificateThatDoesNotLoad(t *testing.T) {
	now := time.Now()
	for _, tt := range []struct {
		name, err string
		names     []string
		spoil     func(t *testing.T, cert, key string)
		from, to  time.Duration
	}{
		{name: "good", names: []string{"api.example.com", "other.example"}},
		{name: "wildcard", names: []string{"*.example.com"}},
		{name: "expired", err: "renew it", names: []string{"api.example.com"}, to: -time.Minute},
		{name: "not yet", err: "timedatectl", names: []string{"api.example.com"}, from: time.Minute},
		{name: "another name", err: "but for www.example.com", names: []string{"www.example.com"}},
		{name: "no name", err: "no name at all"},
		{name: "no certificate", err: "site.pem", names: []string{"api.example.com"}, spoil: func(t *testing.T, cert, _ string) { os.Remove(cert) }},
		{name: "no key", err: "site.key", names: []string{"api.example.com"}, spoil: func(t *testing.T, _, key string) { os.Remove(key) }},
		{name: "half a certificate", err: "site.pem", names: []string{"api.example.com"}, spoil: func(t *testing.T, cert, _ string) {
			b, _ := os.ReadFile(cert)
			writeFile(t, cert, b[:len(b)/2], 0o644)
		}},
		{name: "empty key", err: "site.key", names: []string{"api.example.com"}, spoil: func(t *testing.T, _, key string) { writeFile(t, key, nil, 0o600) }},
		{name: "key of another", err: "does not match", names: []string{"api.example.com"}, spoil: func(t *testing.T, _, key string) {
			_, other := writePair(t, t.TempDir(), now, now, "x")
			b, _ := os.ReadFile(other)
			writeFile(t, key, b, 0o600)
		}},
		{name: "key that the group reads", err: "chmod 600", names: []string{"api.example.com"}, spoil: func(t *testing.T, _, key string) { os.Chmod(key, 0o640) }},
		{name: "key that the world reads", err: "chmod 600", names: []string{"api.example.com"}, spoil: func(t *testing.T, _, key string) { os.Chmod(key, 0o604) }},
		{name: "credential that the group reads", names: []string{"api.example.com"}, spoil: func(t *testing.T, _, key string) {
			t.Setenv("CREDENTIALS_DIRECTORY", filepath.Dir(key))
			os.Chmod(key, 0o440)
		}},
		{name: "credential that the world reads", err: "chmod 600", names: []string{"api.example.com"}, spoil: func(t *testing.T, _, key string) {
			t.Setenv("CREDENTIALS_DIRECTORY", filepath.Dir(key))
			os.Chmod(key, 0o444)
		}},
		{name: "key is a folder", err: "site.key", names: []string{"api.example.com"}, spoil: func(t *testing.T, _, key string) { os.Remove(key); os.Mkdir(key, 0o700) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.from == 0 {
				tt.from = -time.Hour
			}
			if tt.to == 0 {
				tt.to = time.Hour
			}
			cert, key := writePair(t, t.TempDir(), now.Add(tt.from), now.Add(tt.to), tt.names...)
			if tt.spoil != nil {
				tt.spoil(t, cert, key)
			}
			c, err := edge.LoadCertificate(cert, key, "api.example.com", now)
			if tt.err == "" {
				if err != nil || c == nil {
					t.Fatalf("a good certificate: %v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("error %v, want one with %q", err, tt.err)
			}
		})
	}
	if _, err := edge.LoadCertificate("", "", "x", now); err == nil {
		t.Error("no certificate at all is taken")
	}
}

// serveTLS runs the edge's own server with the edge's own TLS.
func serveTLS(t *testing.T, h http.Handler) string {
	t.Helper()
	now := time.Now()
	cert, key := writePair(t, t.TempDir(), now.Add(-time.Hour), now.Add(time.Hour), "localhost")
	pair, err := edge.LoadCertificate(cert, key, "localhost", now)
	if err != nil {
		t.Fatal(err)
	}
	ls, err := edge.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := edge.NewServer(h, slog.New(slog.DiscardHandler))
	srv.TLSConfig = edge.TLSConfig(func(name string) bool { return edge.ServedName("localhost", name) },
		func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair, nil }, false)
	go func() { _ = srv.ServeTLS(ls[0], "", "") }()
	t.Cleanup(func() { srv.Close() })
	return ls[0].Addr().String()
}

func TestTLSIsForwardSecret(t *testing.T) {
	addr := serveTLS(t, http.NotFoundHandler())
	for _, tt := range []struct {
		name string
		cfg  *tls.Config
		want bool
	}{
		{"modern", &tls.Config{}, true},
		{"1.2 with GCM", &tls.Config{MaxVersion: tls.VersionTLS12}, true},
		{"1.1", &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, false},
		{"1.0", &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}, false},
		{"1.2 with CBC", &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}}, false},
		{"1.2 with static RSA", &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.InsecureSkipVerify = true
			tt.cfg.NextProtos = []string{"h2", "http/1.1"}
			c, err := tls.Dial("tcp", addr, tt.cfg)
			if (err == nil) != tt.want {
				t.Fatalf("handshake: %v, want success %v", err, tt.want)
			}
			if err != nil {
				return
			}
			defer c.Close()
			state := c.ConnectionState()
			if state.NegotiatedProtocol != "h2" {
				t.Errorf("protocol %q, want h2", state.NegotiatedProtocol)
			}
			if tt.name == "modern" && (state.Version != tls.VersionTLS13 || state.CurveID != tls.X25519MLKEM768) {
				t.Errorf("version %x, curve %v; want 1.3 and X25519MLKEM768", state.Version, state.CurveID)
			}
		})
	}
}
