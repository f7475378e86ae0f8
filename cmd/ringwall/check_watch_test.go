package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
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

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/internal/quicktest"
	"github.com/ringwall/ringwall/policy"
)

// reports hands on what each round prints.
type reports chan string

func (r reports) Write(b []byte) (int, error) {
	r <- string(b)
	return len(b), nil
}

// until waits for a report with some words in it.
func (r reports) until(t *testing.T, words string) {
	t.Helper()
	for end := time.After(patience); ; {
		select {
		case text := <-r:
			if strings.Contains(text, words) {
				return
			}
		case <-end:
			t.Fatalf("no report says %q", words)
		}
	}
}

// TestDriftIsTold takes a control away from a target that is looked at again and
// again, gives it back, and then stops the target.
func TestDriftIsTold(t *testing.T) {
	var open atomic.Bool
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !open.Load() {
			w.Header().Set("X-Content-Type-Options", "nosniff")
		}
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path != "/" {
			w.WriteHeader(http.StatusNotFound)
		}
		io.WriteString(w, "{}")
	}))
	defer s.Close()
	dir := t.TempDir()
	p, err := policy.Parse(filepath.Join(dir, "ringwall.yaml"), []byte(`site: 127.0.0.1
upstream: http://127.0.0.1:8000
app: {routes: [{path: /, allow: [anyone]}]}
identity: {mail: {folder: mails}}
watch: {mail: [ops@example.com], events: [check.drifted]}
`), policy.LoadOptions{Dev: true, Environ: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	mails := func() (text string) {
		_ = filepath.WalkDir(filepath.Join(dir, "mails"), func(path string, e os.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				b, _ := os.ReadFile(path)
				text += string(b)
			}
			return nil
		})
		return text
	}
	f := checkFlags{format: "text", failOn: "fail", only: []string{"app/nosniff"}, maxRequests: 400, timeout: time.Minute, watch: 50 * time.Millisecond}
	at := &target{url: s.URL, policy: p, held: true, tls: &tls.Config{RootCAs: s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}, tokens: map[string]string{}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, done := make(reports, 1000), make(chan error, 1)
	go func() { done <- watchChecks(ctx, out, f, at) }()

	out.until(t, "1 pass, 0 fail")
	if text := mails(); text != "" {
		t.Errorf("nothing has changed, and somebody was told:\n%s", text)
	}
	open.Store(true)
	out.until(t, "0 pass, 1 fail")
	for end := time.Now().Add(patience); mails() == "" && time.Now().Before(end); {
		out.until(t, "0 pass, 1 fail")
	}
	if text := mails(); strings.Count(text, "- check.drifted") != 1 || !strings.Contains(text, "app/nosniff") {
		t.Errorf("the mails say:\n%s", text)
	}
	out.until(t, "0 pass, 1 fail") // no news
	open.Store(false)
	out.until(t, "1 pass, 0 fail")
	if n := strings.Count(mails(), "- check.drifted"); n != 1 {
		t.Errorf("%d events after the control came back, want the one", n)
	}
	s.Close()
	out.until(t, "0 pass, 0 fail, 1 unknown")
	cancel() // the second mail waits for watch.digest, or for the end
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("it does not end")
	}
	if n := strings.Count(mails(), "- check.drifted"); n != 2 {
		t.Errorf("%d events once the target is down, want two", n)
	}
}

// TestWatchGoesOn: who watches does not end when for a while nothing can be written.
func TestWatchGoesOn(t *testing.T) {
	var rounds atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rounds.Add(1)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.WriteHeader(http.StatusNotFound)
	}))
	defer s.Close()
	dir := t.TempDir()
	files, gone := filepath.Join(dir, "files"), filepath.Join(dir, "gone")
	out, last := filepath.Join(files, "out.json"), filepath.Join(files, "last.json")
	if err := os.Mkdir(files, 0o700); err != nil {
		t.Fatal(err)
	}
	f := checkFlags{out: []string{out}, baseline: last, failOn: "fail", only: []string{"outside/nosniff"}, maxRequests: 400, timeout: time.Minute, watch: 50 * time.Millisecond}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- watchChecks(ctx, io.Discard, f, &target{url: s.URL, policy: policy.Default()}) }()
	until := func(what string, is func() bool) {
		t.Helper()
		for end := time.Now().Add(patience); !is(); time.Sleep(20 * time.Millisecond) {
			select {
			case err := <-done:
				t.Fatalf("%s: it ended: %v", what, err)
			default:
			}
			if time.Now().After(end) {
				t.Fatalf("%s: not within %v", what, patience)
			}
		}
	}
	there := func() bool {
		_, err := os.Stat(out)
		_, lerr := os.Stat(last)
		return err == nil && lerr == nil
	}
	until("the first files", there)
	if err := os.Rename(files, gone); err != nil {
		t.Fatal(err)
	}
	was := rounds.Load()
	until("two rounds without a folder", func() bool { return rounds.Load() > was+2 })
	if err := os.Mkdir(files, 0o700); err != nil {
		t.Fatal(err)
	}
	until("the files after that", there)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// baselineOf writes a report as --baseline has it.
func baselineOf(t *testing.T, r check.Report) (file string, text []byte) {
	t.Helper()
	var b bytes.Buffer
	if err := r.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "baseline.json")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, b.Bytes()
}

// TestEndedCheckMovesNoBaseline: what a check could not see when it was ended is no
// drift, and what it saw is told by the next one.
func TestEndedCheckMovesNoBaseline(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { cancel() }))
	defer s.Close()
	was := check.Report{Target: s.URL, Results: []check.Result{{Meta: check.Meta{ID: "outside/nosniff", Title: "x"}, Finding: check.Passed("there")}}}
	file, before := baselineOf(t, was)
	f := checkFlags{format: "text", failOn: "fail", only: []string{"outside/nosniff"}, maxRequests: 400, timeout: time.Minute, baseline: file}
	if err := watchChecks(ctx, io.Discard, f, &target{url: s.URL, policy: policy.Default()}); err != nil {
		t.Error(err)
	}
	if now, rerr := os.ReadFile(file); rerr != nil || !bytes.Equal(now, before) {
		t.Errorf("the baseline is another: %v\n%s", rerr, now)
	}
}

// TestOnlyMovesItsOwnPartOfTheBaseline: what --only leaves out was not looked at, which
// is no drift, and is there for the next check.
func TestOnlyMovesItsOwnPartOfTheBaseline(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.WriteHeader(http.StatusNotFound)
	}))
	defer s.Close()
	was := check.Report{Target: s.URL, Results: []check.Result{
		{Meta: check.Meta{ID: "outside/nosniff", Title: "x"}, Finding: check.Passed("there")},
		{Meta: check.Meta{ID: "outside/frames", Title: "y"}, Finding: check.Passed("there, too")},
	}}
	file, _ := baselineOf(t, was)
	f := checkFlags{format: "text", failOn: "fail", only: []string{"outside/nosniff"}, maxRequests: 400, timeout: time.Minute, baseline: file}
	if err := watchChecks(t.Context(), io.Discard, f, &target{url: s.URL, policy: policy.Default()}); err != nil {
		t.Error(err)
	}
	now, err := readReport(file)
	if err != nil || len(now.Results) != 2 || now.Results[1].ID != "outside/frames" || now.Results[1].Got != "there, too" {
		t.Errorf("%v: %+v", err, now.Results)
	}
}

// TestUntoldDriftMovesNoBaseline: however a watch ends while the receiver of its
// events is down, the next one finds the same drift, and tells of it.
func TestUntoldDriftMovesNoBaseline(t *testing.T) {
	quicktest.Skip(t, "starts processes")
	target := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			w.WriteHeader(http.StatusNotFound) // without nosniff
		}
	}))
	defer target.Close()
	var up atomic.Bool
	asked, told := make(chan bool, 1000), make(chan string, 1000)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if !up.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			asked <- true
			return
		}
		told <- string(body)
	}))
	defer receiver.Close()
	dir := t.TempDir()
	baseline := filepath.Join(dir, "baseline.json")
	was := check.Report{Target: target.URL, Results: []check.Result{{Meta: check.Meta{ID: "app/nosniff", Title: "x"}, Finding: check.Passed("there")}}}
	var before bytes.Buffer
	if err := was.WriteJSON(&before); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"baseline.json": before.String(),
		"ca.pem":        string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: target.Certificate().Raw})),
		"ringwall.yaml": fmt.Sprintf(`site: 127.0.0.1
upstream: http://127.0.0.1:8000
app: {routes: [{path: /, allow: [anyone]}]}
watch: {webhook: "%s", events: [check.drifted]}
`, receiver.URL),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	start := func() (*exec.Cmd, *bytes.Buffer) {
		cmd, log := exec.Command("ringwall", "check", target.URL, "--cacert", "ca.pem", "--only", "app/nosniff", "--watch", "1h", "--baseline", baseline), new(bytes.Buffer)
		cmd.Dir, cmd.Stderr = dir, log
		cmd.Env = append(os.Environ(), "RINGWALL_STATE="+filepath.Join(dir, "state"))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		return cmd, log
	}
	moved := func() bool {
		now, err := os.ReadFile(baseline)
		return err != nil || !bytes.Equal(now, before.Bytes())
	}
	for name, signal := range map[string]os.Signal{"killed": syscall.SIGKILL, "ended": syscall.SIGTERM} {
		cmd, log := start()
		select {
		case <-asked:
		case <-time.After(patience):
			t.Fatalf("%s: nobody tells the receiver\n%s", name, log)
		}
		if moved() {
			t.Errorf("%s: the baseline is another before anybody was told", name)
		}
		_ = cmd.Process.Signal(signal)
		_ = cmd.Wait()
		if moved() {
			t.Errorf("%s: the baseline is another, and nobody was told\n%s", name, log)
		}
		for len(asked) > 0 {
			<-asked
		}
	}
	up.Store(true)
	_, log := start()
	select {
	case body := <-told:
		if !strings.Contains(body, "app/nosniff: pass -\\u003e fail") && !strings.Contains(body, "app/nosniff: pass -> fail") {
			t.Errorf("the receiver was told:\n%s", body)
		}
	case <-time.After(patience):
		t.Fatalf("the receiver is up, and was not told\n%s", log)
	}
	for end := time.Now().Add(patience); !moved(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("all was told, and the baseline stays\n%s", log)
		}
	}
}
