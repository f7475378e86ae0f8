package porttest_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/ringwall/ringwall/internal/porttest"
)

const most = 60 // in one process: the next one begins 37 ports further, at least

// TestNoPortIsGivenTwice, not to two processes either, of which one begins where the
// other one has been already.
func TestNoPortIsGivenTwice(t *testing.T) {
	if os.Getenv("RINGWALL_TEST_PORTS") != "" {
		for range most {
			fmt.Println("port", porttest.Port(t))
		}
		_, _ = io.Copy(io.Discard, os.Stdin) // holds them until then
		return
	}
	if runtime.GOOS != "linux" {
		t.Skip("other kernels have no names to hold")
	}
	seen := map[string]int{}
	for range 400 { // more than the pids of two that follow each other lie apart
		seen[fmt.Sprint(porttest.Port(t))]++
	}
	for range 4 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestNoPortIsGivenTwice$")
		cmd.Env = append(os.Environ(), "RINGWALL_TEST_PORTS=1")
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { in.Close(); _ = cmd.Wait() }()
		lines, n := bufio.NewScanner(out), 0
		for n < most && lines.Scan() {
			if port, ok := strings.CutPrefix(lines.Text(), "port "); ok {
				seen[port]++
				n++
			}
		}
		if n < most {
			t.Fatalf("%d ports", n)
		}
	}
	for port, n := range seen {
		if n > 1 {
			t.Errorf("port %s was given %d times", port, n)
		}
	}
}
