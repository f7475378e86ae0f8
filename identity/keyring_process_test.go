package identity_test

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringwall/ringwall/identity"
)

const ringChildFile = "RINGWALL_TEST_KEYRING"

// TestKeyRingChild is another process with the ring: it reads a command a line
// and answers a line. Its clock goes eleven minutes on with each rotation.
func TestKeyRingChild(t *testing.T) {
	file := os.Getenv(ringChildFile)
	if file == "" {
		t.Skip("it is the other process of the tests below")
	}
	var ahead atomic.Int64
	r := openRing(t, file, func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) })
	v := verifierOf(t, r, nil)
	go r.Run(t.Context(), new(sinkOfKeys))
	fmt.Printf("%s %s\n", activeOf(r), nextOf(r))
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		word, arg, _ := strings.Cut(in.Text(), " ")
		var err error
		switch word {
		case "rotate":
			ahead.Add(int64(11 * time.Minute))
			err = r.Rotate()
		case "early":
			err = r.RotateEarly()
		case "revoke":
			err = r.Revoke(arg)
		case "verify":
			_, err = v.Verify(t.Context(), arg)
		}
		if err != nil {
			fmt.Printf("%s: %v\n", in.Text(), err)
		} else if word == "verify" {
			fmt.Printf("ok %s\n", mintWith(t, r.Keys(), time.Now()))
		} else {
			fmt.Printf("%s %s\n", activeOf(r), nextOf(r))
		}
	}
	os.Exit(0)
}

// ringProcess is that process.
type ringProcess struct {
	t    testing.TB
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	last string // what it answered last
}

func startRing(t testing.TB, file string) *ringProcess {
	t.Helper()
	p := &ringProcess{t: t, cmd: exec.Command(os.Args[0], "-test.run=^TestKeyRingChild$")}
	p.cmd.Env = append(os.Environ(), ringChildFile+"="+file)
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewReader(out)
	p.last = p.read()
	return p
}

func (p *ringProcess) read() string {
	line, err := p.out.ReadString('\n')
	if err != nil {
		p.t.Errorf("the other process: %q, %v", line, err)
	}
	return strings.TrimSuffix(line, "\n")
}

func (p *ringProcess) say(command string) { _, _ = io.WriteString(p.in, command+"\n") }

func (p *ringProcess) ask(command string) string {
	p.say(command)
	p.last = p.read()
	return p.last
}

func (p *ringProcess) stop() {
	p.in.Close()
	_ = p.cmd.Wait()
}

// Tokens of either process are verified by the other all the time, while one
// rotates: none is refused.
func TestKeyRingNoTokenIsRefusedAcrossRotations(t *testing.T) {
	r, file := ringAt(t, nil)
	v := verifierOf(t, r, nil)
	go r.Run(t.Context(), new(sinkOfKeys))
	p := startRing(t, file)
	defer p.stop()
	var tokens []string
	exchange := func() {
		answer := p.ask("verify " + mintWith(t, r.Keys(), time.Now()))
		token, ok := strings.CutPrefix(answer, "ok ")
		if !ok {
			t.Fatalf("it refuses ours: %s", answer)
		}
		if _, err := v.Verify(t.Context(), token); err != nil {
			t.Fatalf("we refuse its: %v", err)
		}
		tokens = append(tokens, token)
	}
	const rotations = 5 // within the hour that previous keys are kept
	for range rotations {
		exchange()
		active, _, _ := strings.Cut(p.ask("rotate"), " ")
		for before := len(tokens); activeOf(r) != active || len(tokens) < before+100; {
			exchange()
		}
	}
	seen := map[string]bool{}
	for _, token := range tokens {
		if _, err := v.Verify(t.Context(), token); err != nil {
			t.Fatalf("looked at again: %v", err)
		}
		header, _, _ := strings.Cut(token, ".")
		seen[header] = true
	}
	if len(seen) != rotations+1 {
		t.Errorf("the tokens have %d keys, want %d", len(seen), rotations+1)
	}
}

// A key that another process revokes is refused here within a second.
func TestKeyRingRevokedByAnotherProcess(t *testing.T) {
	r, file := ringAt(t, nil)
	v := verifierOf(t, r, nil)
	go r.Run(t.Context(), new(sinkOfKeys))
	p := startRing(t, file)
	defer p.stop()
	quickest := time.Hour
	for try := 0; try < 10 && quickest > time.Second; try++ { // other load makes it slower only
		token := mintWith(t, r.Keys(), time.Now())
		if _, err := v.Verify(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		p.ask("revoke " + activeOf(r))
		began := time.Now()
		for {
			_, err := v.Verify(t.Context(), token)
			took := time.Since(began)
			if err != nil {
				quickest = min(quickest, took)
				break
			}
			if took > 20*time.Second {
				t.Fatalf("the token passes after %v", took)
			}
		}
	}
	if quickest > time.Second {
		t.Errorf("the token passed for %v", quickest)
	}
}

// Processes that change the ring at once lose nothing of each other's.
func TestKeyRingChangedByManyProcesses(t *testing.T) {
	r, file := ringAt(t, nil)
	const processes, each = 4, 6
	var wg sync.WaitGroup
	for range processes {
		p := startRing(t, file)
		wg.Go(func() {
			defer p.stop()
			for range each {
				if answer := p.ask("early"); strings.Contains(answer, ":") {
					t.Error(answer)
				}
			}
		})
	}
	first := activeOf(r)
	for range each { // and this one
		if err := r.RotateEarly(); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	if err := r.Refresh(); err != nil {
		t.Fatal(err)
	}
	if n := len(ringIDs(r, identity.KeyPrevious)); n != (processes+1)*each {
		t.Errorf("%d previous keys after %d rotations", n, (processes+1)*each)
	}
	if err := r.Revoke(first); err != nil {
		t.Errorf("the first key is lost: %v", err)
	}
}

// Processes that start at once with no file make one ring.
func TestKeyRingMadeByManyProcesses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secrets", "keys.json")
	var first string
	for range 4 {
		p := startRing(t, file)
		defer p.stop()
		if first == "" {
			first = p.last
		}
		if p.last != first {
			t.Errorf("the keys are %s here and %s there", p.last, first)
		}
	}
	var wg sync.WaitGroup
	other := filepath.Join(t.TempDir(), "secrets", "keys.json")
	made := make([]*identity.KeyRing, 8)
	for i := range made {
		wg.Go(func() { made[i], _ = identity.OpenKeyRing(other, nil) })
	}
	wg.Wait()
	for _, r := range made {
		if r == nil || activeOf(r) != activeOf(made[0]) {
			t.Error("two rings were made")
		}
	}
}

// Killed at any time during a change, a process leaves the ring as it was
// before or after.
func TestKeyRingKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts 60 processes")
	}
	r, file := ringAt(t, nil)
	leftOvers := 0
	for i := range 60 {
		p := startRing(t, file)
		was := strings.Fields(p.last) // the active and the next key
		p.say([]string{"early", "revoke " + was[0]}[i%2])
		for end := time.Now().Add(time.Duration(rand.IntN(3000)) * time.Microsecond); time.Now().Before(end); {
		}
		if err := p.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = p.cmd.Wait()
		if err := r.Refresh(); err != nil {
			t.Fatalf("after %d kills: %v", i+1, err)
		}
		if a, n := activeOf(r), nextOf(r); (a != was[0] || n != was[1]) && a != was[1] {
			t.Fatalf("it was %v and is %s, %s", was, a, n)
		}
		if left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), ".*")); len(left) > 0 {
			leftOvers++
		}
		for _, kid := range ringIDs(r, identity.KeyPrevious) { // room for more
			if err := r.Revoke(kid); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d kills came in the midst of a write", leftOvers)
	if err := r.RotateEarly(); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), ".*")); len(left) > 0 {
		t.Errorf("private keys are left behind: %v", left)
	}
}
