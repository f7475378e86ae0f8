package nginx_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringwall/ringwall"
	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/edge/nginx"
	"github.com/ringwall/ringwall/internal/porttest"
	"github.com/ringwall/ringwall/internal/state"
	"github.com/ringwall/ringwall/policy"
)

// These tests run a real nginx, on loopback and in a folder of its own:
// RINGWALL_TEST_NGINX, or the one that is installed.

// patience is how long a test waits for what must come, however busy the machine,
// and less where it must fail.
var patience = func() time.Duration {
	if os.Getenv(takenOut) != "" {
		return 5 * time.Second
	}
	return time.Minute
}()

// await looks again and again, for as long, and tells whether it came.
func await(is func() bool) bool {
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if is() {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
	}
}

func nginxBinary(t testing.TB) string {
	t.Helper()
	if testing.Short() {
		t.Skip("a real nginx takes its time")
	}
	name := os.Getenv("RINGWALL_TEST_NGINX")
	if name == "" {
		name = "nginx"
	}
	if found, err := exec.LookPath(name); err == nil {
		return found
	}
	for _, found := range []string{"/usr/sbin/nginx", "/usr/local/sbin/nginx"} {
		if _, err := os.Stat(found); err == nil && name == "nginx" {
			return found
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("nginx is not installed")
	}
	t.Skip("nginx is not installed: apt-get install nginx")
	return ""
}

var installed = sync.OnceValues(func() (nginx.Version, error) {
	name := os.Getenv("RINGWALL_TEST_NGINX")
	if name == "" {
		name = "nginx"
		if _, err := exec.LookPath(name); err != nil {
			name = "/usr/sbin/nginx"
		}
	}
	out, err := exec.Command(name, "-V").CombinedOutput()
	if err != nil {
		return nginx.Version{}, err
	}
	return nginx.ParseVersion(string(out))
})

var testProof = base64.StdEncoding.EncodeToString([]byte("0123456789 a proof of 32 bytes !"))

// A site is a policy with nginx as its edge, and a certificate for it.
type site struct {
	policy *policy.Policy
	roots  *x509.CertPool
	dir    string
	mu     sync.Mutex
	events []audit.Event

	certificates edge.Certificates // of the ring; nil: nginx has them from elsewhere
}

// Record keeps events.
func (s *site) Record(e audit.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, e)
}

func (s *site) count(match func(audit.Event) bool) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		if match(e) {
			n++
		}
	}
	return n
}

// newSite is for localhost; more is YAML of the policy's top level.
func newSite(t testing.TB, more string) *site {
	t.Helper()
	dir := t.TempDir()
	own, err := state.Open(filepath.Join(dir, "ca"))
	if err != nil {
		t.Fatal(err)
	}
	cert, err := edge.EnsureDevCert(own, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(cert.CA)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{roots: x509.NewCertPool(), dir: dir}
	s.roots.AppendCertsFromPEM(pem)
	if more == "" {
		more = "app: {limits: {global: {requests: 100000, per: 1m}}, routes: [{path: /, allow: [anyone]}]}\n"
	}
	s.policy, err = policy.Parse("", []byte(fmt.Sprintf(`site: localhost
edge:
  engine: nginx
  listen: %q
  redirect: %q
  tls: {cert: %q, key: %q}
  nginx: {listen: %q, conf: %q, folder: %q, state: %q, webroot: %q, log: %q}
`, porttest.Address(t), porttest.Address(t), cert.Cert, cert.Key, porttest.Address(t),
		dir+"/conf.d/ringwall.conf", dir+"/ringwall", dir+"/state", dir+"/webroot", dir+"/ringwall.json")+more), policy.LoadOptions{Dev: true, Environ: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	s.policy.Edge.Nginx.Proof = policy.NewSecret(testProof)
	return s
}

func (s *site) url() string {
	_, port, _ := net.SplitHostPort(s.policy.Edge.Listen)
	return "https://localhost:" + port
}

func (s *site) client(t testing.TB) *probe.Client {
	t.Helper()
	c, err := probe.New(s.url(), probe.Options{TLS: &tls.Config{RootCAs: s.roots}, Timeout: 20 * time.Second, MaxRequests: 20000})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func headers(p *policy.Policy, secure bool) map[string]string {
	return app.ConstantHeaders(p, secure, time.Now())
}

func (s *site) options(t testing.TB) nginx.Options {
	t.Helper()
	v, err := installed()
	if err != nil {
		t.Fatal(err)
	}
	return nginx.Options{Version: v, Headers: headers}
}

// othersWishes are what other sites' http block may say, of each directive the
// opposite: none of it may hold for the site.
const othersWishes = `    ssl_prefer_server_ciphers on;
    ssl_ecdh_curve secp521r1;
    http2_max_concurrent_streams 7;
    underscores_in_headers on;
    ignore_invalid_headers off;
    client_header_buffer_size 64k;
    large_client_header_buffers 8 64k;
    send_timeout 1h;
    keepalive_timeout 0;
    reset_timedout_connection off;
    limit_conn_status 503;
    gzip on;
    gzip_types *;
    gzip_proxied any;
    proxy_http_version 1.0;
    proxy_read_timeout 1s;
    proxy_send_timeout 1s;
    proxy_request_buffering on;
    proxy_buffering on;
    proxy_buffer_size 4k;
    proxy_max_temp_file_size 512m;
    proxy_next_upstream error non_idempotent;
    proxy_redirect http://ringwall/ /;
    proxy_intercept_errors on;
`

// write puts down what an nginx needs; change, if any, edits the text.
func (s *site) write(t testing.TB, change func([]nginx.Directive) []nginx.Directive) {
	t.Helper()
	ds, err := nginx.Directives(s.policy, s.options(t))
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		ds = change(ds)
	}
	if gone := os.Getenv(takenOut); gone != "" {
		name, args, _ := strings.Cut(gone, " ")
		ds = without(name, strings.Fields(args)...)(ds)
	}
	tickets := "on" // what the site does not say, see Version
	if v := s.options(t).Version; v.Minor > 23 || v.Minor == 23 && v.Patch >= 2 {
		tickets = "off"
	}
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;\n"
	}
	files := map[string]string{
		"nginx.conf": user + `worker_processes 2;
pid ` + s.dir + `/nginx.pid;
error_log ` + s.dir + `/error.log info;
events { worker_connections 2048; }
http {
    sendfile on;
    tcp_nopush on;
    types_hash_max_size 2048;
    default_type application/octet-stream;
    access_log off;
    ssl_session_tickets ` + tickets + `;
` + othersWishes + `    client_body_temp_path ` + s.dir + `/tmp-body;
    proxy_temp_path ` + s.dir + `/tmp-proxy;
    fastcgi_temp_path ` + s.dir + `/tmp-fastcgi;
    uwsgi_temp_path ` + s.dir + `/tmp-uwsgi;
    scgi_temp_path ` + s.dir + `/tmp-scgi;
    include conf.d/*.conf;
}
`,
		"conf.d/ringwall.conf": nginx.Print(ds),
		"webroot/.keep":        "",
	}
	for name, text := range nginx.Private(s.policy) {
		files[name] = text
	}
	in := &nginx.Installer{Options: s.options(t)}
	in.Options.Now = time.Now
	changes, _, err := in.Plan(s.policy, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range changes { // what an old nginx needs, and what there is before an authority has issued
		if name := filepath.Base(c.Path); strings.HasPrefix(name, "nobody.") || name == "site.pem" {
			files[c.Path] = c.Text
		}
	}
	for name, text := range files {
		if !filepath.IsAbs(name) {
			name = filepath.Join(s.dir, name)
		}
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// startNginx starts nginx on what write wrote, and stops it with the test.
func (s *site) startNginx(t testing.TB) (stop func()) {
	t.Helper()
	var said bytes.Buffer
	cmd := exec.Command(nginxBinary(t), "-p", s.dir, "-c", filepath.Join(s.dir, "nginx.conf"), "-g", "daemon off;")
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	stop = sync.OnceFunc(func() {
		cmd.Process.Signal(os.Interrupt)
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			cmd.Process.Kill()
			<-ended
		}
	})
	t.Cleanup(stop)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(25 * time.Millisecond) {
		select {
		case <-ended:
			log, _ := os.ReadFile(filepath.Join(s.dir, "error.log"))
			t.Fatalf("nginx does not start: %s %s", said.String(), log)
		default:
		}
		if c, err := net.Dial("tcp", strings.Replace(s.policy.Edge.Listen, "localhost", "127.0.0.1", 1)); err == nil {
			c.Close()
			if pid, _ := os.ReadFile(filepath.Join(s.dir, "nginx.pid")); len(pid) > 0 { // it listens before it says who it is
				return stop
			}
		}
	}
	t.Fatalf("nginx does not listen: %s", said.String())
	return nil
}

var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, `{"ok":true}`)
})

// startRing runs the ring behind nginx, with some controls off.
func (s *site) startRing(t testing.TB, h http.Handler, without ...string) (srv *ringwall.Server, stop func()) {
	t.Helper()
	p := *s.policy
	for _, id := range without {
		p.Waivers = append(p.Waivers, policy.Waiver{Control: id, Reason: "to see nginx alone", Until: time.Now().UTC().AddDate(0, 0, 1).Truncate(24 * time.Hour)})
	}
	bans := edge.NewBans(edge.BansConfig{})
	srv, err := ringwall.New(&p, h, ringwall.Deps{Log: slog.New(slog.DiscardHandler), Audit: s, Bans: bans, Certificates: s.certificates})
	if err != nil {
		t.Fatal(err)
	}
	events, err := nginx.ListenEvents(&p, nil, audit.Tee(s, bans), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go events.Run(ctx)
	go func() { done <- srv.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	select {
	case <-srv.Listening():
	case err := <-done:
		done <- nil
		t.Fatal(err)
	}
	return srv, stop
}

func contextOf(t testing.TB) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithCancel(context.Background())
}
