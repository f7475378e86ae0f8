package loopback_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/ringwall/ringwall/check/loopback"
	"github.com/ringwall/ringwall/internal/quicktest"
)

func TestMain(m *testing.M) {
	if pid, err := strconv.Atoi(os.Getenv("PAUSE")); err == nil {
		if _, err := loopback.Pause([]int{pid}, 4*time.Second); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("stopped")
		select {} // until it is killed
	}
	os.Exit(m.Run())
}

func TestPause(t *testing.T) {
	cmd := sleeper(t)
	pid := strconv.Itoa(cmd.Process.Pid)
	resume, err := loopback.Pause([]int{cmd.Process.Pid}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if s := state(t, pid); s != "T" {
		t.Errorf("it is %s, want T", s)
	}
	resume()
	wait(t, pid, "S", 20*time.Second)
	gone := sleeper(t)
	gone.Process.Kill()
	gone.Wait()
	if _, err := loopback.Pause([]int{cmd.Process.Pid, gone.Process.Pid}, time.Minute); err == nil {
		t.Error("a process that has ended was stopped")
	}
	wait(t, pid, "S", 20*time.Second) // the first is not left behind
}

// A check that is killed leaves nobody stopped.
func TestPauseOfAKilledCheck(t *testing.T) {
	quicktest.Skip(t, "waits until a killed check would have ended")
	cmd := sleeper(t)
	pid := strconv.Itoa(cmd.Process.Pid)
	check := exec.Command(os.Args[0])
	check.Env = append(os.Environ(), "PAUSE="+pid)
	out, err := check.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := check.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	check.Process.Kill()
	check.Wait()
	if line != "stopped\n" {
		t.Fatalf("%q", line)
	}
	if s := state(t, pid); s != "T" {
		t.Fatalf("it is %s before it was woken, want T", s)
	}
	wait(t, pid, "S", 30*time.Second)
}
