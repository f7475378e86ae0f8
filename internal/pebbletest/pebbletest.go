// Package pebbletest runs Pebble, the authority that Let's Encrypt tests clients
// with, for tests: real orders, validations and certificates, on loopback.
package pebbletest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/ringwall/ringwall/internal/porttest"
)

// folder is of this process alone.
var folder = filepath.Join(os.TempDir(), fmt.Sprintf("ringwall-pebble-%d", os.Getpid()))

// Binary builds Pebble, once for a process, at the version that tools/pebble pins.
// Remove is to be called at its end.
var Binary = sync.OnceValues(func() (string, error) {
	root, err := os.Getwd() // that of the package under test
	if err != nil {
		return "", err
	}
	for ; ; root = filepath.Dir(root) {
		if _, err := os.Stat(filepath.Join(root, "tools", "pebble")); err == nil {
			break
		}
		if root == filepath.Dir(root) {
			return "", errors.New("tools/pebble is not above this test")
		}
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", err
	}
	pebble := filepath.Join(folder, "pebble")
	build := exec.Command("go", "build", "-o", pebble, "github.com/letsencrypt/pebble/v2/cmd/pebble")
	build.Dir = filepath.Join(root, "tools", "pebble")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // it runs on any machine
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build Pebble: %w\n%s", err, out)
	}
	return pebble, nil
})

// Remove removes what Binary built, if it did.
func Remove() { _ = os.RemoveAll(folder) }

// An Authority is a Pebble on loopback, for which every name is 127.0.0.1.
type Authority struct {
	Directory string
	Trust     string         // PEM file of the CA of the authority's own address
	Roots     *x509.CertPool // of the certificates that it issues
	Stop      func()
}

// Start starts one that validates at the two ports and issues for a time. It
// stops with the test.
func Start(t testing.TB, httpPort, tlsPort int, validity time.Duration) *Authority {
	t.Helper()
	if testing.Short() {
		t.Skip("an authority is built and started")
	}
	pebble, err := Binary()
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	dir := t.TempDir()
	listen, manage := porttest.Address(t), porttest.Address(t)
	cert := Configure(t, dir, dir, listen, manage, httpPort, tlsPort, validity)
	file := filepath.Join(dir, Config)
	cmd := exec.Command(pebble, "-config", file, "-dnsserver", nameServer(t))
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_AUTHZREUSE=0")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("Pebble said:\n%s", out.String())
		}
	})
	t.Cleanup(stop)
	a := &Authority{Directory: "https://" + listen + "/dir", Trust: cert, Stop: stop}
	pool := x509.NewCertPool()
	pemBytes, err := os.ReadFile(cert)
	if err != nil || !pool.AppendCertsFromPEM(pemBytes) {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}, Timeout: 5 * time.Second}
	get := func(url string) []byte {
		for deadline := time.Now().Add(time.Minute); ; {
			res, err := client.Get(url)
			if err == nil {
				defer res.Body.Close()
				b, _ := io.ReadAll(res.Body)
				return b
			}
			if time.Now().After(deadline) {
				t.Fatalf("%v\n%s", err, out.String())
			}
			time.Sleep(10 * time.Millisecond) // a process says nothing when it listens
		}
	}
	get(a.Directory)
	a.Roots = x509.NewCertPool()
	if !a.Roots.AppendCertsFromPEM(get("https://" + manage + "/roots/0")) {
		t.Fatal("Pebble has no root")
	}
	return a
}

// Config is the name of the file of Configure that Pebble is started with.
const Config = "pebble.json"

// Configure writes what Pebble is started with to a folder, which Pebble will see
// as home, and returns the PEM file there of the CA of its own address.
func Configure(t testing.TB, dir, home, listen, manage string, httpPort, tlsPort int, validity time.Duration) (trust string) {
	t.Helper()
	OwnCertificate(t, dir)
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": listen, "managementListenAddress": manage,
		"certificate": filepath.Join(home, "ca.pem"), "privateKey": filepath.Join(home, "ca.key"),
		"httpPort": httpPort, "tlsPort": tlsPort, "keyAlgorithm": "ecdsa",
		"retryAfter": map[string]int{"authz": 1, "order": 1},
		"profiles":   map[string]any{"default": map[string]any{"description": "all", "validityPeriod": int(validity.Seconds())}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, Config), config)
	return filepath.Join(home, "ca.pem")
}

// nameServer answers every question with 127.0.0.1, over TCP as Pebble asks, and
// says where it is asked.
func nameServer(t testing.TB) string {
	t.Helper()
	return porttest.Serve(t, func(conn net.Conn) {
		for answerName(conn) == nil {
		}
	})
}

// answerName reads a question and answers it (RFC 1035, section 4.2.2).
func answerName(conn net.Conn) error {
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return err
	}
	b := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, b); err != nil {
		return err
	}
	var m dnsmessage.Message
	if err := m.Unpack(b); err != nil {
		return err
	}
	m.Response, m.Additionals = true, nil
	for _, q := range m.Questions {
		if q.Type == dnsmessage.TypeA {
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1},
				Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
			})
		}
	}
	answer, err := m.Pack()
	if err != nil {
		return err
	}
	_, err = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
	return err
}

// OwnCertificate writes the one of the authority's address, its own CA, and its key.
func OwnCertificate(t testing.TB, dir string) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "the authority's own"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	pk, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "ca.pem"), filepath.Join(dir, "ca.key")
	writeFile(t, cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	writeFile(t, key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pk}))
	return cert, key
}

func writeFile(t testing.TB, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
