package e2e

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ringwall/ringwall/internal/porttest"
)

// receiverScript takes webhooks over HTTPS and judges their signatures with Node's own
// cryptography, as Standard Webhooks says. It prints what it took, a line each.
const receiverScript = `
const fs = require("fs"), https = require("https"), crypto = require("crypto");
const [port, dir, key] = process.argv.slice(1);
https.createServer({cert: fs.readFileSync(dir + "/site.pem"), key: fs.readFileSync(dir + "/site.key")}, (req, res) => {
	const parts = [];
	req.on("data", (b) => parts.push(b));
	req.on("end", () => {
		const body = Buffer.concat(parts), h = req.headers;
		const mac = crypto.createHmac("sha256", Buffer.from(key, "base64")).update(h["webhook-id"] + "." + h["webhook-timestamp"] + ".").update(body).digest();
		const [version, got] = (h["webhook-signature"] || "").split(",");
		const is = Buffer.from(got || "", "base64");
		const signed = version === "v1" && is.length === mac.length && crypto.timingSafeEqual(is, mac);
		const fresh = Math.abs(Date.now() / 1000 - Number(h["webhook-timestamp"])) < 300;
		console.log(JSON.stringify({signed, fresh, id: h["webhook-id"], body: JSON.parse(body)}));
		res.statusCode = signed && fresh ? 204 : 401;
		res.end();
	});
}).listen(Number(port), "127.0.0.1", () => console.log("ready"));
`

type webhookTaken struct {
	Signed, Fresh bool
	ID            string
	Body          struct {
		ID      string
		Notices []struct{ Kind, Detail string }
	}
}

// startReceiver runs it until the test ends, and hands on what it takes.
func startReceiver(t *testing.T, port int, dir, key string) chan webhookTaken {
	t.Helper()
	cmd := exec.Command(tool(t, "node"), "-e", receiverScript, fmt.Sprint(port), dir, key)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	taken := make(chan webhookTaken, 100)
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "ready" {
		t.Fatalf("the receiver does not start: %q %v", lines.Text(), lines.Err())
	}
	go func() {
		for lines.Scan() {
			var got webhookTaken
			_ = json.Unmarshal(lines.Bytes(), &got) // what is broken is not signed
			taken <- got
		}
	}()
	return taken
}

// TestDriftReachesAReceiverThatWasDown: a watch tells of drift once the receiver is
// back, signed so that somebody else's cryptography believes it and over HTTPS; a
// single check that could tell nobody says so, and the next one tells.
func TestDriftReachesAReceiverThatWasDown(t *testing.T) {
	tool(t, "node")
	var open atomic.Bool
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !open.Load() {
			w.Header().Set("X-Content-Type-Options", "nosniff")
		}
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path != "/" {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = io.WriteString(w, "{}")
	}))
	defer api.Close()
	for name, watched := range map[string]bool{"watch": true, "single checks": false} {
		t.Run(name, func(t *testing.T) {
			open.Store(false)
			dir, port := t.TempDir(), porttest.Port(t)
			siteCertificate(t, dir, "localhost")
			random := make([]byte, 32)
			_, _ = rand.Read(random)
			key := base64.StdEncoding.EncodeToString(random)
			text := fmt.Sprintf("site: 127.0.0.1\nupstream: http://127.0.0.1:8000\napp: {routes: [{path: /, allow: [anyone]}]}\nwatch: {webhook: \"https://localhost:%d/hook\", events: [check.drifted]}\n", port)
			if err := os.WriteFile(filepath.Join(dir, "ringwall.yaml"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			look := func(args ...string) (*exec.Cmd, *output) {
				cmd := exec.Command(binary, append([]string{"check", api.URL, "--only", "app/nosniff", "--fail-on", "never", "--baseline", "last.json"}, args...)...)
				cmd.Dir = dir
				cmd.Env = append(os.Environ(), "RINGWALL_STATE="+filepath.Join(dir, "state"), "RINGWALL_WATCH_WEBHOOK_KEY="+key, "SSL_CERT_FILE="+filepath.Join(dir, "ca.pem"))
				errs := newOutput("")
				cmd.Stdout, cmd.Stderr = io.Discard, errs
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				return cmd, errs
			}
			once := func() string {
				cmd, errs := look()
				if err := cmd.Wait(); err != nil {
					t.Fatalf("%v\n%s", err, errs)
				}
				return errs.String()
			}
			once() // the baseline
			open.Store(true)
			if watched {
				cmd, errs := look("--watch", "1m")
				defer func() {
					_ = cmd.Process.Signal(syscall.SIGTERM)
					_ = cmd.Wait()
				}()
				for end := time.Now().Add(patience); !strings.Contains(errs.String(), "notice.failed"); time.Sleep(50 * time.Millisecond) {
					if time.Now().After(end) {
						t.Fatalf("nothing says that the receiver is down\n%s", errs)
					}
				}
			} else {
				before, err := os.ReadFile(filepath.Join(dir, "last.json"))
				if err != nil {
					t.Fatal(err)
				}
				said := once()
				for _, want := range []string{"events could not be told", "connection refused", "the next check tells of it again"} {
					if !strings.Contains(said, want) {
						t.Errorf("of the loss it says nothing of %q\n%s", want, said)
					}
				}
				if after, err := os.ReadFile(filepath.Join(dir, "last.json")); err != nil || !bytes.Equal(before, after) {
					t.Errorf("nobody was told, and the baseline has moved: %v", err)
				}
			}
			taken := startReceiver(t, port, dir, key)
			if !watched {
				if said := once(); strings.Contains(said, "could not be told") {
					t.Errorf("the receiver is back:\n%s", said)
				}
			}
			select {
			case got := <-taken:
				if n := got.Body.Notices; !got.Signed || !got.Fresh || got.ID == "" || got.Body.ID != got.ID || len(n) != 1 || n[0].Kind != "check.drifted" || !strings.Contains(n[0].Detail, "app/nosniff") {
					t.Errorf("the receiver took %+v", got)
				}
			case <-time.After(2 * patience):
				t.Fatal("the receiver is told nothing")
			}
			if !watched {
				if said := once(); strings.Contains(said, "drifted") || len(taken) > 0 {
					t.Errorf("it is told twice:\n%s", said)
				}
			}
		})
	}
}
