package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/internal/disktest"
	"github.com/ringwall/ringwall/internal/quicktest"
)

// TestServeDiskFull: while the disk is full, who is signed in is served; what would
// have to be kept is refused with 503, at the API and at the command line, and not
// done. With room again what was told meanwhile is in the chain, which verifies; it
// does so after kill -9, too.
func TestServeDiskFull(t *testing.T) {
	quicktest.Skip(t, "starts processes")
	s := newUpgradeSite(t)
	disk := filepath.Join(s.dir, "disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	disktest.Small(t, disk, "2m")
	policy, err := os.ReadFile(filepath.Join(s.dir, policyFile))
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, policyFile, strings.Replace(string(policy), "allow: [anyone]", "allow: [signed-in]", 1)+`
identity: {registration: closed, keys: disk/keys.json, mail: {folder: mails}, roles: {admin: ["*"]}}
store: sqlite:disk/ringwall.db
`)
	s.env = "RINGWALL_STATE=" + filepath.Join(disk, "state")
	run := func(args ...string) (string, error) {
		cmd := s.command(args...)
		cmd.Stdin = strings.NewReader("violet staple horse 77 battery\n")
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		err := cmd.Run()
		return out.String(), err
	}
	for _, args := range [][]string{{"user", "add", "--email", "root@example.com", "--role", "admin", "--password-stdin"}, {"user", "add", "--email", "u@example.com", "--password-stdin"}} {
		if out, err := run(args...); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
	}
	server := s.command("serve")
	s.start(t, server)
	clients := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: upgradeName}}, Timeout: patience}
	ask := func(method, path, token, body string) (int, string) {
		t.Helper()
		req, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Host = upgradeName
		if body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		res, err := clients.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(b)
	}
	const signIn = `{"email":"root@example.com","password":"violet staple horse 77 battery"}`
	status, body := ask("POST", "/api/auth/login", "", signIn)
	var in struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(body), &in); err != nil || status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	var users struct {
		Users []struct{ ID, Email string }
	}
	if _, body = ask("GET", "/api/admin/users", in.Token, ""); json.Unmarshal([]byte(body), &users) != nil || len(users.Users) != 2 {
		t.Fatal(body)
	}
	lock := "/api/admin/users/" + users.Users[1].ID + "/lock"

	empty := disktest.Fill(t, disk)
	for round := range 3 {
		for _, tt := range []struct {
			method, path, token, body string
			want                      int
		}{
			{"GET", "/x", in.Token, "", 200}, {"GET", "/x", "", "", 401}, {"GET", "/healthz", "", "", 200}, {"GET", "/readyz", "", "", 200}, {"GET", "/api/me", in.Token, "", 200},
			{"POST", "/api/auth/login", "", signIn, 503}, {"POST", lock, in.Token, "", 503},
		} {
			if status, body := ask(tt.method, tt.path, tt.token, tt.body); status != tt.want {
				t.Errorf("round %d: %s %s: %d %s, want %d", round, tt.method, tt.path, status, body, tt.want)
			}
		}
	}
	for _, args := range [][]string{{"user", "lock", "u@example.com"}, {"key", "rotate"}, {"ban", "add", "192.0.2.9"}} {
		if out, err := run(args...); err == nil {
			t.Errorf("%v was done on a full disk: %s", args, out)
		}
	}
	// More than the memory holds that is kept for it.
	for i := range 3000 {
		ask("GET", "/x", fmt.Sprint("bad", i), "")
	}
	if _, body = ask("GET", "/api/admin/users", in.Token, ""); strings.Contains(body, `"locked"`) {
		t.Errorf("somebody is locked: %s", body)
	}
	empty()
	if status, body := ask("POST", lock, in.Token, ""); status/100 != 2 {
		t.Errorf("with room again: %d %s", status, body)
	}
	verify := func(when string) string {
		t.Helper()
		if out, err := run("audit", "verify"); err != nil || !strings.HasPrefix(out, "good:") {
			t.Errorf("%s: %v %s", when, err, out)
		}
		out, err := run("audit", "tail", "-n", "1000")
		if err != nil {
			t.Error(err)
		}
		return out
	}
	has := func(told string) bool {
		return strings.Contains(told, "the audit chain is not written") && strings.Contains(told, "account.locked") && strings.Contains(told, "auth.failed")
	}
	told := ""
	for end := time.Now().Add(patience); !has(told) && time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		told = verify("with room again")
	}
	if !has(told) {
		t.Errorf("the chain has:\n%s", told)
	}
	_ = server.Process.Kill()
	_ = server.Wait()
	if told := verify("after kill -9"); !has(told) {
		t.Errorf("after kill -9 the chain has:\n%s", told)
	}
	if left, _ := filepath.Glob(filepath.Join(disk, "*", ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
