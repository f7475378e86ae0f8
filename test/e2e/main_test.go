// Package e2e plays whole deployments on loopback: the freshly built binary,
// real clients, real upstreams.
package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ringwall/ringwall/internal/porttest"
)

var binary string // the freshly built ringwall

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(func() int {
		if testing.Short() {
			fmt.Println("e2e: skipped with -short")
			return 0
		}
		dir, err := os.MkdirTemp("", "e2e")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "ringwall")
		build := exec.Command("go", "build", "-trimpath", "-o", binary, "../../cmd/ringwall")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// tool finds a program that a test needs. Under CI its absence is a failure:
// what did not run is not green.
func tool(t *testing.T, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("none of %v is installed; run test/packages.sh", names)
	}
	t.Skipf("none of %v is installed", names)
	return ""
}

// patience is how long a test waits for what must come, however busy the machine.
const patience = time.Minute

// A deployment is one state directory with its ports; the server in it can be
// started and stopped.
type deployment struct {
	t                       *testing.T
	URL, Redirect, Upstream string
	state, policy           string // policy "": the one that ships
	cmd                     *exec.Cmd
	exited                  chan struct{} // closed when the process is gone
	stdout, stderr          *output
	client                  *http.Client
	tokens                  map[string]string // of accounts, by name
}

func deploy(t *testing.T) *deployment {
	t.Helper()
	d := &deployment{
		t: t, state: t.TempDir(),
		URL: "https://localhost:" + strconv.Itoa(porttest.Port(t)), Redirect: "http://localhost:" + strconv.Itoa(porttest.Port(t)), Upstream: "http://127.0.0.1:" + strconv.Itoa(porttest.Port(t)),
	}
	return d
}

func (d *deployment) environ() []string {
	return append(os.Environ(), "RINGWALL_STATE="+d.state, "RINGWALL_UPSTREAM="+d.Upstream,
		"RINGWALL_EDGE_LISTEN="+strings.TrimPrefix(d.URL, "https://"), "RINGWALL_EDGE_REDIRECT="+strings.TrimPrefix(d.Redirect, "http://"))
}

// start runs `serve --dev` until its ready line, and says how long that took.
func (d *deployment) start() time.Duration {
	d.t.Helper()
	args := []string{"serve", "--dev"}
	if d.policy != "" {
		args = append(args, "--policy", d.policy)
	}
	d.cmd = exec.Command(binary, args...)
	d.cmd.Dir = d.state
	d.cmd.Env = d.environ()
	d.stdout, d.stderr = newOutput("ready: "), newOutput("")
	d.cmd.Stdout, d.cmd.Stderr = d.stdout, d.stderr
	began := time.Now()
	if err := d.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	cmd, exited := d.cmd, make(chan struct{})
	d.exited = exited
	go func() { _ = cmd.Wait(); close(exited) }()
	d.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-exited
	})
	select {
	case <-d.stdout.seen:
	case <-exited:
		d.t.Fatalf("serve ended: %v\n%s%s", cmd.ProcessState, d.stdout, d.stderr)
	case <-time.After(patience):
		d.t.Fatalf("no ready line within %v\n%s%s", patience, d.stdout, d.stderr)
	}
	took := time.Since(began)
	pem, err := os.ReadFile(d.ca())
	if err != nil {
		d.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	d.client = &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       patience,
	}
	return took
}

// stop ends the server as systemd does, and wants it to end well.
func (d *deployment) stop() {
	d.t.Helper()
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		d.t.Fatal(err)
	}
	d.waitExit(0)
}

// waitExit waits for the process, which somebody has told to end.
func (d *deployment) waitExit(want int) {
	d.t.Helper()
	select {
	case <-d.exited:
	case <-time.After(patience):
		d.t.Fatalf("serve does not end\n%s", d.stderr)
	}
	if got := d.cmd.ProcessState.ExitCode(); got != want {
		d.t.Errorf("serve ended with %v, want exit %d\n%s", d.cmd.ProcessState, want, d.stderr)
	}
}

func (d *deployment) ca() string { return filepath.Join(d.state, "ca.pem") }

// token is an access token of alice, an ordinary user, or of admin: of accounts
// that serve --dev has made, or what it wrote where the policy keeps none. "" is
// nobody.
func (d *deployment) token(who string) string {
	d.t.Helper()
	if who == "" {
		return ""
	}
	b, err := os.ReadFile(filepath.Join(d.state, who+".token"))
	if errors.Is(err, fs.ErrNotExist) {
		return d.signIn(map[string]string{"alice": "user", "admin": "admin"}[who])
	}
	if err != nil {
		d.t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// account is the body of a sign-in with an account that serve --dev has made.
func (d *deployment) account(name string) string {
	d.t.Helper()
	select {
	case <-d.stdout.follows("accounts to sign in with: "):
	case <-time.After(patience):
		d.t.Fatalf("serve --dev makes no accounts\n%s", d.stderr)
	}
	b, err := os.ReadFile(filepath.Join(d.state, "accounts", name+".json"))
	if err != nil {
		d.t.Fatal(err)
	}
	return string(b)
}

// signIn signs in once with an account of serve --dev.
func (d *deployment) signIn(name string) string {
	d.t.Helper()
	if token := d.tokens[name]; token != "" {
		return token
	}
	a := d.call("", "POST", "/api/auth/login", d.account(name))
	var got struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal(a.Body, &got); err != nil || a.Status != 200 || got.Token == "" {
		d.t.Fatalf("sign in %s: %d %s", name, a.Status, a.Body)
	}
	if d.tokens == nil {
		d.tokens = map[string]string{}
	}
	d.tokens[name] = got.Token
	return got.Token
}

// An answer is a whole one.
type answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// call sends a request as who: nobody, or one of token.
func (d *deployment) call(who, method, url, body string) answer {
	d.t.Helper()
	if strings.HasPrefix(url, "/") {
		url = d.URL + url
	}
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if who != "" {
		req.Header.Set("Authorization", "Bearer "+d.token(who))
	}
	res, err := d.client.Do(req)
	if err != nil {
		d.t.Fatalf("%s %s: %v\n%s", method, url, err, d.stderr)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		d.t.Fatalf("%s %s: %v", method, url, err)
	}
	return answer{res.StatusCode, res.Header, b}
}

// problem wants a refusal as RFC 9457 has it.
func problem(t *testing.T, what string, a answer, status int) {
	t.Helper()
	var p struct {
		Type, Title, Detail string
		Status              int
		RequestID           string `json:"request_id"`
	}
	if err := json.Unmarshal(a.Body, &p); err != nil || a.Status != status || p.Status != status ||
		a.Header.Get("Content-Type") != "application/problem+json" || p.Type == "" || p.Title == "" || p.RequestID == "" {
		t.Errorf("%s: %d %s %s, want %d as problem+json", what, a.Status, a.Header.Get("Content-Type"), a.Body, status)
	}
}

// run runs the binary in the deployment's environment.
func (d *deployment) run(args ...string) (exit int, stdout, stderr string) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir, cmd.Env = d.state, d.environ()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		d.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// A verdict is one result of `ringwall check --format json`.
type verdict struct{ ID, Verdict, Got, Want, Fix string }

func (d *deployment) check() (exit int, results []verdict) {
	d.t.Helper()
	exit, out, errs := d.run("check", d.URL, "--format", "json")
	var report struct{ Results []verdict }
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		d.t.Fatalf("check exits %d: %v\n%s%s", exit, err, out, errs)
	}
	return exit, report.Results
}

// proved wants every control seen in force.
func (d *deployment) proved() {
	d.t.Helper()
	exit, results := d.check()
	if len(results) < 25 {
		d.t.Errorf("only %d results", len(results))
	}
	for _, r := range results {
		if r.Verdict != "pass" {
			d.t.Errorf("%s is %s: %s", r.ID, r.Verdict, r.Got)
		}
	}
	if exit != 0 {
		d.t.Errorf("check exits %d, want 0", exit)
	}
}

// output collects what a process writes, and closes a channel at a line that
// begins with its prefix.
type output struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	wait map[string]chan struct{} // by prefix
	seen chan struct{}            // of the first prefix
}

func newOutput(prefix string) *output {
	o := &output{wait: map[string]chan struct{}{}}
	o.seen = o.follows(prefix)
	return o
}

// follows is closed once a line with the prefix is there.
func (o *output) follows(prefix string) chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.wait[prefix] == nil {
		o.wait[prefix] = make(chan struct{})
		o.look()
	}
	return o.wait[prefix]
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf.Write(p)
	o.look()
	return len(p), nil
}

func (o *output) look() {
	for prefix, c := range o.wait {
		select {
		case <-c:
		default:
			if prefix != "" && strings.Contains("\n"+o.buf.String(), "\n"+prefix) {
				close(c)
			}
		}
	}
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
