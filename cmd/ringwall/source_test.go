package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestPolicyOfTheService: on the server it need not be named, and whatever is named
// or stands in the folder comes before it.
func TestPolicyOfTheService(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	system := filepath.Join(dir, "etc.yaml")
	want := func(flag, env, want string) {
		t.Helper()
		t.Setenv("RINGWALL_POLICY", env)
		if got := policyPathOr(flag, system); got != want {
			t.Errorf("--policy %q, RINGWALL_POLICY=%q: %s, want %s", flag, env, got, want)
		}
	}
	want("", "", policyFile) // which `ringwall init` writes
	if err := os.WriteFile(system, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	want("", "", system)
	want("", "env.yaml", "env.yaml")
	want("flag.yaml", "env.yaml", "flag.yaml")
	if err := os.WriteFile(policyFile, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	want("", "", policyFile)
}
