// Command ringwall protects an API with one policy, and proves that it does.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringwall/ringwall/policy"
)

func main() { os.Exit(run(os.Args[1:])) }

// run carries out one command line and returns the exit code: 0 when it did
// what was asked, 2 when the command line or the policy is wrong, 1 for the
// rest. `ringwall check` has codes of its own.
func run(args []string) int {
	began := false
	root := &cobra.Command{
		Use:           "ringwall",
		Short:         "One policy file that secures an API, and a check that proves it",
		Version:       build(),
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		// What comes before is the command line's fault.
		PersistentPreRun: func(*cobra.Command, []string) { began = true },
	}
	root.SetVersionTemplate("ringwall {{.Version}}\n")
	root.AddCommand(initCommand(), auditCommand(), serveCommand(), policyCommand(), checkCommand(), keyCommand(), storeCommand(), userCommand(), sessionCommand(), upgradeCommand(), banCommand(), versionCommand(), watchCommand(), hostCommand(), nginxCommand(), manCommand())
	root.InitDefaultCompletionCmd()
	complete(root)
	explainUsage(root)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(context.Background())
	if err == nil {
		return 0
	}
	var f *failure
	if !errors.As(err, &f) {
		f = &failure{err: err, code: 1}
		var wrong *policy.Error
		switch {
		case !began:
			f.code, f.next = 2, cmd.CommandPath()+" --help"
		case errors.As(err, &wrong):
			f.code, f.next = 2, "correct it, then: ringwall policy check"
		}
	}
	(&failure{f.err, f.code, repeat(cmd, f.next)}).print(os.Stderr)
	return f.code
}

// A failure is an error with what to type next.
type failure struct {
	err  error
	code int
	next string // "": nothing more to say
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func (f *failure) print(w *os.File) {
	if f.err == nil {
		return // the command has said all
	}
	text := strings.TrimRight(f.err.Error(), "\n")
	sep := " "
	if strings.Contains(text, "\n") {
		sep = "\n"
	}
	fmt.Fprintf(w, "%s%s%s\n", paint(w, "31;1", "error:"), sep, text)
	if f.next != "" {
		fmt.Fprintf(w, "%s %s\n", paint(w, "1", "next:"), f.next)
	}
}

// paint colours text on a terminal, unless NO_COLOR is set.
func paint(w *os.File, code, text string) string {
	if !colors(w) {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func colors(w *os.File) bool {
	fi, err := w.Stat()
	return err == nil && fi.Mode()&os.ModeCharDevice != 0 && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "" && os.Getenv("TERM") != "dumb"
}
