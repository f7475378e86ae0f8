package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A browserlike is curl with a cookie jar: a client that nobody here wrote.
type browserlike struct {
	d    *deployment
	curl string
	jar  string
}

func (d *deployment) browserlike() *browserlike {
	return &browserlike{d, tool(d.t, "curl"), filepath.Join(d.t.TempDir(), "jar")}
}

// call sends a request with the cookies of the jar and keeps those of the
// answer. out takes the answer when it is JSON.
func (b *browserlike) call(want int, method, path, token, body string, out any) {
	b.d.t.Helper()
	args := []string{"--cacert", b.d.ca(), "-sS", "-b", b.jar, "-c", b.jar, "-X", method, "-w", "\n%{http_code}"}
	if token != "" {
		args = append(args, "-H", "Authorization: Bearer "+token)
	}
	if body != "" {
		args = append(args, "-H", "Content-Type: application/json", "-d", body)
	}
	res, err := exec.Command(b.curl, append(args, b.d.URL+path)...).Output()
	if err != nil {
		b.d.t.Fatalf("%s %s: %v\n%s", method, path, err, b.d.stderr)
	}
	text := string(res)
	i := strings.LastIndex(text, "\n")
	if text[i+1:] != fmt.Sprint(want) {
		b.d.t.Fatalf("%s %s was answered %s %s, want %d", method, path, text[i+1:], text[:i], want)
	}
	if out != nil {
		if err := json.Unmarshal([]byte(text[:i]), out); err != nil {
			b.d.t.Fatalf("%s %s: %v in %s", method, path, err, text[:i])
		}
	}
}

type tokens struct {
	Access  string `json:"access_token"`
	Type    string `json:"token_type"`
	Expires int    `json:"expires_in"`
}

// cookie is the value of a cookie in the jar; "" when it is not there.
func (b *browserlike) cookie(name string) string {
	b.d.t.Helper()
	text, err := os.ReadFile(b.jar)
	if err != nil {
		b.d.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 7 && f[5] == name {
			return f[6]
		}
	}
	return ""
}

// TestAccounts: somebody registers and stays signed in, however the server ends.
func TestAccounts(t *testing.T) {
	d := deploy(t)
	took := d.start()
	for try := 0; try < 4 && took > 3*time.Second; try++ { // other load makes it slower only
		other := deploy(t)
		took = min(took, other.start())
		other.stop()
	}
	if took > 3*time.Second {
		t.Errorf("ready after %v", took)
	}
	const password = "qveyxwo-lmtrb-39"
	login := `{"email":"ann@example.com","password":"` + password + `"}`
	b := d.browserlike()
	b.call(201, "POST", "/api/auth/register", "", `{"name":"Ann","email":"Ann@Example.com","password":"`+password+`"}`, nil)
	var first, second tokens
	b.call(200, "POST", "/api/auth/login", "", login, &first)
	if first.Type != "Bearer" || first.Expires < 590 || b.cookie("__Host-refresh") == "" {
		t.Fatalf("signed in: %+v, the cookie is %q", first, b.cookie("__Host-refresh"))
	}
	b.call(201, "POST", "/api/notes", first.Access, `{"title":"Diary","text":"not for the log"}`, nil)

	before := b.cookie("__Host-refresh")
	b.call(200, "POST", "/api/auth/refresh", "", "", &second)
	if second.Access == first.Access || b.cookie("__Host-refresh") == before {
		t.Error("a refresh gives the same tokens")
	}
	// A client that sends its token always: an expired one is none, a forged one is not.
	b.call(401, "POST", "/api/auth/refresh", "forged", "", nil)

	t.Run("kill -9", func(t *testing.T) {
		if err := d.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		d.waitExit(-1)
		if exit, out, errs := d.run("audit", "verify", "--dev"); exit != 0 {
			t.Errorf("audit verify after kill -9: %d %s%s", exit, out, errs)
		}
		d.start()
		b.call(200, "GET", "/api/me", second.Access, "", nil)
		b.call(200, "POST", "/api/auth/refresh", "", "", &second)
		var page struct{ Notes []struct{ Text string } }
		b.call(200, "GET", "/api/notes", second.Access, "", &page)
		if len(page.Notes) != 1 || page.Notes[0].Text != "not for the log" {
			t.Errorf("after kill -9: %+v", page)
		}
	})
	t.Run("reload", func(t *testing.T) {
		loaded := strings.Count(d.stderr.String(), `"policy.loaded"`)
		if err := d.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(patience); strings.Count(d.stderr.String(), `"policy.loaded"`) == loaded; {
			if time.Now().After(deadline) {
				t.Fatalf("SIGHUP loads no policy\n%s", d.stderr)
			}
		}
		b.call(200, "GET", "/api/me", second.Access, "", nil)
		b.call(200, "POST", "/api/auth/refresh", "", "", &second)
	})
	t.Run("second start", func(t *testing.T) {
		d.stop()
		d.start()
		b.call(200, "GET", "/api/me", second.Access, "", nil)
		b.call(200, "POST", "/api/auth/login", "", login, &second)
	})
	t.Run("sign out", func(t *testing.T) {
		jar, err := os.ReadFile(b.jar)
		if err != nil {
			t.Fatal(err)
		}
		b.call(204, "POST", "/api/auth/logout", "", "", nil)
		if c := b.cookie("__Host-refresh"); c != "" {
			t.Errorf("the cookie is still %q", c)
		}
		b.call(401, "GET", "/api/me", second.Access, "", nil)
		if err := os.WriteFile(b.jar, jar, 0o600); err != nil { // somebody kept the cookie
			t.Fatal(err)
		}
		b.call(401, "POST", "/api/auth/refresh", "", "", nil)
	})
	t.Run("nothing secret is told", func(t *testing.T) {
		d.stop()
		_, chain, _ := d.run("audit", "export", "--dev")
		if !strings.Contains(chain, "session.started") {
			t.Errorf("the audit chain holds no sign-in:\n%s", chain)
		}
		for _, secret := range []string{password, first.Access, second.Access, before, "not for the log"} {
			for where, text := range map[string]string{"log": d.stderr.String(), "output": d.stdout.String(), "audit chain": chain} {
				if strings.Contains(text, secret) {
					t.Errorf("the %s holds %.8s...", where, secret)
				}
			}
		}
		if exit, out, errs := d.run("audit", "verify", "--dev"); exit != 0 {
			t.Errorf("audit verify: %d %s%s", exit, out, errs)
		}
	})
}
