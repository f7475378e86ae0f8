package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ringwall/ringwall/internal/postgrestest"
	"github.com/ringwall/ringwall/internal/quicktest"
	"github.com/ringwall/ringwall/policy"
)

// TestStoreScripts runs the sessions in testdata/store, with an empty database
// of a real PostgreSQL at $POSTGRES. Besides the usual commands:
//
//	exits CODE ...   as in TestScripts
//	next             runs what the command before said is to be typed next
//	samesums FILE    compares the lines on tables of the last output with those in FILE
func TestStoreScripts(t *testing.T) {
	quicktest.Skip(t, "starts processes")
	postgrestest.Skip(t)
	srv, err := postgrestest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Stop)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/store",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("NO_COLOR", "1")
			env.Setenv("RINGWALL_STORE_PASSWORD", srv.Password)
			env.Setenv("PGPASSWORD", srv.Password)
			env.Setenv("POSTGRES", srv.URL(srv.Database(t)))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": cmdExits,
			"next": func(ts *testscript.TestScript, _ bool, _ []string) {
				_, command, _ := strings.Cut(ts.ReadFile("stderr"), "next: ")
				command = strings.TrimPrefix(command, "with ringwall serve stopped:\n")
				cmd := exec.Command("sh", "-e", "-c", command)
				cmd.Dir, cmd.Env = ts.MkAbs("."), append(os.Environ(), "PGPASSWORD="+srv.Password)
				if out, err := cmd.CombinedOutput(); err != nil || command == "" {
					ts.Fatalf("%s: %v\n%s", command, err, out)
				}
			},
			"samesums": func(ts *testscript.TestScript, _ bool, args []string) {
				lines := regexp.MustCompile(`(?m)^  \w+ +\d+ rows  sha256 \w+$`)
				got, want := lines.FindAllString(ts.ReadFile("stdout"), -1), lines.FindAllString(ts.ReadFile(args[0]), -1)
				if len(want) != 5 || strings.Join(got, "\n") != strings.Join(want, "\n") {
					ts.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
			},
		},
	})
}

// A store that was emptied is not taken for a new one.
func TestEmptiedStore(t *testing.T) {
	dir := t.TempDir()
	p := policy.Default()
	p.Store, p.Identity.Keys = "sqlite:"+filepath.Join(dir, "ringwall.db"), filepath.Join(dir, "keys.json")
	file, _ := storeFile(p)
	opens := func() error {
		st, err := openStore(t.Context(), p)
		if err == nil {
			err = st.Close()
		}
		return err
	}
	write := func(name string) {
		t.Helper()
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(file)
	if err := opens(); err != nil {
		t.Errorf("begun, and killed: %v", err)
	}
	write(p.Identity.Keys)
	if err := opens(); err != nil {
		t.Error(err)
	}
	write(file)
	if err := opens(); err == nil || !strings.Contains(err.Error(), file+" is empty") || !strings.Contains(err.Error(), "ringwall store restore --force FILE") {
		t.Errorf("emptied: %v", err)
	}
	if _, err := openFile(t.Context(), p); err == nil || !strings.Contains(err.Error(), "is empty") {
		t.Errorf("emptied, for a backup: %v", err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := opens(); err != nil {
		t.Errorf("removed: %v", err)
	}
}
