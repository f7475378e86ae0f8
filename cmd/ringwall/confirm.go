package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// confirm asks on the terminal before something that cannot be taken back, and
// returns nil for yes. Where nobody can be asked it names the command to type
// instead.
func confirm(cmd *cobra.Command, what, instead string) error {
	nobody := &failure{errors.New(what + "\nNobody can be asked here, so nothing was done."), 2, instead}
	in, ok := cmd.InOrStdin().(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return nobody
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s\nType yes to go on: ", what)
	line, err := bufio.NewReader(in).ReadString('\n')
	switch {
	case strings.TrimSpace(line) == "yes":
		return nil
	case err != nil:
		return nobody // it is gone
	}
	return &failure{errors.New("nothing was done"), 2, ""}
}
