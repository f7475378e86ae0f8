package guide_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/outside"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/internal/porttest"
	"github.com/ringwall/ringwall/internal/reporttest"
)

var update = flag.Bool("update", false, "write the reports in docs/")

// left is what the guide leaves open, as far as it shows from outside, by the
// check that must find it. Everything else it does right, and must not be blamed
// for.
var left = map[string]string{
	"outside/cors":           "an origin that is not on the list is answered 500",
	"outside/client-address": "without trust proxy every client behind nginx shares one count",
	"outside/redirect":       "port 80 serves the API",
	"outside/scanners":       "three exact strings: /.ENV reaches the API",
	"outside/hsts":           "nginx's own answers have none",
	"outside/tls":            "CBC and static RSA suites remain",
	"outside/disclosure":     "nginx names its version",
	"outside/host":           "nginx's only server is its default one: any host gets the API",

	// add_header without always: nginx's own errors have no headers at all.
	"outside/nosniff":            "not on errors",
	"outside/frames":             "not on errors",
	"outside/referrer-policy":    "not on errors",
	"outside/permissions-policy": "not on errors",

	// Express's own error page has the stack in it, unless NODE_ENV is set.
	"outside/errors": "a path that is no UTF-8 is answered with a stack trace",
}

// unseen are checks that this server gives no occasion for.
var unseen = map[string]string{
	"outside/cross-site": "it sets no cookie",
	"outside/cookies":    "it sets no cookie",
}

func TestGuide(t *testing.T) {
	dir := install(t, ".")
	api := serve(t, dir, "JWT_SECRET="+rand.Text())
	site, plain, roots := front(t, api)
	report := look(t, site, plain, roots)
	seen := map[string]bool{}
	for _, r := range report.Results {
		seen[r.ID] = true
		switch why := left[r.ID]; {
		case why != "" && r.Verdict != check.Fail:
			t.Errorf("%s does not find that %s: %v, %s", r.ID, why, r.Verdict, r.Got)
		case unseen[r.ID] != "":
			if r.Verdict == check.Fail {
				t.Errorf("%s fails: %s", r.ID, r.Got)
			}
		case why == "" && r.Verdict != check.Pass:
			t.Errorf("%s blames what is right: %v, %s", r.ID, r.Verdict, r.Got)
		}
		t.Logf("%-7v %-28s %s", r.Verdict, r.ID, r.Got)
	}
	for id := range left {
		if !seen[id] {
			t.Errorf("%s was not looked at", id)
		}
	}
	keep(t, "guide", report)
}

// TestUnprotected looks at the example API without anything before it.
func TestUnprotected(t *testing.T) {
	dir := install(t, "../../examples/express")
	api := serve(t, dir)
	report := look(t, "http://localhost:"+api, "", nil)
	found := map[string]bool{}
	for _, r := range report.Results {
		found[r.ID] = r.Verdict == check.Fail
		t.Logf("%-7v %-28s %s", r.Verdict, r.ID, r.Got)
	}
	for _, id := range []string{"outside/redirect", "outside/disclosure", "outside/nosniff", "outside/frames", "outside/referrer-policy", "outside/permissions-policy",
		"outside/host", "outside/errors", "outside/body", "outside/app-rate", "outside/burst", "outside/scanners"} {
		if !found[id] {
			t.Errorf("%s finds nothing on an API without any protection", id)
		}
	}
	keep(t, "unprotected", report)
}

// look makes every check that is made of an unknown server of one's own.
func look(t *testing.T, site, plain string, roots *x509.CertPool, only ...string) check.Report {
	t.Helper()
	c, err := probe.New(site, probe.Options{TLS: &tls.Config{RootCAs: roots}, Pace: probe.Pace{Burst: 10, Every: 110 * time.Millisecond}, MaxRequests: 400})
	if err != nil {
		t.Fatal(err)
	}
	target := outside.NewTarget(c)
	target.PlainPort = plain
	var checks []check.Check
	for _, o := range outside.Checks() {
		if o.Manner == outside.Intrusive || o.Afar || len(only) > 0 && !slices.Contains(only, o.ID) {
			continue
		}
		checks = append(checks, check.Check{Meta: o.Meta, Verify: func(ctx context.Context) check.Finding {
			own, _ := c.Fresh()
			log := new(probe.Log)
			f := o.Verify(probe.WithLog(ctx, log), target.Through(own))
			if f.Evidence == nil {
				for _, e := range log.Exchanges() {
					f.Evidence = append(f.Evidence, check.Exchange(e))
				}
			}
			return f
		}})
	}
	r := check.Run(t.Context(), checks, check.Options{})
	r.Requests = int(c.Sent())
	if c.Sent() >= 400 {
		t.Errorf("%d connections", c.Sent())
	}
	return r
}

// keep compares with the report in docs, which is there for readers; -update writes
// it anew.
func keep(t *testing.T, name string, r check.Report) {
	t.Helper()
	file := "../../docs/check-" + name + ".txt"
	if !*update {
		reporttest.Same(t, file, r)
		return
	}
	r.Target = map[string]string{"guide": "the guide's server", "unprotected": "examples/express, with nothing before it"}[name]
	var b strings.Builder
	if err := r.WriteText(&b, check.Text{}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// install copies an API and what it needs.
func install(t *testing.T, from string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("it installs npm packages")
	}
	tool(t, "node")
	npm := tool(t, "npm")
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "api"), os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(dir, "api")
	if err := os.RemoveAll(filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("npm ci: %v\n%s", err, out)
		}
		t.Skipf("npm ci does not work here: %v\n%s", err, out)
	}
	return dir
}

func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("%v: see test/packages.sh", err)
	}
	return path
}

// serve starts the API as its author would at home, and returns its port.
func serve(t *testing.T, dir string, env ...string) string {
	t.Helper()
	cmd := exec.Command("node", "server.js")
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "PORT=0", "NODE_ENV="), env...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if _, address, ok := strings.Cut(lines.Text(), "on http://"); ok {
			_, port, err := net.SplitHostPort(address)
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				for lines.Scan() {
				}
			}()
			return port
		}
	}
	t.Fatal("the API ended before it listened")
	return ""
}

// front starts nginx with the guide's block.
func front(t *testing.T, api string) (site, plain string, roots *x509.CertPool) {
	t.Helper()
	nginx := tool(t, "nginx")
	dir := t.TempDir()
	roots = certificate(t, dir)
	conf, err := os.ReadFile("nginx.conf")
	if err != nil {
		t.Fatal(err)
	}
	plain, tlsPort := strconv.Itoa(porttest.Port(t)), strconv.Itoa(porttest.Port(t))
	file := filepath.Join(dir, "nginx.conf")
	text := strings.NewReplacer("DIR/", dir+"/", "HTTPS ssl", tlsPort+" ssl", ":HTTP;", ":"+plain+";", ":API;", ":"+api+";").Replace(string(conf))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(nginx, "-e", filepath.Join(dir, "error.log"), "-p", dir, "-c", file, "-g", "daemon off;")
	if os.Geteuid() == 0 {
		cmd.Args[len(cmd.Args)-1] += " user root;"
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Signal(os.Interrupt); _ = cmd.Wait() })
	deadline := time.Now().Add(time.Minute)
	for {
		conn, err := net.Dial("tcp", "127.0.0.1:"+tlsPort)
		if err == nil {
			conn.Close()
			return "https://localhost:" + tlsPort, plain, roots
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(filepath.Join(dir, "error.log"))
			t.Fatalf("nginx does not listen: %v\n%s", err, log)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// certificate makes one that its own authority signed, for RSA: most servers have
// that, and static RSA suites need it.
func certificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "guide CA"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	rootDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &signer.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	key := rsaKey(t)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 3, 0),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	authority = rootDER
	root, err := x509.ParseCertificate(rootDER)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	return pool
}

// authority is the last one that certificate made, for clients of other kinds.
var authority []byte

func rsaKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
