package main

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/ringwall/ringwall/internal/state"
	"github.com/ringwall/ringwall/policy"
)

// A server writes its pid once more when it serves, at which time others read it.
func TestTheLockNamesAProcessAtAllTimes(t *testing.T) {
	dir, err := state.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir.Path("serve.lock"), []byte(strings.Repeat("9", 40)), 0o600); err != nil { // of another version
		t.Fatal(err)
	}
	lock, err := lockState(dir, &inheritance{})
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	written := make(chan error)
	go func() {
		for range 5_000 {
			if err := writePID(lock); err != nil {
				written <- err
			}
		}
		close(written)
	}()
	for reads := 0; ; reads++ {
		b, err := os.ReadFile(dir.Path("serve.lock"))
		if pid, perr := strconv.Atoi(strings.TrimSpace(string(b))); err != nil || perr != nil || pid != os.Getpid() {
			t.Fatalf("read %d: %q, %v; want %d", reads, b, err, os.Getpid())
		}
		select {
		case err, more := <-written:
			if err != nil {
				t.Fatal(err)
			}
			if !more {
				return
			}
		default:
		}
	}
}

// TestWhoseAddressIsTaken: a default of serve --dev is not said to be a variable's.
func TestWhoseAddressIsTaken(t *testing.T) {
	t.Setenv("RINGWALL_EDGE_REDIRECT", "localhost:8080")
	for variable, want := range map[string]string{"RINGWALL_EDGE_LISTEN": "serve --dev: edge.listen: ", "RINGWALL_EDGE_REDIRECT": "RINGWALL_EDGE_REDIRECT: edge.listen: "} {
		err := explainListen(&policy.Error{File: variable, Path: "edge.listen", Reason: "it is taken"})
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want %q in it", err, want)
		}
	}
}
