package main

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/audit/chain"
	"github.com/ringwall/ringwall/internal/quicktest"
	"github.com/ringwall/ringwall/store/sqlitestore"
)

// TestAuditScripts runs the sessions in testdata/audit. They begin with a chain
// of four events in ringwall.db. Besides the commands of TestScripts:
//
//	sql STATEMENT   changes the store behind ringwall's back
func TestAuditScripts(t *testing.T) {
	quicktest.Skip(t, "starts processes")
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/audit",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("NO_COLOR", "1")
			env.Setenv("RINGWALL_IDENTITY_TOKEN_KEY", newTokenKey())
			return writeChain(filepath.Join(env.WorkDir, "ringwall.db"), filepath.Join(env.WorkDir, "server.log"))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": cmdExits,
			"sql": func(ts *testscript.TestScript, _ bool, args []string) {
				db, err := sql.Open("sqlite", ts.MkAbs("ringwall.db"))
				ts.Check(err)
				defer db.Close()
				_, err = db.Exec(args[0])
				ts.Check(err)
			},
		},
	})
}

func writeChain(file, log string) error {
	out, err := os.Create(log)
	if err != nil {
		return err
	}
	defer out.Close()
	st, err := sqlitestore.Open(context.Background(), file)
	if err != nil {
		return err
	}
	defer st.Close()
	s := chain.New(st, slog.New(audit.NewHandler(out, slog.LevelInfo)))
	for i, e := range []audit.Event{
		{Kind: audit.ServerStarted, Outcome: audit.Success},
		{Kind: audit.AuthFailed, Outcome: audit.Failure, Client: netip.MustParseAddr("192.0.2.1"), Method: "POST", Path: "/api/auth/login", Status: 401, Detail: "\x1b[2J \u202e"},
		{Kind: audit.RolesChanged, Outcome: audit.Success, Subject: "=1+1"},
		{Kind: audit.ServerStopped, Outcome: audit.Success},
	} {
		e.Time = time.Date(2026, 7, 28+i, 12, 0, 0, 0, time.UTC)
		s.Record(e)
	}
	if err := s.Close(context.Background()); err != nil {
		return fmt.Errorf("fill the chain: %w", err)
	}
	return nil
}

// tail -f prints what comes while it runs, and ends well with Ctrl-C.
func TestAuditFollow(t *testing.T) {
	quicktest.Skip(t, "starts processes")
	dir := t.TempDir()
	t.Setenv("RINGWALL_IDENTITY_TOKEN_KEY", newTokenKey())
	if err := writeChain(filepath.Join(dir, "ringwall.db"), filepath.Join(dir, "log")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ringwall.yaml"), []byte("site: api.example.com\nupstream: http://127.0.0.1:8000\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("ringwall", "audit", "tail", "-f", "-n", "1")
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	lines := bufio.NewScanner(out)
	expect := func(want string) {
		t.Helper()
		if !lines.Scan() || !strings.HasPrefix(lines.Text(), want) {
			t.Fatalf("got %q, want %s…", lines.Text(), want)
		}
	}
	expect("4 2026-07-31T12:00:00.000000Z server.stopped")
	if err := writeChain(filepath.Join(dir, "ringwall.db"), filepath.Join(dir, "log")); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"5 ", "6 ", "7 ", "8 "} {
		expect(want)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if lines.Scan() {
		t.Errorf("it goes on with %q", lines.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
