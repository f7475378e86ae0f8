package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestChecksSendWhatTheySay makes every check of a real server by itself, and
// holds the connections that it opened to what it said first.
func TestChecksSendWhatTheySay(t *testing.T) {
	if testing.Short() {
		t.Skip("it makes every check by itself")
	}
	d := deploy(t)
	d.start()
	_, most, all := d.look()
	if len(all.Results) < 50 || all.Requests > most {
		t.Fatalf("%d checks with %d requests", len(all.Results), all.Requests)
	}
	for _, c := range all.Results {
		if strings.Contains(c.Got, "--max-requests") {
			t.Errorf("the default is not enough for %s: %s", c.ID, c.Got)
		}
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, 4)
	for _, c := range all.Results {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			said, most, r := d.look("--only", c.ID)
			if len(r.Results) != 1 || r.Results[0].Verdict == "unknown" { // tried twice
				t.Logf("%s was not seen: %+v", c.ID, r.Results)
				said = most
			}
			if r.Requests > said {
				t.Errorf("%s says at most %d requests, and sent %d", c.ID, said, r.Requests)
			}
		})
	}
	wg.Wait()
}

// TestRareChecksSendWhatTheySay does so of those that wait for more than serve --dev
// has: root on the server, a policy that names contacts and few connections,
// --intrusive, and an API in a process of its own.
func TestRareChecksSendWhatTheySay(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("root alone sees what reaches the API")
	}
	d := deploy(t)
	const api = `require("http").createServer((q, r) => { q.resume(); r.setHeader("Content-Type", "application/json"); r.end("{}"); }).listen(Number(process.argv[1]), "127.0.0.1", () => console.log("ready"))`
	upstream := exec.Command(tool(t, "node"), "-e", api, d.Upstream[strings.LastIndex(d.Upstream, ":")+1:])
	out := newOutput("ready")
	upstream.Stdout, upstream.Stderr = out, out
	if err := upstream.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = upstream.Process.Kill()
		_ = upstream.Wait()
	})
	select {
	case <-out.seen:
	case <-time.After(patience):
		t.Fatalf("the API does not start\n%s", out)
	}
	dir := t.TempDir()
	for _, name := range []string{"ringwall.yaml", "openapi.yaml"} {
		b, err := os.ReadFile(filepath.Join("../../examples/notes/api", name))
		if err != nil {
			t.Fatal(err)
		}
		if name == "ringwall.yaml" {
			b = append(b, "edge: {connections: 7, max_connections: 30, timeouts: {read: 3s}, security_txt: {contact: [\"mailto:security@example.com\"]}, bans: {threshold: 150}}\n"...)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d.policy = filepath.Join(dir, "ringwall.yaml")
	d.start()
	d.account("admin") // they are made by now
	for _, id := range []string{"edge/forwarded", "edge/upstream-timeouts", "edge/max-connections", "edge/connections", "edge/security-txt", "edge/bans", "app/rate", "app/authorization"} {
		said, _, r := d.look("--intrusive", "--only", id)
		switch {
		case len(r.Results) != 1 || r.Results[0].Verdict != "pass":
			t.Errorf("%s: %+v", id, r.Results)
		case r.Requests > said || said > 3*r.Requests+6:
			t.Errorf("%s says at most %d requests, and sent %d", id, said, r.Requests)
		}
		t.Logf("%s: said %d, sent %d", id, said, r.Requests)
	}
}

var announced = regexp.MustCompile(`(?s)^\d+ checks? of \S+: at most (\d+) requests(?:, or (\d+) with second looks| \(\d+ in the worst case[^)]*\))?\n.*?sent (\d+) requests? in `)

// look checks the deployment, and returns what was said first.
func (d *deployment) look(args ...string) (said, most int, r checkReport) {
	t := d.t
	t.Helper()
	cmd := exec.Command(binary, append([]string{"check", d.URL, "--format", "json", "--fail-on", "never"}, args...)...)
	cmd.Dir, cmd.Env = d.state, d.environ()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Errorf("%v: %v\n%s", args, err, errs.String())
		return 0, 0, r
	}
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Errorf("%v: %v", args, err)
	}
	m := announced.FindStringSubmatch(errs.String())
	if m == nil {
		t.Errorf("%v: %s", args, errs.String())
		return 0, 0, r
	}
	said, _ = strconv.Atoi(m[1])
	if most, _ = strconv.Atoi(m[2]); m[2] == "" {
		most = said
	}
	if most > 400 || most < said || m[3] != strconv.Itoa(r.Requests) {
		t.Errorf("%v: %d sent: %s", args, r.Requests, errs.String())
	}
	return said, most, r
}

type checkReport struct {
	Requests int
	Results  []struct{ ID, Verdict, Got string }
}
