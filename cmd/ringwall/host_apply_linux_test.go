package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/ringwall/ringwall/internal/hostexec"
)

// held is the machine while it is held; and what is told, which answers a question.
type held struct {
	open bool
	told strings.Builder
	at   func()
}

func (h *held) Close() error { h.open = false; return nil }

func (h *held) Write(b []byte) (int, error) {
	if strings.Contains(string(b), "Type yes") {
		h.at()
	}
	return h.told.Write(b)
}

// TestHalfIsAsked: while the question stands at the terminal, nobody is kept from undoing
// what was cut short; and it is said once.
func TestHalfIsAsked(t *testing.T) {
	for _, yes := range []bool{false, true} {
		terminal, in := pseudoTerminal(t)
		asked, h := false, &held{}
		h.at = func() {
			if asked = true; h.open {
				t.Error("the machine is held while the question stands")
			}
			fmt.Fprintln(terminal, "yes")
		}
		cmd := &cobra.Command{}
		cmd.SetIn(in)
		cmd.SetErr(h)
		err := agreeHalf(cmd, yes, func() (io.Closer, error) { h.open = true; return h, nil })
		if told := h.told.String(); err != nil || asked == yes || h.open || strings.Count(told, "the last apply was cut short") != 1 {
			t.Errorf("--yes=%v: %v, asked %v, held %v: %s", yes, err, asked, h.open, told)
		}
	}
	busy := errors.New("another is at work")
	if err := agreeHalf(&cobra.Command{}, true, func() (io.Closer, error) { return nil, busy }); !errors.Is(err, busy) {
		t.Error(err)
	}
}

// TestNextAfterCut: what is to be typed is one command, as the manual has it.
func TestNextAfterCut(t *testing.T) {
	var f *failure
	if err := notApplied(fmt.Errorf("%w: at noon", hostexec.ErrCutShort)); !errors.As(err, &f) || f.next != "ringwall host apply" || f.code != 2 {
		t.Errorf("%+v", f)
	}
}

func pseudoTerminal(t *testing.T) (terminal, in *os.File) {
	t.Helper()
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { terminal.Close() })
	n, err := unix.IoctlGetInt(int(terminal.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(terminal.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		in, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { in.Close() })
	return terminal, in
}
