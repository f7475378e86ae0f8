package chain_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/audit/chain"
	"github.com/ringwall/ringwall/store/sqlitestore"
)

// The tests of this file start this program again, as a process that writes
// the chain of the file that CHAIN_FILE names.
func TestMain(m *testing.M) {
	switch file := os.Getenv("CHAIN_FILE"); os.Getenv("CHAIN_DO") {
	case "":
		os.Exit(m.Run())
	case "write":
		most, _ := strconv.Atoi(os.Getenv("CHAIN_COUNT"))
		exit(write(file, os.Getenv("CHAIN_NAME"), most))
	case "fill the disk":
		exit(fillDisk(file))
	}
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func child(t *testing.T, do, file, name string, count int) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "CHAIN_DO="+do, "CHAIN_FILE="+file, "CHAIN_NAME="+name, "CHAIN_COUNT="+strconv.Itoa(count))
	cmd.Stderr = os.Stderr
	return cmd
}

const perLine = 50

// write records events named NAME0, NAME1 and so on, and after each fifty that
// are stored for certain writes their number. Before each fifty it takes a byte
// of standard input, until that ends. It ends after most.
func write(file, name string, most int) error {
	ctx := context.Background()
	st, err := sqlitestore.Open(ctx, file)
	if err != nil {
		return err
	}
	defer st.Close()
	for n := 0; n < most; {
		_, _ = os.Stdin.Read(make([]byte, 1))
		s := chain.New(st, slog.New(slog.DiscardHandler))
		for range perLine {
			s.Record(audit.Event{Kind: audit.AccountLocked, Subject: fmt.Sprint(name, n)})
			n++
		}
		if err := s.Close(ctx); err != nil {
			return err
		}
		fmt.Println(n)
	}
	return nil
}

// kill -9 at any moment leaves a chain that verifies, holds all that was told to
// be stored, and has no gap.
func TestKill(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ringwall.db")
	total := 0
	for round := range 10 {
		name := fmt.Sprintf("round%d-", round)
		cmd := child(t, "write", file, name, 1<<30)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines, stored := bufio.NewScanner(out), 0
		for stored < 50*(round%4) && lines.Scan() {
			stored, _ = strconv.Atoi(lines.Text())
		}
		time.AfterFunc(time.Duration(round)*3*time.Millisecond, func() { _ = cmd.Process.Kill() }) // somewhere in the next batch
		for lines.Scan() {
			stored, _ = strconv.Atoi(lines.Text())
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("it ended before it was killed")
		}
		st, err := sqlitestore.Open(t.Context(), file)
		if err != nil {
			t.Fatal(err)
		}
		all := read(t, st)[total:]
		if len(all) < stored {
			t.Errorf("round %d: %d events were stored, %d are there", round, stored, len(all))
		}
		for i, r := range all {
			if r.Subject != fmt.Sprint(name, i) {
				t.Fatalf("round %d: event %d is %q", round, i, r.Subject)
			}
		}
		total += len(all)
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}
	if total < 10*perLine {
		t.Errorf("only %d events in all", total)
	}
}

// Two processes append at once: all is there, and each one's order is kept.
func TestTwoProcesses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ringwall.db")
	const rounds = 20
	var processes [2]struct {
		cmd  *exec.Cmd
		in   io.Writer
		told *bufio.Scanner
	}
	for i, name := range []string{"a", "b"} {
		p := &processes[i]
		p.cmd = child(t, "write", file, name, rounds*perLine)
		in, ierr := p.cmd.StdinPipe()
		out, oerr := p.cmd.StdoutPipe()
		if err := errors.Join(ierr, oerr, p.cmd.Start()); err != nil {
			t.Fatal(err)
		}
		p.in, p.told = in, bufio.NewScanner(out)
	}
	for range rounds {
		for _, p := range processes {
			if _, err := p.in.Write([]byte{1}); err != nil {
				t.Fatal(err)
			}
		}
		for _, p := range processes {
			p.told.Scan()
		}
	}
	for _, p := range processes {
		if err := p.cmd.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	st, err := sqlitestore.Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	next, turns, last := map[string]int{}, 0, ""
	for _, r := range read(t, st) {
		who := r.Subject[:1]
		if r.Subject != fmt.Sprint(who, next[who]) {
			t.Fatalf("%s comes where %s%d is due", r.Subject, who, next[who])
		}
		next[who]++
		if who != last {
			turns++
		}
		last = who
	}
	if next["a"] != rounds*perLine || next["b"] != rounds*perLine || turns < rounds {
		t.Errorf("%v, %d turns", next, turns)
	}
}

// A full disk, a real one: the events wait, and are stored when there is room.
func TestDiskFull(t *testing.T) {
	cmd := child(t, "fill the disk", t.TempDir(), "", 0)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}}
	out, err := cmd.Output()
	if errors.Is(err, syscall.EPERM) || strings.Contains(string(out), "no mount") {
		t.Skipf("this machine lets nobody mount a small disk: %v %s", err, out)
	}
	if err != nil || !strings.HasSuffix(string(out), "all is there\n") {
		t.Errorf("%s: %v", out, err)
	}
}

func fillDisk(dir string) error {
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		fmt.Println("no mount:", err)
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	st, err := sqlitestore.Open(ctx, filepath.Join(dir, "ringwall.db"))
	if err != nil {
		return err
	}
	log, told := io.Pipe()
	s := chain.New(st, slog.New(audit.NewHandler(told, slog.LevelInfo)))
	ballast := filepath.Join(dir, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		return err
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	for i := range 500 {
		s.Record(numbered(i))
	}
	lines := bufio.NewScanner(log)
	if !lines.Scan() || !strings.Contains(lines.Text(), "store.failed") || !strings.Contains(lines.Text(), "full") {
		return fmt.Errorf("the log says %q", lines.Text())
	}
	go func() {
		for lines.Scan() {
			fmt.Println(lines.Text())
		}
	}()
	if err := errors.Join(f.Close(), os.Remove(ballast), s.Close(ctx)); err != nil {
		return err
	}
	r, err := chain.Verify(ctx, st)
	if err != nil || r.Break != nil {
		return fmt.Errorf("%+v, %v", r, err)
	}
	all, err := st.Entries(ctx, 0, 1000)
	next, failed := 0, 0
	for _, e := range all {
		switch doc := string(e.Event); {
		case strings.Contains(doc, string(audit.StoreFailed)):
			failed++
		case strings.Contains(doc, fmt.Sprintf(`"subject":"u%d"`, next)):
			next++
		default:
			return fmt.Errorf("entry %d is %s", e.Seq, doc)
		}
	}
	if err != nil || next != 500 || failed == 0 {
		return fmt.Errorf("%d events, %d outages, %v", next, failed, err)
	}
	fmt.Println("all is there")
	return st.Close()
}
