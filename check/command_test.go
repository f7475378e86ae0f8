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
