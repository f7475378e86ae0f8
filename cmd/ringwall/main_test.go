package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ringwall/ringwall/internal/porttest"
	"github.com/ringwall/ringwall/internal/quicktest"
)

// patience is how long a test waits for what must come, however busy the machine.
const patience = time.Minute

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"ringwall": main})
}

// TestScripts runs the sessions in testdata. Besides the usual commands:
//
//	start ARGS      runs ringwall with ARGS until it is ready; $URL is where,
//	                its output so far is in the file out, its log in the file log
//	signal NAME     sends INT, TERM, HUP or KILL to it
//	ended CODE      waits for its end and compares the exit code, -1 for a signal
//	fetch STATUS METHOD PATH [TOKENFILE] [BODY]   asks $URL; the answer is stdout
//	signin NAME     signs in with an account of serve --dev; its token is in NAME.token
//	logged TEXT N   waits until its log holds TEXT N times
//	refused         waits until it takes no connection any more
//	exits CODE ...  is exec for a command that ends with CODE
//	dated FILE      puts a day within the year in the place of $UNTIL in FILE
//	notified TEXT   waits until it has told the service manager TEXT
//	hang            starts an API that never answers, on $UPSTREAM
//	request PATH    asks $URL in the background, once the hanging API has it returns
//	taken NAME      takes a port, and puts its address into $NAME
//	from ADDRESS WANT METHOD PATH [BODY]   asks $URL from a loopback address
//	attack ADDRESS PATH ...   asks for each path from a loopback address, and is hung up on
//	site NAME       writes site.pem and site.key for a host, and asks for it from now on as $SITE
func TestScripts(t *testing.T) {
	quicktest.Skip(t, "starts processes")
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup:               setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"start": cmdStart, "signal": cmdSignal, "ended": cmdEnded, "fetch": cmdFetch, "logged": cmdLogged, "signin": cmdSignIn,
			"notified": cmdNotified, "refused": cmdRefused, "exits": cmdExits, "dated": cmdDated, "hang": cmdHang, "request": cmdRequest, "taken": cmdTaken, "site": cmdSite, "from": cmdFrom, "attack": cmdAttack,
		},
	})
}

type sessionKey struct{}

// session is the server of a script.
type session struct {
	cmd     *exec.Cmd     // nil: none runs
	over    chan struct{} // closed when it has ended
	hanging chan struct{}
	manager *net.UnixConn // where a service manager listens
}

func setup(env *testscript.Env) error {
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(env.WorkDir, "manager"), Net: "unixgram"})
	if err != nil {
		return err
	}
	env.Defer(func() { manager.Close() })
	env.Values[sessionKey{}] = &session{hanging: make(chan struct{}, 1), manager: manager}
	env.Setenv("RINGWALL_STATE", filepath.Join(env.WorkDir, "state"))
	env.Setenv("RINGWALL_EDGE_LISTEN", "localhost:0")
	env.Setenv("RINGWALL_EDGE_REDIRECT", "localhost:0")
	env.Setenv("NO_COLOR", "1")
	upstream, err := porttest.Find()
	env.Setenv("UPSTREAM", "http://"+upstream)
	env.Setenv("RINGWALL_UPSTREAM", "http://"+upstream)
	return err
}

func of(ts *testscript.TestScript) *session { return ts.Value(sessionKey{}).(*session) }

func cmdStart(ts *testscript.TestScript, neg bool, args []string) {
	s := of(ts)
	if neg || s.cmd != nil {
		ts.Fatalf("start: one server at a time")
	}
	log, err := os.Create(ts.MkAbs("log"))
	ts.Check(err)
	cmd := exec.Command("ringwall", args...)
	cmd.Dir, cmd.Stderr = ts.MkAbs("."), log
	for _, name := range []string{"PATH", "HOME", "RINGWALL_STATE", "RINGWALL_EDGE_LISTEN", "RINGWALL_EDGE_REDIRECT", "RINGWALL_UPSTREAM",
		"RINGWALL_APP_TIMEOUT", "NOTIFY_SOCKET"} {
		if v := ts.Getenv(name); v != "" {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	stdout, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	log.Close()
	over := make(chan struct{})
	s.cmd, s.over = cmd, over
	ts.Defer(func() {
		_ = cmd.Process.Kill()
		<-over
	})
	ready := make(chan string, 1)
	dev := slices.Contains(args, "--dev")
	go func() {
		url := ""
		out, _ := os.Create(ts.MkAbs("out"))
		defer out.Close()
		for sc := bufio.NewScanner(stdout); sc.Scan(); {
			_, _ = io.WriteString(out, sc.Text()+"\n")
			if line, ok := strings.CutPrefix(sc.Text(), "ready: "); ok {
				url = strings.Fields(line)[0]
			}
			if url != "" && (!dev || strings.HasPrefix(sc.Text(), "Ctrl-C")) { // the last line
				ready <- url
				url = ""
			}
		}
		close(ready)
		_ = cmd.Wait()
		close(over)
	}()
	url := <-ready
	if url == "" {
		ts.Fatalf("the server ended: %s", ts.ReadFile("log"))
	}
	if line := ts.ReadFile("out"); strings.Contains(line, " on ") && !strings.Contains(line, "redirects") {
		// Production prints the site and where it listens.
		_, port, _ := net.SplitHostPort(strings.TrimSpace(line[strings.LastIndex(line, " on ")+4:]))
		url = "https://localhost:" + port
	}
	ts.Setenv("URL", url)
}

func cmdSignal(ts *testscript.TestScript, _ bool, args []string) {
	sig := map[string]os.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP, "KILL": syscall.SIGKILL}[args[0]]
	ts.Check(of(ts).cmd.Process.Signal(sig))
}

func cmdEnded(ts *testscript.TestScript, _ bool, args []string) {
	s := of(ts)
	select {
	case <-s.over:
		if code := strconv.Itoa(s.cmd.ProcessState.ExitCode()); code != args[0] {
			ts.Fatalf("the server ended with %s: %s", code, ts.ReadFile("log"))
		}
	case <-time.After(patience):
		ts.Fatalf("the server does not end")
	}
	s.cmd = nil
}

func client(ts *testscript.TestScript) *http.Client {
	roots := x509.NewCertPool()
	for _, name := range []string{"state/ca.pem", "trusted.pem"} {
		if pem, err := os.ReadFile(ts.MkAbs(name)); err == nil {
			roots.AppendCertsFromPEM(pem)
		}
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: ts.Getenv("SITE")}, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func cmdFetch(ts *testscript.TestScript, _ bool, args []string) {
	body := ""
	if len(args) > 4 {
		body = args[4]
	}
	url := args[2]
	if strings.HasPrefix(url, "/") {
		url = ts.Getenv("URL") + url
	}
	req, err := http.NewRequest(args[1], url, strings.NewReader(body))
	ts.Check(err)
	if site := ts.Getenv("SITE"); site != "" {
		req.Host = site
	}
	if len(args) > 3 && args[3] != "" {
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(ts.ReadFile(args[3])))
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := client(ts).Do(req)
	ts.Check(err)
	defer res.Body.Close()
	_ = res.Header.Write(ts.Stdout())
	_, err = io.Copy(ts.Stdout(), res.Body)
	ts.Check(err)
	if strconv.Itoa(res.StatusCode) != args[0] {
		ts.Fatalf("%s %s was answered %s, want %s", args[1], url, res.Status, args[0])
	}
}

func cmdLogged(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	deadline := time.Now().Add(patience)
	for strings.Count(ts.ReadFile("log"), args[0]) < n {
		if time.Now().After(deadline) {
			ts.Fatalf("the log does not hold %q %d times:\n%s", args[0], n, ts.ReadFile("log"))
		}
		time.Sleep(5 * time.Millisecond) // a file has nothing to wait on
	}
}

func cmdRefused(ts *testscript.TestScript, _ bool, _ []string) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		c, err := net.Dial("tcp", strings.TrimPrefix(ts.Getenv("URL"), "https://"))
		if errors.Is(err, syscall.ECONNREFUSED) {
			return
		}
		if err == nil {
			c.Close()
		}
	}
	ts.Fatalf("the server still listens")
}

func cmdNotified(ts *testscript.TestScript, _ bool, args []string) {
	c := of(ts).manager
	ts.Check(c.SetReadDeadline(time.Now().Add(patience)))
	for buf := make([]byte, 4096); ; {
		n, err := c.Read(buf)
		ts.Check(err)
		if strings.Contains(string(buf[:n]), args[0]) {
			return
		}
	}
}

func cmdExits(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("%v ended with %d, want %s", args[1:], code, args[0])
	}
}

func cmdDated(ts *testscript.TestScript, _ bool, args []string) {
	text := strings.ReplaceAll(ts.ReadFile(args[0]), "$UNTIL", time.Now().AddDate(0, 6, 0).Format(time.DateOnly))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

func cmdHang(ts *testscript.TestScript, _ bool, _ []string) {
	s := of(ts)
	l, err := net.Listen("tcp", strings.TrimPrefix(ts.Getenv("UPSTREAM"), "http://"))
	ts.Check(err)
	srv := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		s.hanging <- struct{}{}
		<-r.Context().Done()
	})}
	go func() { _ = srv.Serve(l) }()
	ts.Defer(func() { srv.Close() })
}

func cmdRequest(ts *testscript.TestScript, _ bool, args []string) {
	req, err := http.NewRequest("GET", ts.Getenv("URL")+args[0], nil)
	ts.Check(err)
	req.Host = ts.Getenv("SITE")
	c := client(ts)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if res, err := c.Do(req.WithContext(ctx)); err == nil {
			res.Body.Close()
		}
	})
	ts.Defer(func() { cancel(); wg.Wait() })
	<-of(ts).hanging
}

func cmdTaken(ts *testscript.TestScript, _ bool, args []string) {
	srv := httptest.NewServer(http.NotFoundHandler())
	ts.Defer(srv.Close)
	ts.Setenv(args[0], srv.Listener.Addr().String())
}

func cmdSite(ts *testscript.TestScript, _ bool, args []string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: args, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	ts.Check(err)
	pk, err := x509.MarshalPKCS8PrivateKey(key)
	ts.Check(err)
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	ts.Check(os.WriteFile(ts.MkAbs("site.pem"), cert, 0o644))
	before, _ := os.ReadFile(ts.MkAbs("trusted.pem"))
	ts.Check(os.WriteFile(ts.MkAbs("trusted.pem"), append(before, cert...), 0o644))
	ts.Check(os.WriteFile(ts.MkAbs("site.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pk}), 0o600))
	ts.Setenv("SITE", args[0])
}
