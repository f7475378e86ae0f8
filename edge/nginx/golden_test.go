package nginx_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/edge/nginx"
	"github.com/ringwall/ringwall/policy"
)

var update = flag.Bool("update", false, "rewrite the texts in testdata")

var day = time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC)

func parsePolicy(t testing.TB, text string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse("", []byte(text), policy.LoadOptions{Environ: []string{}, Now: func() time.Time { return day }})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const usual = `site: api.example.com
upstream: http://127.0.0.1:8000
edge:
  engine: nginx
  tls: {cert: /etc/letsencrypt/live/api.example.com/fullchain.pem, key: /etc/letsencrypt/live/api.example.com/privkey.pem}
`

func nginxPolicy(t testing.TB) *policy.Policy { return parsePolicy(t, usual) }

// goldens are policies, and the nginx that each is rendered for.
var goldens = map[string]struct {
	policy  string
	version nginx.Version
	options func(*nginx.Options)
}{
	"debian12": {usual, nginx.Version{Major: 1, Minor: 22, Patch: 1, OpenSSL: [2]int{3, 0}}, nil},
	"debian13": {usual, nginx.Version{Major: 1, Minor: 26, Patch: 3, OpenSSL: [2]int{3, 5}}, nil},
	"debian11": {usual, nginx.Version{Major: 1, Minor: 18, OpenSSL: [2]int{1, 1}}, nil},
	"proxied": {strings.Replace(usual, "  engine: nginx\n", `  engine: nginx
  listen: 192.0.2.1:8443
  redirect: 192.0.2.1:8080
  proxy_protocol: true
  trusted_proxies: [198.51.100.7, "2001:db8:1::/48"]
  nginx: {listen: "unix:/run/ringwall/nginx.sock"}
  rate: {requests: 90, per: 1m, burst: 0}
  scanners: {allow: [/report.php]}
`, 1) + `app:
  headers: {csp: "default-src 'self' \"x\" $host; frame-ancestors 'none'"}
  routes:
    - {path: "/files/{name}", body: 5MB, allow: [anyone]}
    - {path: /, allow: [anyone]}
`, nginx.Version{Major: 1, Minor: 24, OpenSSL: [2]int{3, 0}}, nil},
	"acme": {`site: api.example.com
upstream: http://127.0.0.1:8000
edge:
  engine: nginx
  tls: {acme: {email: ops@example.com}}
waivers:
  - {control: edge/rate, reason: the load balancer does it, until: 2026-12-31}
  - {control: edge/scanners, reason: this API is written in PHP, until: 2026-12-31}
  - {control: edge/connections, reason: the load balancer does it, until: 2026-07-31}
`, nginx.Version{Major: 1, Minor: 26, Patch: 3, OpenSSL: [2]int{3, 5}}, func(o *nginx.Options) { o.WithoutIPv6 = true }},
	"before-certbot": {usual, nginx.Version{Major: 1, Minor: 22, Patch: 1}, func(o *nginx.Options) { o.WithoutTLS = true }},
}

func TestGoldens(t *testing.T) {
	for name, g := range goldens {
		o := nginx.Options{Version: g.version, Headers: headers, Now: func() time.Time { return day }}
		if g.options != nil {
			g.options(&o)
		}
		p := parsePolicy(t, g.policy)
		got, err := nginx.Render(p, o)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if again, err := nginx.Render(p, o); err != nil || again != got {
			t.Errorf("%s: another text, of the same policy", name)
		}
		file := filepath.Join("testdata", name+".conf")
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if string(want) != got {
			t.Errorf("%s is another text; -update, and look at the difference", file)
		}
		if ds, err := nginx.Parse(file, got); err != nil || nginx.Print(ds) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
