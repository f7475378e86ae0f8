package e2e

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringwall/ringwall/examples/notes/api"
	"github.com/ringwall/ringwall/internal/porttest"
)

// TestLibrary builds the example that imports the module, and serves a site
// with it as on a server: its own certificate and key, no --dev.
func TestLibrary(t *testing.T) {
	const site = "notes.example.com"
	dir := t.TempDir()
	program := filepath.Join(dir, "notes")
	if out, err := exec.Command("go", "build", "-o", program, "../../examples/notes").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	address := "127.0.0.1:" + strconv.Itoa(porttest.Port(t))
	roots := certificate(t, dir, site)
	policy := strings.NewReplacer(
		"site: localhost\n", "site: "+site+"\nedge:\n  listen: "+address+"\n  redirect: 127.0.0.1:"+strconv.Itoa(porttest.Port(t))+"\n  tls: {cert: site.pem, key: site.key}\n",
		"upstream: http://127.0.0.1:8000\n", "",
	).Replace(string(api.Policy))
	for name, content := range map[string]string{
		"ringwall.yaml": policy, "openapi.yaml": string(api.Schema),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(program)
	cmd.Dir = dir
	log := newOutput("")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exited) }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-exited })

	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: site}}, Timeout: patience}
	call := func(who, method, path, body string) answer {
		req, err := http.NewRequest(method, "https://"+address+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Host = site
		req.Header.Set("Content-Type", "application/json")
		if who != "" {
			req.Header.Set("Authorization", "Bearer "+who)
		}
		// Nothing tells when a program of somebody else's listens: ask until it does.
		for deadline := time.Now().Add(patience); ; {
			res, err := client.Do(req)
			if err == nil {
				defer res.Body.Close()
				b, err := io.ReadAll(res.Body)
				if err != nil {
					t.Fatal(err)
				}
				return answer{res.StatusCode, res.Header, b}
			}
			select {
			case <-exited:
				t.Fatalf("notes ended: %v\n%s", cmd.ProcessState, log)
			default:
			}
			if time.Now().After(deadline) {
				t.Fatalf("%v\n%s", err, log)
			}
		}
	}
	if a := call("", "GET", "/api/public/status", ""); a.Status != 200 {
		t.Fatalf("status: %d %s\n%s", a.Status, a.Body, log)
	}
	signIn := func(name string) string {
		t.Helper()
		body := fmt.Sprintf(`{"name":"%s","email":"%s@example.com","password":"%s"}`, name, name, rand.Text())
		if a := call("", "POST", "/api/auth/register", body); a.Status != 201 {
			t.Fatalf("register %s: %d %s", name, a.Status, a.Body)
		}
		a := call("", "POST", "/api/auth/login", `{`+body[strings.Index(body, `"email"`):])
		var got struct {
			Token string `json:"access_token"`
		}
		if err := json.Unmarshal(a.Body, &got); err != nil || a.Status != 200 || got.Token == "" {
			t.Fatalf("sign in %s: %d %s", name, a.Status, a.Body)
		}
		return got.Token
	}
	alice, bob := signIn("alice"), signIn("bob")
	a := call(alice, "POST", "/api/notes", `{"title":"Milk","text":"two litres"}`)
	one := a.Header.Get("Location")
	if a.Status != 201 || one == "" {
		t.Fatalf("create: %d %s\n%s", a.Status, a.Body, log)
	}
	for _, tt := range []struct {
		who, method, path, body string
		want                    int
	}{
		{alice, "GET", one, "", 200}, {bob, "GET", one, "", 404}, {bob, "DELETE", one, "", 404}, {"", "GET", one, "", 401},
		{alice, "GET", "/api/me", "", 200}, {alice, "GET", "/api/admin/users", "", 403}, {alice, "GET", "/api/admin/notes", "", 403},
		{alice, "POST", "/api/notes", `{"title":"a","text":"b","owner":"bob"}`, 400}, {alice, "GET", "/api/notes?limit=0", "", 400},
		{alice + "x", "GET", one, "", 401},
	} {
		if a := call(tt.who, tt.method, tt.path, tt.body); a.Status != tt.want {
			t.Errorf("%s %s: %d %s, want %d", tt.method, tt.path, a.Status, a.Body, tt.want)
		} else if tt.want >= 400 {
			problem(t, fmt.Sprint(tt.method, " ", tt.path), a, tt.want)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-exited:
	case <-time.After(patience):
		t.Fatal("it does not end")
	}
	if !cmd.ProcessState.Success() {
		t.Errorf("notes ended with %v\n%s", cmd.ProcessState, log)
	}
}

// certificate writes site.pem and site.key, and returns what trusts them.
func certificate(t *testing.T, dir, site string) *x509.CertPool {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: site}, DNSNames: []string{site},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"site.pem": {Type: "CERTIFICATE", Bytes: der}, "site.key": {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return pool
}
