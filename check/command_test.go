package check_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/ringwall/ringwall/check"
)

// TestCommandsAsEvidence: what was typed and what came, and no secret.
func TestCommandsAsEvidence(t *testing.T) {
	secret := "correct" + "horse"
	for _, tt := range []struct {
		name, command, printed string
		err                    error
		want                   string
	}{
		{"plain", "passwd -S root", "root L 2026-11-26\n", nil, "root L 2026-11-26"},
		{"nothing", "systemctl show x", "", nil, "[nothing]"},
		{"an error", "sshd -T", "", errors.New("sshd: no such program"), "[sshd: no such program]"},
		{"a log", "journalctl -n 3", "a\nb\n" + secret + "\n", nil, "[3 lines]"},
		{"nft's JSON", "nft -j list ruleset", `{"nftables":[]}` + "\n", nil, "[15 bytes]"},
		{"a variable", "systemctl show x", "User=api\nEnvironment=JWT_SECRET=" + secret + " PORT=1\n", nil, "User=api\n[redacted]"},
		{"a URL", "ps", "postgres://api:" + secret + "@db/api", nil, "[redacted]"},
		{"JSON", "cat", `{"password": "` + secret + `"}`, nil, "[redacted]"},
		{"an error with one", "x", "", errors.New("token=" + secret), "[[redacted]]"},
		{"settings that only sound so", "sshd -T", "passwordauthentication no\npermitemptypasswords no\nLoadCredential=site_key:/etc/x", nil,
			"passwordauthentication no\npermitemptypasswords no\nLoadCredential=site_key:/etc/x"},
	} {
		e := check.Command(strings.Fields(tt.command), tt.printed, tt.err)
		if e.Sent != "$ "+tt.command || e.Received != tt.want {
			t.Errorf("%s: %+v", tt.name, e)
		}
	}
	for path, want := range map[string]string{"/etc/ssh/sshd_config": "UsePAM yes", "/home/deploy/.ssh/authorized_keys": "[11 bytes]"} {
		if e := check.File(path, "UsePAM yes\n"); e.Received != want {
			t.Errorf("%s: %+v", path, e)
		}
	}
	if e := check.Command([]string{"nft"}, strings.Repeat("rule\n", 100_000), nil); len(e.Received) > 1000 {
		t.Errorf("%d bytes of output", len(e.Received))
	}
}

// TestNothingSecretIsShown: a canary in every form that a secret has in the output
// of a command, in what was typed and in an error.
func TestNothingSecretIsShown(t *testing.T) {
	for _, line := range []string{
		"X_SECRET_KEY=CANARY", "export JWT_SECRET='CANARY'", "DB_PASSWORD_FILE_CONTENT=CANARY", "STRIPE_KEY=CANARY", "PGPASS=CANARY", "SENTRY_DSN=CANARY",
		"Environment=A=1 X_SECRET_KEY=CANARY B=2", "DATABASE_URL=CANARY", "MYSQL_PWD=CANARY", "password=CA", "pw.password: CANARY", "client-secret: CANARY",
		"api --password=CANARY", "api --password CANARY", "api --db-passwd=CANARY", "api --api-key CANARY", "api -token CANARY",
		"postgres://api:CANARY@db/api", "redis://:CANARY@db", "https://CANARY@github.com/x", "HTTPS://u:CANARY@x",
		"Authorization: Bearer CANARY.x", "authorization: Basic CANARY", "curl -H 'Authorization: CANARY'", "bearer CANARYCANARY",
		"Cookie: sid=CANARY", "set-cookie: __Host-refresh=CANARY; Secure", "cookie=CANARY", `{"cookies": "CANARY"}`,
		`{"password": "CANARY"}`, `{"apiKey":"CANARY"}`, `{"refresh_token":"CANARY"}`, "GET /?access_token=CANARY HTTP/1.1", "token = CANARY",
		"eyJhbGciOiJFZERTQSJ9.CANARY", "root:$6$CANARY:1::", "root:$y$j9T$CANARY:1::", "$argon2id$v=19$CANARY",
		"-----BEGIN PRIVATE KEY-----\nCANARY\nCANARY\n-----END PRIVATE KEY-----", "-----BEGIN OPENSSH PRIVATE KEY-----\nCANARY",
	} {
		const canary = "CA" // what is left of it, too
		for what, e := range map[string]check.Exchange{
			"printed": check.Command([]string{"x"}, "before\n"+line+"\nafter", nil),
			"typed":   check.Command([]string{"sh", "-c", strings.ReplaceAll(line, "\n", " ")}, "", nil),
			"error":   check.Command([]string{"x"}, "", errors.New(line)),
			"file":    check.File("/etc/x", line),
		} {
			if strings.Contains(e.Sent+e.Received, canary) {
				t.Errorf("%s, %q: %+v", what, line, e)
			}
		}
	}
	for _, line := range []string{
		"passwordauthentication no", "permitemptypasswords no", "authorizedkeysfile .ssh/authorized_keys", "kbdinteractiveauthentication no",
		"LoadCredential=site_key:/etc/x", "tcp dport 22 accept", "PASS_MAX_DAYS 90", "-A INPUT -p tcp -j DROP", "hostkey /etc/ssh/ssh_host_ed25519_key",
		"# key: /etc/x", "usepam yes", "unix:/run/api.sock", "http://127.0.0.1:8000/", "root L 2026-11-26",
	} {
		if e := check.Command([]string{"x"}, line, nil); e.Received != line {
			t.Errorf("%q is shown as %q", line, e.Received)
		}
	}
}
