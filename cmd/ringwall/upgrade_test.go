package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"github.com/ringwall/ringwall/internal/quicktest"
)

// upgradeSite is a served policy that bounds nobody, in a folder of its own.
type upgradeSite struct {
	dir, env string
	log      *os.File
	cmd      *exec.Cmd
	url      string
}

const upgradeName = "api.example.com"

const upgradePolicy = `site: api.example.com
upstream: %s
edge:
  listen: localhost:0
  redirect: localhost:0
  tls: {cert: site.pem, key: site.key}
  rate: {requests: 1000000, per: 1s}
  connections: 1000
app:
  limits:
    global: {requests: 1000000, per: 1s}
  content_types: [text/plain]
  routes:
    - path: /
      allow: [anyone]
`

func newUpgradeSite(t *testing.T) *upgradeSite {
	t.Helper()
	s := &upgradeSite{dir: t.TempDir()}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{upgradeName},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, "site.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})))
	s.write(t, "site.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s", r.Method, b)
	}))
	t.Cleanup(api.Close)
	s.write(t, policyFile, fmt.Sprintf(upgradePolicy, api.URL))
	if s.log, err = os.Create(filepath.Join(s.dir, "log")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.log.Close() })
	s.env = "RINGWALL_STATE=" + filepath.Join(s.dir, "state")
	return s
}

func (s *upgradeSite) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s *upgradeSite) command(args ...string) *exec.Cmd {
	cmd := exec.Command("ringwall", args...)
	cmd.Dir, cmd.Stderr = s.dir, s.log
	cmd.Env = append(os.Environ(), s.env, "NO_COLOR=1")
	return cmd
}

// start runs the server until it is ready.
func (s *upgradeSite) start(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	s.cmd = cmd
	t.Cleanup(func() {
		_ = syscall.Kill(s.pid(), syscall.SIGKILL)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		r.Close()
		if t.Failed() {
			t.Log(s.logged())
		}
	})
	line := make([]byte, 4096)
	n, _ := r.Read(line)
	m := regexp.MustCompile(`^ready: .* on (?:\S*:(\d+)|/\S+)`).FindSubmatch(line[:n])
	if m == nil {
		t.Fatalf("the server said %q: %s", line[:n], s.logged())
	}
	go func() { _, _ = io.Copy(io.Discard, r) }()
	if s.url == "" { // else clients connect elsewhere
		s.url = "https://localhost:" + string(m[1])
	}
}

func (s *upgradeSite) logged() string {
	b, _ := os.ReadFile(s.log.Name())
	return string(b)
}

// pid is of the server that holds the state directory.
func (s *upgradeSite) pid() int {
	b, _ := os.ReadFile(filepath.Join(s.dir, "state", "serve.lock"))
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || n < 2 {
		return -1 << 30 // nobody's
	}
	return n
}

func (s *upgradeSite) upgrade() (string, error) {
	cmd := s.command("upgrade")
	var b bytes.Buffer
	cmd.Stdout, cmd.Stderr = &b, &b
	err := cmd.Run()
	return b.String(), err
}

// load asks without a pause, in every way, until it is stopped. A request that
// fails is counted and never repeated by us; nor by the client, where its body
// cannot be had again.
func (s *upgradeSite) load(t *testing.T) (asked *atomic.Int64, stop func()) {
	t.Helper()
	asked = new(atomic.Int64)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	client := func(h2, keep bool) *http.Client {
		return &http.Client{Transport: &http.Transport{
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: upgradeName}, ForceAttemptHTTP2: h2, DisableKeepAlives: !keep}}
	}
	for _, kind := range []struct {
		name     string
		client   *http.Client
		n, proto int
		once     bool // the body cannot be sent again
	}{
		{"HTTP/1.1", client(false, true), 3, 1, true},
		{"HTTP/1.1, a connection each", client(false, false), 2, 1, true},
		// RFC 9113, 6.8: what a GOAWAY does not name was not looked at, and the
		// client sends it again.
		{"HTTP/2", client(true, true), 3, 2, false},
		{"HTTP/2, a connection each", client(true, false), 1, 2, false},
	} {
		for i := range kind.n {
			wg.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					text := fmt.Sprintf("%d %d", i, n)
					var body io.Reader = strings.NewReader(text)
					if kind.once {
						body = io.MultiReader(body)
					}
					req, err := http.NewRequest("POST", s.url+"/", body)
					if err != nil {
						t.Error(err)
						return
					}
					req.Host = upgradeName
					req.ContentLength = int64(len(text))
					req.Header.Set("Content-Type", "text/plain")
					res, err := kind.client.Do(req)
					if err != nil {
						t.Errorf("%s, request %d: %v", kind.name, n, err)
						return
					}
					b, err := io.ReadAll(res.Body)
					res.Body.Close()
					if err != nil || res.StatusCode != 200 || string(b) != "POST "+text || res.ProtoMajor != kind.proto {
						t.Errorf("%s, request %d: %s %s %.200q, %v", kind.name, n, res.Proto, res.Status, b, err)
						return
					}
					asked.Add(1)
				}
			})
		}
	}
	return asked, func() { cancel(); wg.Wait() }
}

// more waits for that many requests more.
func (s *upgradeSite) more(t *testing.T, asked *atomic.Int64, n int64) {
	t.Helper()
	end, deadline := asked.Load()+n, time.Now().Add(patience)
	for asked.Load() < end {
		if t.Failed() || time.Now().After(deadline) {
			t.Fatalf("%d requests of %d were answered", asked.Load(), end)
		}
		time.Sleep(time.Millisecond) // others count
	}
}

// awaitNotice reads what the service manager is told.
func awaitNotice(t *testing.T, manager *net.UnixConn, want string) {
	t.Helper()
	if err := manager.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	for b := make([]byte, 4096); ; {
		n, err := manager.Read(b)
		if err != nil {
			t.Fatalf("%s: %v", want, err)
		}
		if string(b[:n]) == want {
			return
		}
	}
}

func TestUpgradeLosesNothing(t *testing.T) {
	quicktest.Skip(t, "starts processes")
	s := newUpgradeSite(t)
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(s.dir, "manager"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	serve := s.command("serve")
	serve.Env = append(serve.Env, "NOTIFY_SOCKET="+filepath.Join(s.dir, "manager"))
	s.start(t, serve)
	first := s.pid()
	asked, stop := s.load(t)
	stopped := false
	defer func() {
		if !stopped {
			stop()
		}
	}()
	s.more(t, asked, 200)

	pid := first
	for range 2 {
		out, err := s.upgrade()
		if err != nil {
			t.Fatalf("upgrade: %v, %s", err, out)
		}
		if next := s.pid(); next == pid || !strings.Contains(out, fmt.Sprintf("pid %d serves now; pid %d ends", next, pid)) {
			t.Errorf("%d was followed by %d: %s", pid, next, out)
		}
		pid = s.pid()
		awaitNotice(t, manager, fmt.Sprintf("MAINPID=%d", pid))
		s.more(t, asked, 200)
	}
	// Each answer of the old one had its client connect anew, so that it ends.
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("the first server: %v", err)
	}

	good, err := os.ReadFile(filepath.Join(s.dir, policyFile))
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, policyFile, "sight: api.example.com\n")
	out, err := s.upgrade()
	if err == nil || !strings.Contains(out, "the old server goes on") || !strings.Contains(out, "sight") {
		t.Errorf("a policy that cannot be: %v, %s", err, out)
	}
	s.write(t, policyFile, string(good))
	if s.pid() != pid {
		t.Errorf("the lock names pid %d, want the old one's %d", s.pid(), pid)
	}
	s.more(t, asked, 200)
	stop()
	stopped = true

	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) { // it is nobody's child
		c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "https://"))
		if errors.Is(err, syscall.ECONNREFUSED) {
			break
		}
		if err == nil {
			c.Close()
		}
		if time.Now().After(deadline) {
			t.Fatal("the last server was told to end and listens")
		}
	}
}

// TestUpgradeSharesTheStore: both servers have the accounts open, and the chain of
// events is whole with two that write.
func TestUpgradeSharesTheStore(t *testing.T) {
	quicktest.Skip(t, "starts processes")
	s := newUpgradeSite(t)
	env := []string{"RINGWALL_IDENTITY_REGISTRATION=open", "RINGWALL_STORE=sqlite:ringwall.db", "RINGWALL_IDENTITY_KEYS=keys.json",
		"RINGWALL_IDENTITY_MAIL_SMTP=127.0.0.1:2525", "RINGWALL_IDENTITY_MAIL_FROM=api@" + upgradeName}
	serve := s.command("serve")
	serve.Env = append(serve.Env, env...)
	s.start(t, serve)
	for range 2 {
		if out, err := s.upgrade(); err != nil {
			t.Fatalf("upgrade: %v, %s", err, out)
		}
	}
	if err := serve.Wait(); err != nil {
		t.Errorf("the first server: %v", err)
	}
	verify := s.command("audit", "verify")
	verify.Env = append(verify.Env, env...)
	if out, err := verify.Output(); err != nil {
		t.Errorf("audit verify: %v, %s", err, out)
	}
}

// TestUpgradeHandsUDPOver: the exception that Yield states. HTTP/3 is there again
// with the new server, which alone reads the socket.
func TestUpgradeHandsUDPOver(t *testing.T) {
	quicktest.Skip(t, "starts processes")
	s := newUpgradeSite(t)
	at := freePorts(t, 1)[0]
	serve := s.command("serve")
	serve.Env = append(serve.Env, "RINGWALL_EDGE_HTTP3=true", "RINGWALL_EDGE_LISTEN="+at)
	s.start(t, serve)
	ask := func(within time.Duration) error {
		tr := &http3.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: upgradeName}}
		defer tr.Close()
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, "GET", "https://"+at+"/", nil)
		if err != nil {
			return err
		}
		req.Host = upgradeName
		res, err := tr.RoundTrip(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if b, err := io.ReadAll(res.Body); err != nil || res.StatusCode != 200 {
			return fmt.Errorf("%s %s, %v", res.Status, b, err)
		}
		return nil
	}
	if err := ask(patience); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		before := s.pid()
		if out, err := s.upgrade(); err != nil {
			t.Fatalf("upgrade: %v, %s", err, out)
		}
		if s.pid() == before {
			t.Error("the old server serves")
		}
		for deadline := time.Now().Add(patience); ; {
			err := ask(time.Second)
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal(err)
			}
		}
		var failed []error
		for range 20 { // were the packets shared, half of these would fail
			if err := ask(time.Second); err != nil {
				failed = append(failed, err)
			}
		}
		if len(failed) > 3 { // a busy machine is late now and then
			t.Fatalf("%d of 20 requests failed: %v", len(failed), failed)
		}
	}
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("the first server: %v", err)
	}
}
