package e2e

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringwall/ringwall/internal/porttest"
)

// TestTestssl lets testssl.sh, which has its own TLS client, judge the server:
// protocols (-p), cipher categories (-s), forward secrecy (-f), the server's
// preference (-P), defaults and certificate (-S), headers (-h) and every
// vulnerability that it knows (-U). It leaves out what says nothing here:
// single ciphers one by one, and the simulation of old browsers.
func TestTestssl(t *testing.T) {
	testssl := tool(t, "testssl", "testssl.sh")
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		// Too short to be compressed. testssl.sh takes all gzip for BREACH; what
		// app/compression does against it, it cannot see.
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"hello":"world"}`)
	}))
	defer upstream.Close()
	dir := t.TempDir()
	siteCertificate(t, dir, "api.example.com")
	port := strconv.Itoa(porttest.Port(t))
	policy := fmt.Sprintf("site: api.example.com\nupstream: %s\nedge: {listen: \"127.0.0.1:%s\", redirect: \"127.0.0.1:%s\", tls: {cert: site.pem, key: site.key}}\napp: {routes: [{path: /, allow: [anyone]}]}\n",
		upstream.URL, port, strconv.Itoa(porttest.Port(t)))
	if err := os.WriteFile(filepath.Join(dir, "ringwall.yaml"), []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	serveSite(t, dir)

	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute) // about 45 s on two idle cores
	defer cancel()
	report := filepath.Join(dir, "report.json")
	// --nodns and --ip keep it on loopback.
	cmd := exec.CommandContext(ctx, testssl, "--quiet", "--color", "0", "--warnings", "off", "--nodns", "none", "--ip", "127.0.0.1",
		"--add-ca", filepath.Join(dir, "ca.pem"), "-p", "-s", "-f", "-P", "-S", "-h", "-U", "--jsonfile", report, "https://api.example.com:"+port)
	out, err := cmd.CombinedOutput() // the exit code counts findings of every severity
	b, readErr := os.ReadFile(report)
	var findings []struct{ ID, Severity, Finding string }
	if readErr != nil || json.Unmarshal(b, &findings) != nil {
		t.Fatalf("no report: %v, %v\n%s", err, readErr, out)
	}
	seen := map[string]string{}
	for _, f := range findings {
		seen[f.ID] = f.Finding
		switch f.Severity {
		case "OK", "INFO", "LOW":
		case "WARN":
			// GOST is no cipher of ours; the renegotiation that TLS 1.2 may have
			// is refused, which its client takes for a broken handshake.
			if f.ID != "engine_problem" && f.ID != "secure_renego" {
				t.Errorf("%s was not seen: %s", f.ID, f.Finding)
			}
		default:
			t.Errorf("%s %s: %s", f.Severity, f.ID, f.Finding)
		}
	}
	// What must have been looked at, and what was seen.
	for id, want := range map[string]string{
		"SSLv3": "not offered", "TLS1": "not offered", "TLS1_1": "not offered", "TLS1_2": "offered", "TLS1_3": "offered",
		"ALPN_HTTP2": "h2", "cipherlist_NULL": "not offered", "cipherlist_LOW": "not offered", "cipherlist_3DES_IDEA": "not offered",
		"cipherlist_AVERAGE": "not offered", "cipherlist_STRONG": "offered", "PFS": "offered", "protocol_negotiated": "TLS1.3",
		"cert_trust": "SNI mandatory", "cert_chain_of_trust": "passed", "HSTS_time": "365 days", "heartbleed": "not vulnerable",
		"ROBOT": "not vulnerable", "BREACH": "not vulnerable", "SWEET32": "not vulnerable", "LUCKY13": "not vulnerable", "DROWN": "not vulnerable", "RC4": "not vulnerable",
	} {
		if !strings.Contains(seen[id], want) {
			t.Errorf("%s: %q, want %q", id, seen[id], want)
		}
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
}

// serveSite runs `serve` in a folder with a policy until the test ends. through is
// a command that runs it, if any.
func serveSite(t *testing.T, dir string, through ...string) {
	t.Helper()
	args := append(through, binary, "serve")
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "RINGWALL_STATE="+filepath.Join(dir, "state"))
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || !strings.HasPrefix(line, "ready:") {
		b, _ := os.ReadFile(log.Name())
		t.Fatalf("serve: %q, %v\n%s", line, err, b)
	}
}

// siteCertificate writes site.pem and site.key for a name, and ca.pem, which
// issued it.
func siteCertificate(t *testing.T, dir, name string) {
	t.Helper()
	write := func(file, kind string, der []byte) {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	issue := func(template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*ecdsa.PrivateKey, []byte) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if signer == nil {
			signer = key
		}
		template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
		if err != nil {
			t.Fatal(err)
		}
		template.NotBefore = time.Now().Add(-time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
		if err != nil {
			t.Fatal(err)
		}
		return key, der
	}
	ca := &x509.Certificate{Subject: pkix.Name{CommonName: "test authority"}, NotAfter: time.Now().AddDate(1, 0, 0), IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	caKey, caDER := issue(ca, ca, nil)
	leaf := &x509.Certificate{Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotAfter: time.Now().AddDate(0, 0, 90),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		CRLDistributionPoints: []string{"http://ca.example.com/revoked.crl"}} // nobody fetches it
	key, leafDER := issue(leaf, ca, caKey)
	pk, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write("ca.pem", "CERTIFICATE", caDER)
	write("site.pem", "CERTIFICATE", leafDER)
	write("site.key", "PRIVATE KEY", pk)
}
