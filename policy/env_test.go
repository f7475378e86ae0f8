package policy_test

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/policy"
)

const envPolicy = "site: a.example.com\napp: {body: 1MB}\nidentity: {roles: {admin: [\"*\"], site-owner: []}}\n"

func TestEnvironmentOverrides(t *testing.T) {
	body := filepath.Join(t.TempDir(), "body")
	write(t, body, "3MB\n", 0o600)
	p := mustParse(t, envPolicy,
		"RINGWALL_SITE=b.example.com",
		"RINGWALL_APP_BODY_FILE="+body,
		"RINGWALL_APP_CORS_ORIGINS=https://x.example.com, https://y.example.com",
		"RINGWALL_APP_CORS_EXPOSE=",
		"RINGWALL_APP_CORS_CREDENTIALS=false",
		"RINGWALL_APP_JSON_DEPTH=7",
		"RINGWALL_APP_LIMITS_GLOBAL_REQUESTS=900",
		"RINGWALL_APP_LIMITS_AUTH_PATHS=/login,/api/auth/",
		"RINGWALL_APP_HEADERS_HSTS_MAX_AGE=30d",
		"RINGWALL_EDGE_TRUSTED_PROXIES=192.0.2.1,10.0.0.0/8",
		"RINGWALL_IDENTITY_ROLES_SITE_OWNER=notes:read",
		"RINGWALL_STATE=/var/lib/ringwall", "RINGWALL_POLICY=x.yaml",
		"LOG_LEVEL=DEBUG", "PATH=/bin", "ringwall_app_body=9MB", "broken",
	)
	for name, pair := range map[string][2]any{
		"site":        {p.Site, "b.example.com"},
		"body":        {p.App.Body, policy.Size(3_000_000)},
		"origins":     {p.App.CORS.Origins, []string{"https://x.example.com", "https://y.example.com"}},
		"expose":      {len(p.App.CORS.Expose), 0},
		"credentials": {p.App.CORS.Credentials, false},
		"depth":       {p.App.JSONDepth, 7},
		"global":      {p.App.Limits["global"], policy.Limit{Requests: 900, Per: 15 * time.Minute}},
		"auth":        {p.App.Limits["auth"], policy.Limit{Requests: 20, Per: 15 * time.Minute, Paths: []string{"/login", "/api/auth/"}}},
		"max_age":     {p.App.Headers.HSTS.MaxAge, 30 * 24 * time.Hour},
		"proxies":     {p.Edge.TrustedProxies, []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("10.0.0.0/8")}},
		"roles":       {p.Identity.Roles, map[string][]string{"admin": {"*"}, "site-owner": {"notes:read"}}},
		"log":         {p.App.Log, "debug"},
	} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			t.Errorf("%s = %v, want %v", name, pair[0], pair[1])
		}
	}
}

// Mistakes in the environment name the variable in place of the file.
func TestEnvironmentMistakes(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none")
	for _, tt := range []struct {
		env  []string
		want string // begins the message
	}{
		{[]string{"RINGWALL_APP_BODY=5"}, "RINGWALL_APP_BODY: app.body: \"5\" has no unit\n  hint: write 5B"},
		{[]string{"RINGWALL_APP_BODY=2GB"}, "RINGWALL_APP_BODY: app.body: 2GB is more than 1GB\n  hint: give 1kB to 1GB"},
		{[]string{"RINGWALL_APP_BODY="}, "RINGWALL_APP_BODY: app.body: \"\" is not a size"},
		{[]string{"RINGWALL_AP_BODY=5MB"}, "RINGWALL_AP_BODY: no key of the policy has this variable\n  hint: did you mean RINGWALL_APP_BODY?"},
		{[]string{"RINGWALL_IDENTITY_TOKENKEY=x"}, "RINGWALL_IDENTITY_TOKENKEY: no key of the policy has this variable\n  hint: did you mean RINGWALL_IDENTITY_TOKEN_KEY?"},
		{[]string{"RINGWALL_QQQQQQ=5MB"}, "RINGWALL_QQQQQQ: no key of the policy has this variable\n  hint: unset it"},
		{[]string{"RINGWALL_APP_ROUTES_0_PATH=/"}, "RINGWALL_APP_ROUTES_0_PATH: no key of the policy"},
		{[]string{"RINGWALL_SITE=https://x"}, "RINGWALL_SITE: site: \"https://x\" has a scheme"},
		{[]string{"RINGWALL_APP_CORS_ORIGINS=https://x.example.com,*"}, "RINGWALL_APP_CORS_ORIGINS: app.cors.origins[1]: * lets every site"},
		{[]string{"RINGWALL_APP_CORS_METHODS=GET,BREW"}, "RINGWALL_APP_CORS_METHODS: app.cors.methods: \"BREW\" is not known here"},
		{[]string{"RINGWALL_APP_CORS_METHODS=GET,GET"}, "RINGWALL_APP_CORS_METHODS: app.cors.methods: \"GET\" stands twice"},
		{[]string{"LOG_LEVEL=loud"}, "LOG_LEVEL: app.log: \"loud\" is not known here"},
		{[]string{"LOG_LEVEL=info", "RINGWALL_APP_LOG=warn"}, "RINGWALL_APP_LOG: app.log: the value is set by LOG_LEVEL too"},
		{[]string{"RINGWALL_APP_BODY=5MB", "RINGWALL_APP_BODY_FILE=" + missing}, "RINGWALL_APP_BODY_FILE: app.body: " + missing + ": no such file"},
		{[]string{"RINGWALL_APP_HEADERS_CSP=a\nb"}, "RINGWALL_APP_HEADERS_CSP: app.headers.csp: the value has a line break"},
	} {
		_, err := policy.Parse("ringwall.yaml", []byte(envPolicy), alone(tt.env...))
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%q: got\n%v\nwant\n%s", tt.env, err, tt.want)
		}
	}
	// Those of the file come first.
	_, err := policy.Parse("ringwall.yaml", []byte("site: A\n"), alone("RINGWALL_APP_BODY=5"))
	if err == nil || !strings.HasPrefix(err.Error(), "ringwall.yaml:1:7") || !strings.Contains(err.Error(), "\nRINGWALL_APP_BODY: ") {
		t.Errorf("got %v", err)
	}
}

func TestVariablesThatCouldMeanTwoKeys(t *testing.T) {
	_, err := policy.Parse("ringwall.yaml", []byte("site: a.example.com\nidentity: {roles: {a-b: [], a_b: []}}\n"), alone("RINGWALL_IDENTITY_ROLES_A_B=x:y"))
	if err == nil || !strings.Contains(err.Error(), "could mean identity.roles.a-b and identity.roles.a_b") {
		t.Errorf("got %v", err)
	}
}

func TestDotenv(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, ".env"), "# mine\nexport RINGWALL_APP_BODY='2MB'\nLOG_LEVEL=warn\nDATABASE_URL=postgres://x\n", 0o600)
	file := filepath.Join(dir, "ringwall.yaml")
	load := func(dev bool, env ...string) *policy.Policy {
		t.Helper()
		opts := alone(env...)
		opts.Dev = dev
		p, err := policy.Parse(file, []byte("site: a.example.com\n"), opts)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if p := load(true); p.App.Body != 2_000_000 || p.App.Log != "warn" {
		t.Errorf("under Dev: body %v, log %v", p.App.Body, p.App.Log)
	}
	if p := load(true, "RINGWALL_APP_BODY=3MB"); p.App.Body != 3_000_000 || p.App.Log != "warn" {
		t.Errorf("it overrode the environment: body %v, log %v", p.App.Body, p.App.Log)
	}
	value := filepath.Join(dir, "body")
	write(t, value, "4MB", 0o600)
	if p := load(true, "RINGWALL_APP_BODY_FILE="+value); p.App.Body != 4_000_000 {
		t.Errorf("it overrode a _FILE: body %v", p.App.Body)
	}
	if p := load(false); p.App.Body != 200_000 || p.App.Log != "info" {
		t.Errorf("it was read without Dev: body %v, log %v", p.App.Body, p.App.Log)
	}
}

// The messages of the .env parser quote what may be a secret; ours do not.
func TestBrokenDotenv(t *testing.T) {
	for _, content := range []string{"A-B=canary\n", "A='canary\n", "X=\"canary\n", strings.Repeat("A=1\n", 30_000)} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, ".env"), content, 0o600)
		opts := alone()
		opts.Dev = true
		_, err := policy.Parse(filepath.Join(dir, "ringwall.yaml"), []byte("site: a.example.com\n"), opts)
		if err == nil {
			t.Errorf("%.20q: accepted", content)
		} else if strings.Contains(err.Error(), "canary") || !strings.Contains(err.Error(), ".env") {
			t.Errorf("%.20q: %v", content, err)
		}
	}
}

func TestDotenvThatGitTracks(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	dir := t.TempDir()
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	load := func(dev bool) error {
		opts := alone()
		opts.Dev = dev
		_, err := policy.Parse(filepath.Join(dir, "ringwall.yaml"), []byte("site: a.example.com\n"), opts)
		return err
	}
	git("init", "-q")
	write(t, filepath.Join(dir, ".env"), "LOG_LEVEL=warn\n", 0o600)
	for _, dev := range []bool{true, false} {
		if err := load(dev); err != nil {
			t.Errorf("dev %v, not tracked: %v", dev, err)
		}
	}
	git("add", ".env")
	t.Setenv("GIT_DIR", filepath.Join(dir, "elsewhere")) // as inside a hook
	for _, dev := range []bool{true, false} {
		if err := load(dev); err == nil || !strings.Contains(err.Error(), "git rm --cached .env") {
			t.Errorf("dev %v, tracked: %v", dev, err)
		}
	}
	os.Unsetenv("GIT_DIR")
	git("rm", "-q", "--cached", ".env")
	if err := load(false); err != nil {
		t.Errorf("no longer tracked: %v", err)
	}
}

func write(t *testing.T, name, content string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
}
