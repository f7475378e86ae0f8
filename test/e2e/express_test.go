package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestExpress puts the binary before an API in another language that protects
// itself against nothing. Every attack also goes straight to the API, where it
// must succeed: otherwise its refusal would prove nothing.
func TestExpress(t *testing.T) {
	node, npm := tool(t, "node"), tool(t, "npm")
	dir := filepath.Join(t.TempDir(), "express")
	if err := os.CopyFS(dir, os.DirFS("../../examples/express")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	install := exec.Command(npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("npm ci: %v\n%s", err, out)
		}
		t.Skipf("npm ci does not work here: %v\n%s", err, out)
	}

	d := deploy(t)
	d.policy = filepath.Join(dir, "ringwall.yaml")
	express := exec.Command(node, "server.js")
	express.Dir = dir
	express.Env = append(os.Environ(), "NODE_ENV=production", "PORT="+d.Upstream[strings.LastIndex(d.Upstream, ":")+1:])
	out := newOutput("notes on ")
	express.Stdout, express.Stderr = out, out
	if err := express.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { _ = express.Wait(); close(exited) }()
	t.Cleanup(func() { _ = express.Process.Kill(); <-exited })
	select {
	case <-out.seen:
	case <-exited:
		t.Fatalf("express ended: %v\n%s", express.ProcessState, out)
	case <-time.After(patience):
		t.Fatalf("express is not ready\n%s", out)
	}
	d.start()

	t.Run("check", func(t *testing.T) { d.proved() })

	a := d.call("alice", "POST", "/api/notes", `{"title":"Milk","text":"two litres"}`)
	var n struct {
		ID    int
		Owner string
	}
	if a.Status != 201 || json.Unmarshal(a.Body, &n) != nil || n.Owner == "" {
		t.Fatalf("create through the ring: %d %s", a.Status, a.Body)
	}
	one := fmt.Sprint("/api/notes/", n.ID)
	if a := d.call("alice", "GET", one, ""); a.Status != 200 || !strings.Contains(string(a.Body), "litres") {
		t.Errorf("get through the ring: %d %s", a.Status, a.Body)
	}
	if h := a.Header; h.Get("X-Powered-By") != "" || h.Get("Etag") == "" || h.Get("X-Frame-Options") == "" {
		t.Errorf("answer headers: %v", h)
	}

	t.Run("attacks", func(t *testing.T) {
		for _, tt := range []struct {
			name, who, method, path string
			headers                 map[string]string
			body                    string
			ringed, bare            int
		}{
			{"identity from a header", "", "GET", one, map[string]string{"X-Ringwall-User": n.Owner}, "", 401, 200},
			{"another's identity", "admin", "GET", one, map[string]string{"X-Ringwall-User": n.Owner}, "", 404, 200},
			{"identity in another spelling", "admin", "GET", one, map[string]string{"X_ringwall_user": n.Owner, "X-Ringwall-User": n.Owner}, "", 404, 200},
			{"admin route", "alice", "GET", "/api/admin/notes", nil, "", 403, 200},
			{"mass assignment", "alice", "POST", "/api/notes", nil, `{"title":"a","text":"b","owner":"bob","id":1}`, 400, 201},
			{"operator for a text", "alice", "POST", "/api/notes", nil, `{"title":{"$gt":""},"text":"b"}`, 400, 201},
			{"duplicate members", "alice", "POST", "/api/notes", nil, `{"title":"a","text":"b","title":"c"}`, 400, 201},
			{"prototype", "alice", "POST", "/api/notes", nil, `{"title":"a","text":"b","__proto__":{"admin":true}}`, 400, 201},
			{"large body", "alice", "POST", "/api/notes", nil, `{"title":"a","text":"` + strings.Repeat("x", 300_000) + `"}`, 413, 201},
			{"huge page", "alice", "GET", "/api/notes?limit=1000000000", nil, "", 400, 200},
			{"repeated parameter", "alice", "GET", "/api/notes?q=a&q=b", nil, "", 400, 200},
			{"undocumented parameter", "alice", "GET", "/api/notes?debug=1", nil, "", 400, 200},
			{"path in other letters", "alice", "GET", "/API/Notes", nil, "", 404, 200},
			{"path with a slash too many", "alice", "GET", "/api/admin/notes/", nil, "", 403, 200},
			{"page of another site", "alice", "GET", "/api/notes", map[string]string{"Origin": "https://evil.example"}, "", 403, 200},
		} {
			t.Run(tt.name, func(t *testing.T) {
				for _, way := range []struct {
					base string
					want int
				}{{d.URL, tt.ringed}, {d.Upstream, tt.bare}} {
					req, err := http.NewRequest(tt.method, way.base+tt.path, strings.NewReader(tt.body))
					if err != nil {
						t.Fatal(err)
					}
					if tt.body != "" {
						req.Header.Set("Content-Type", "application/json")
					}
					for name, v := range tt.headers {
						req.Header[name] = []string{v}
					}
					if tt.who != "" {
						req.Header.Set("Authorization", "Bearer "+d.token(tt.who))
					}
					res, err := d.client.Do(req)
					if err != nil {
						t.Fatal(err)
					}
					res.Body.Close()
					if res.StatusCode != way.want {
						t.Errorf("%s %s%s: %d, want %d", tt.method, way.base, tt.path, res.StatusCode, way.want)
					}
				}
			})
		}
	})
}
