package identity

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/store/sqlitestore"
)

// openCrashed opens the store of a program that was killed, at today's time.
func openCrashed(t *testing.T, file string) (*sessionTest, *sqlitestore.Store) {
	t.Helper()
	st, err := sqlitestore.Open(context.Background(), file)
	if err != nil {
		t.Fatal(err)
	}
	e := newSessionTest(t, st)
	e.sessions.now = time.Now
	return e, st
}

// kill -9 in the middle of a refresh: the store has the token before or the one
// after, and either way the client goes on with what it has.
func TestRefreshSurvivesKill(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	file := filepath.Join(t.TempDir(), "s.db")
	e, st := openCrashed(t, file)
	g := e.signIn(e.account())
	st.Close()
	tokens := []string{g.Refresh} // that the client ever had
	ahead := 0
	for round := range 15 {
		got := refreshUntilKilled(t, file, tokens[len(tokens)-1], 1+rand.IntN(25))
		tokens = append(tokens, got...)
		e, st := openCrashed(t, file)
		f := e.row(g.Session)
		if done := int(f.Generation) - len(tokens); !f.Ended.IsZero() || done != 0 && done != 1 {
			t.Fatalf("round %d: %d tokens arrived, the store has generation %d, ended %v", round, len(tokens), f.Generation, f.Ended)
		} else {
			ahead += done
		}
		tokens = append(tokens, e.mustRefresh(tokens[len(tokens)-1]).Refresh)
		if f := e.row(g.Session); int(f.Generation) != len(tokens) {
			t.Fatalf("round %d: generation %d after %d tokens", round, f.Generation, len(tokens))
		}
		st.Close()
	}
	t.Logf("%d tokens, %d of 15 kills came after the commit", len(tokens), ahead)
	e, st = openCrashed(t, file)
	defer st.Close()
	e.refused(tokens[len(tokens)-3], errReused)
	for _, token := range tokens {
		e.refused(token, errBadRefresh)
	}
}

// refreshUntilKilled has a process refresh as fast as it can, kills it after so
// many answers, and returns all that arrived.
func refreshUntilKilled(t *testing.T, file, token string, answers int) (tokens []string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestRefreshProcess$", "-test.v")
	cmd.Env = append(os.Environ(), "RINGWALL_TEST_REFRESH="+token+" "+file)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if _, token, ok := strings.Cut(lines.Text(), "token "); ok {
			tokens = append(tokens, token)
		}
		if len(tokens) == answers {
			// Somewhere in the refresh that has begun, which takes about as long.
			for begun, wait := time.Now(), rand.N(400*time.Microsecond); time.Since(begun) < wait; {
			}
			cmd.Process.Kill()
		}
	}
	cmd.Wait()
	if len(tokens) < answers {
		t.Fatalf("the process ended by itself after %d answers", len(tokens))
	}
	return tokens
}

// TestRefreshProcess is the process that is killed.
func TestRefreshProcess(t *testing.T) {
	token, file, ok := strings.Cut(os.Getenv("RINGWALL_TEST_REFRESH"), " ")
	if !ok {
		t.Skip("it is started by TestRefreshSurvivesKill")
	}
	e, _ := openCrashed(t, file)
	for range 100_000 {
		token = e.mustRefresh(token).Refresh
		fmt.Fprintln(os.Stdout, "token", token) // one write: all of it arrives, or nothing
	}
}
