package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/examples/notes/api"
	"github.com/ringwall/ringwall/policy"
)

// devRun says of a serve --dev where it is and with which policy, for
// `ringwall check`. It is in the state directory while the server runs.
type devRun struct {
	URL      string `json:"url"`
	Redirect string `json:"redirect"` // address of the plain listener; "": none
	Policy   string `json:"policy"`
	state    *devState
}

const devRunFile = "dev.json"

// devSource opens the state directory for --dev, makes what is missing in it,
// and finds the policy. ships says that it is the one of the notes API.
func devSource(flag string) (src source, ships bool, err error) {
	d, err := openDev()
	if err != nil {
		return src, false, err
	}
	file, ships, err := d.policyFile(flag)
	return source{file: file, dev: d}, ships, err
}

func openDev() (*devState, error) {
	dir, err := openState()
	if err != nil {
		return nil, err
	}
	cert, err := edge.EnsureDevCert(dir, time.Now())
	return &devState{dir, cert}, err
}

// serveDev runs the server, with the notes API behind when their policy is in
// force, and with tokens to try it with.
func serveDev(ctx context.Context, out io.Writer, srv *server, ships bool) error {
	d, p := srv.source.dev, srv.Policy()
	if ships {
		stop, err := d.startNotes(p)
		if err != nil {
			return explainListen(err)
		}
		defer stop()
	}
	if srv.accounts == nil {
		if err := d.writeTokens(p); err != nil {
			return err
		}
		go d.renewTokens(ctx, srv)
	}
	var background sync.WaitGroup // before the store closes
	defer background.Wait()
	return srv.run(ctx, func() {
		at := srv.Addresses()
		run := devRun{URL: "https://" + name(at.HTTPS), Redirect: at.Redirect, Policy: srv.source.file}
		if err := d.writeRun(run); err != nil {
			slog.Warn("ringwall check will not find this server by itself", "error", err)
		}
		_ = d.announce(out, p, run, at.Redirect, ships) // whoever closed the output reads no error either
		if srv.accounts != nil {
			background.Go(func() { d.serveAccounts(ctx, out, srv) })
		}
	})
}

// policyFile is the policy of --dev: the flag's, the folder's, or the one that
// ships with the notes API, which is then started too.
func (d *devState) policyFile(flag string) (file string, ships bool, err error) {
	file = policyPathOr(flag, policyFile) // never the service's
	if _, err := os.Stat(file); flag != "" || os.Getenv("RINGWALL_POLICY") != "" || !errors.Is(err, fs.ErrNotExist) {
		file, err := filepath.Abs(file)
		return file, false, err
	}
	if err := os.MkdirAll(d.dir.Path("notes"), 0o700); err != nil {
		return "", false, err
	}
	for name, content := range map[string][]byte{"ringwall.yaml": api.Policy, "openapi.yaml": api.Schema} {
		if err := d.dir.Write(filepath.Join("notes", name), content, 0o600); err != nil {
			return "", false, err
		}
	}
	return d.dir.Path(filepath.Join("notes", policyFile)), true, nil
}

// startNotes serves the notes API, without any protection of its own, where
// the policy says that the upstream is. Its notes are kept.
func (d *devState) startNotes(p *policy.Policy) (stop func(), err error) {
	u, err := url.Parse(p.Upstream)
	if err != nil || u.Scheme != "http" {
		return nil, p.Errorf("upstream", "write http://127.0.0.1:8000", "the notes API listens on a loopback port only")
	}
	l, err := net.Listen("tcp", u.Host)
	if err != nil {
		return nil, p.Errorf("upstream", "", "the notes API: %w", err)
	}
	notes, err := api.Open(d.dir.Path("notes.db"), api.FromHeader)
	if err != nil {
		l.Close()
		return nil, err
	}
	srv := &http.Server{Handler: notes, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = srv.Serve(l) }()
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if srv.Shutdown(ctx) != nil {
			srv.Close()
		}
		_ = notes.Close()
	}, nil
}

// serveAccounts makes the accounts to try the API with. They are hashed only
// now, so that nobody waits for it who just wants to see the server run.
func (d *devState) serveAccounts(ctx context.Context, out io.Writer, srv *server) {
	names, err := d.makeAccounts(ctx, srv.Policy(), srv.accounts.Accounts())
	if err != nil {
		if ctx.Err() == nil {
			slog.Warn("the accounts to try the API with are not there", "error", err)
		}
		return
	}
	fmt.Fprintf(out, "accounts to sign in with: %s, in %s\n", strings.Join(names, ", "), d.dir.Path("accounts"))
}

// name shows a loopback address by the name that the certificate is for.
func name(addr string) string {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return net.JoinHostPort("localhost", port)
}

func (d *devState) writeRun(run devRun) error {
	b, err := json.Marshal(run)
	if err != nil {
		return err
	}
	return d.dir.Write(devRunFile, b, 0o600)
}

// runningDev finds the serve --dev of this user at a URL, any of its names, or
// nil. An empty URL stands for it, too, where this folder has no policy.
func runningDev(at string) *devRun {
	dir, err := openState()
	if err != nil {
		return nil
	}
	var run devRun
	b, err := os.ReadFile(dir.Path(devRunFile))
	if err != nil || json.Unmarshal(b, &run) != nil {
		return nil
	}
	have, err1 := url.Parse(run.URL)
	want, err2 := url.Parse(at)
	if err1 != nil || err2 != nil || want.Scheme != "https" || want.Port() != have.Port() {
		return nil
	}
	if h := strings.ToLower(want.Hostname()); h != "localhost" && !net.ParseIP(h).IsLoopback() {
		return nil
	}
	if run.state, err = openDev(); err != nil {
		return nil
	}
	return &run
}
