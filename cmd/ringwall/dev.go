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
	"time"

	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/examples/notes/api"
	"github.com/ringwall/ringwall/policy"
)

// devRun says of a serve --dev where it is and with which policy, for
// `ringwall check`. It is in the state directory while the server runs.
type devRun struct {
	URL    string `json:"url"`
	Policy string `json:"policy"`
	state  *devState
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
	if err := d.writeTokens(p); err != nil {
		return err
	}
	go d.renewTokens(ctx, srv)
	return srv.run(ctx, func() {
		at := srv.Addresses()
		run := devRun{URL: "https://" + name(at.HTTPS), Policy: srv.source.file}
		if err := d.writeRun(run); err != nil {
			slog.Warn("ringwall check will not find this server by itself", "error", err)
		}
		_ = d.announce(out, p, run, at.Redirect, ships) // whoever closed the output reads no error either
	})
}

// policyFile is the policy of --dev: the flag's, the folder's, or the one that
// ships with the notes API, which is then started too.
func (d *devState) policyFile(flag string) (file string, ships bool, err error) {
	file = policyPath(flag)
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

// announce says where the server is and what to type next, in one piece.
func (d *devState) announce(w io.Writer, p *policy.Policy, run devRun, redirect string, ships bool) error {
	var b strings.Builder
	behind, path := p.Upstream, "/"
	if ships {
		behind, path = "the notes API on "+behind, "/api/notes"
	}
	fmt.Fprintf(&b, "ready: %s (http://%s redirects to it), in front of %s\n", run.URL, name(redirect), behind)
	fmt.Fprintf(&b, "policy: %s\n", run.Policy)
	if d.cert.Made {
		fmt.Fprintf(&b, "made a local certificate authority, for this machine only: %s\n", d.cert.CA)
	}
	curl := func(who, path, more string) {
		fmt.Fprintf(&b, "  curl --cacert %s -H \"Authorization: Bearer $(cat %s)\"%s %s%s\n", d.cert.CA, d.dir.Path(who+".token"), more, run.URL, path)
	}
	b.WriteString("\nnext:\n")
	curl("alice", path, "")
	if ships {
		curl("alice", path, ` -H 'Content-Type: application/json' -d '{"title":"Milk","text":"two litres"}'`)
		curl("admin", "/api/admin/notes", "")
	}
	fmt.Fprintf(&b, "  %s check %s\n\nCtrl-C stops it.\n", os.Args[0], run.URL)
	_, err := io.WriteString(w, b.String())
	return err
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
