package main

import (
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ringwall/ringwall/identity"
	"github.com/ringwall/ringwall/internal/quicktest"
	"github.com/ringwall/ringwall/store/sqlitestore"
)

// TestKeyScripts runs the sessions in testdata/key, in folders with a key file
// and a store as a server leaves them. $ACTIVE and $NEXT are its keys.
func TestKeyScripts(t *testing.T) {
	quicktest.Skip(t, "starts processes")
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/key",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("NO_COLOR", "1")
			ring, err := identity.OpenKeyRing(filepath.Join(env.WorkDir, "secrets", "identity_keys.json"), nil)
			if err != nil {
				return err
			}
			for _, k := range ring.List() {
				switch k.State {
				case identity.KeyActive:
					env.Setenv("ACTIVE", k.ID)
				case identity.KeyNext:
					env.Setenv("NEXT", k.ID)
				}
			}
			st, err := sqlitestore.Open(t.Context(), filepath.Join(env.WorkDir, "ringwall.db"))
			if err != nil {
				return err
			}
			return st.Close()
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": cmdExits},
	})
}
