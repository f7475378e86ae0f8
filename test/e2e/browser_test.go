package e2e

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/examples/notes/api"
)

// page tries what a page of its origin may do to the API, and posts what came
// of it to the server that it came from.
const page = `<!doctype html><meta charset=utf-8><title>tries</title><script>
const api = "{{API}}", token = "{{TOKEN}}";
const auth = {Authorization: "Bearer " + token};
const json = {...auth, "Content-Type": "application/json"};
const note = JSON.stringify({title: "{{ORIGIN}}", text: "from a page"});
const tries = {
  "read":          [ "/api/notes", {headers: auth} ],
  "create":        [ "/api/notes", {method: "POST", headers: json, body: note} ],
  "change":        [ "/api/notes/1", {method: "PUT", headers: json, body: note} ],
  "delete":        [ "/api/notes/1", {method: "DELETE", headers: auth} ],
  "public":        [ "/api/public/status", {} ],
  "refusal":       [ "/api/admin/notes", {headers: auth} ],
  "plain text":    [ "/api/notes", {method: "POST", headers: {"Content-Type": "text/plain"}, body: note} ],
  "odd header":    [ "/api/notes", {headers: {...auth, "X-Odd": "1"}} ],
  "odd method":    [ "/api/notes", {method: "PROPFIND", headers: auth} ],
  "not found":     [ "/api/nothing", {headers: auth} ],
  "bad path":      [ "/api/%2fnotes", {headers: auth} ],
};
async function attempt([path, init]) {
  try {
    const res = await fetch(api + path, {credentials: "include", ...init});
    await res.text();
    return res.status + (res.headers.get("RateLimit") && res.headers.get("X-Request-Id") ? "" : " without exposed headers") +
      (res.headers.get("Strict-Transport-Security") ? " with hidden headers" : "");
  } catch (e) {
    return e.name;
  }
}
(async () => {
  const seen = {};
  for (const name in tries) seen[name] = await attempt(tries[name]);
  // A sandboxed frame has the origin null.
  const frame = document.createElement("iframe");
  frame.sandbox = "allow-scripts";
  frame.srcdoc = "<script>fetch('" + api + "/api/public/status').then(r => r.status + '', e => e.name).then(s => parent.postMessage(s, '*'))</" + "script>";
  const framed = new Promise(done => addEventListener("message", e => done(e.data)));
  document.documentElement.append(frame);
  seen["null origin"] = await framed;
  await fetch("/result", {method: "POST", body: JSON.stringify(seen)});
})();
</script>`

// browse serves the page at an origin of its own and returns what a real
// browser reports from it.
func (d *deployment) browse(t *testing.T, chromium string, s *httptest.Server, results <-chan map[string]string, origin string) map[string]string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(d.state, "localhost.pem"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	pin := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	profile := t.TempDir()
	cmd := exec.Command(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--user-data-dir="+profile,
		"--ignore-certificate-errors-spki-list="+base64.StdEncoding.EncodeToString(pin[:]), "--remote-debugging-port=0", origin+"/")
	cmd.Env = append(os.Environ(), "HOME="+profile)
	log := newOutput("")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exited) }()
	defer func() {
		_ = cmd.Process.Kill()
		<-exited
	}()
	select {
	case got := <-results:
		return got
	case <-exited:
		t.Fatalf("chromium ended: %v\n%s", cmd.ProcessState, log)
	case <-time.After(2 * patience):
		t.Fatalf("no result from the page within %v\n%s\n%s", 2*patience, log, d.stderr)
	}
	return nil
}

// TestBrowser: the origin on the list may use the API, and no other origin
// gets a single byte or changes anything. The oracle is a real browser.
func TestBrowser(t *testing.T) {
	chromium := tool(t, "chromium", "chromium-browser", "google-chrome")
	d := deploy(t)

	results := make(chan map[string]string, 1)
	var token string
	pages := http.NewServeMux()
	pages.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = strings.NewReplacer("{{API}}", d.URL, "{{TOKEN}}", token, "{{ORIGIN}}", r.Host).WriteString(w, page)
	})
	pages.HandleFunc("POST /result", func(w http.ResponseWriter, r *http.Request) {
		var seen map[string]string
		if err := json.NewDecoder(r.Body).Decode(&seen); err != nil {
			t.Error(err)
		}
		results <- seen
	})
	s := httptest.NewServer(pages)
	defer s.Close()
	other := httptest.NewServer(pages)
	defer other.Close()
	// The same server by name and by address: two sites, of which one is listed.
	_, port, _ := strings.Cut(strings.TrimPrefix(s.URL, "http://"), ":")
	allowed := "http://localhost:" + port

	notes, err := api.Open(filepath.Join(t.TempDir(), "notes.db"), api.FromHeader)
	if err != nil {
		t.Fatal(err)
	}
	defer notes.Close()
	d.upstream(notes, strings.ReplaceAll(strings.ReplaceAll(string(api.Policy), "https://app.example.com", allowed), "  schema: openapi.yaml\n", ""))
	d.start()
	token = d.token("alice")
	for range 2 {
		if a := d.call("alice", "POST", "/api/notes", `{"title":"seed","text":""}`); a.Status != 201 {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
	}

	t.Run("allowed", func(t *testing.T) {
		got := d.browse(t, chromium, s, results, allowed)
		for name, want := range map[string]string{
			"read": "200", "create": "201", "change": "200", "delete": "204", "public": "200", "refusal": "403", "plain text": "415",
			"odd header": "TypeError", "odd method": "TypeError", "not found": "404", "bad path": "TypeError", "null origin": "TypeError",
		} {
			if status, note, _ := strings.Cut(got[name], " "); status != want || note != "" && want < "400" {
				t.Errorf("%s: %q, want %s", name, got[name], want)
			}
		}
	})
	before := d.call("alice", "GET", "/api/notes", "").Body
	for name, origin := range map[string]string{"other site": s.URL, "other port": strings.Replace(other.URL, "127.0.0.1", "localhost", 1)} {
		t.Run(name, func(t *testing.T) {
			got := d.browse(t, chromium, s, results, origin)
			if len(got) != 12 {
				t.Errorf("%d tries, want 12: %v", len(got), got)
			}
			for try, outcome := range got {
				if outcome != "TypeError" {
					t.Errorf("%s: %q, want TypeError: nothing may be read", try, outcome)
				}
			}
		})
	}
	if after := d.call("alice", "GET", "/api/notes", "").Body; string(after) != string(before) {
		t.Errorf("pages of other origins changed the notes:\n%s\n%s", before, after)
	}
}
