package edge_test

import (
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ringwall/ringwall/policy"
)

// TestTrapSlowClientsByTheThousand has slowhttptest hold 1,000 connections in
// each of its ways, far more than one address may have, while an honest client
// is served. Its connections come from one address, so the cap is raised; without
// TLS, so that it is not the tool's handshakes that are measured.
func TestTrapSlowClientsByTheThousand(t *testing.T) {
	tool, err := exec.LookPath("slowhttptest")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("slowhttptest is not installed; run test/packages.sh")
		}
		t.Skip("slowhttptest is not installed")
	}
	if testing.Short() {
		t.Skip("it takes 15 seconds")
	}
	for _, mode := range []struct {
		name, path string
		args       []string
	}{
		{"header", "/", []string{"-H", "-i", "1"}},
		{"body", "/", []string{"-B", "-i", "1", "-s", "8192"}},
		{"read", "/big", []string{"-X", "-w", "1", "-y", "2", "-n", "1", "-z", "1", "-k", "1"}},
	} {
		t.Run(mode.name, func(t *testing.T) {
			big := make([]byte, 200_000)
			f := newDoor(t, doorPolicy(func(p *policy.Policy) { p.Edge.Connections = 5000; p.Edge.MaxConnections = 5000 }), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/big" {
					_, _ = w.Write(big)
					return
				}
				_, _ = io.Copy(io.Discard, r.Body)
			}), nil)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			args := append(mode.args, "-c", "1000", "-r", "500", "-l", "6", "-p", "10", "-u", "http://"+f.address+mode.path)
			cmd := exec.CommandContext(ctx, tool, args...)
			var wg sync.WaitGroup
			wg.Go(func() { _ = cmd.Run() }) // what it thinks of the server does not matter
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
			var took []time.Duration
			most := 0
			for start := time.Now(); time.Since(start) < 5*time.Second; {
				began := time.Now()
				res, err := client.Get("http://" + f.address + "/")
				if err != nil {
					t.Fatalf("an honest client is not served: %v", err)
				}
				res.Body.Close()
				took = append(took, time.Since(began))
				most = max(most, f.state.OpenConnections())
			}
			cancel()
			wg.Wait()
			slices.Sort(took)
			p99 := took[len(took)*99/100]
			t.Log("requests " + strconv.Itoa(len(took)) + ", at most " + strconv.Itoa(most) + " connections open, p99 " + p99.String())
			if most < 100 {
				t.Errorf("the attack held at most %d connections", most)
			}
			// The aim is 250 ms on a quiet machine; the log line says what it was.
			// Starved requests take as long as the attack does.
			if p99 > 2*time.Second {
				t.Errorf("honest requests took %v at the 99th percentile", p99)
			}
		})
	}
}
