package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func manCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "man FOLDER",
		Short: "Write the manual pages of all commands",
		Long: `Write a manual page (section 1) for this command and for each of its commands into
a folder, which is made when it is missing. As root, for everybody:

  ringwall man /usr/local/share/man/man1

Completions of the shell come from ringwall completion.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			n := 0
			err := os.MkdirAll(args[0], 0o755)
			if err == nil {
				n, err = writeMan(args[0], cmd.Root())
			}
			if err != nil {
				return &failure{err, 1, "name a folder that you may write to, such as ringwall man man"}
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d pages are in %s: man -l %s\n", n, args[0], filepath.Join(args[0], manName(cmd.Root())+".1"))
			return nil
		},
	}
}

// writeMan writes the pages of cmd and of all below it, and says how many.
func writeMan(dir string, cmd *cobra.Command) (n int, err error) {
	if !cmd.IsAvailableCommand() || cmd.Name() == "help" {
		return 0, nil
	}
	cmd.InitDefaultHelpFlag()
	if err := os.WriteFile(filepath.Join(dir, manName(cmd)+".1"), manPage(cmd), 0o644); err != nil {
		return 0, err
	}
	n = 1
	for _, c := range cmd.Commands() {
		below, err := writeMan(dir, c)
		if err != nil {
			return 0, err
		}
		n += below
	}
	return n, nil
}

// manName is how a command is called among manual pages: ringwall-policy-check.
func manName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// manPage is the page of one command, as man(7) has it.
func manPage(cmd *cobra.Command) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, ".TH %s 1 \"\" \"ringwall %s\" \"Ringwall\"\n", roff(strings.ToUpper(manName(cmd))), roff(version()))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(manName(cmd)), roff(cmd.Short))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n", roff(cmd.UseLine()))
	if cmd.Long != "" {
		fmt.Fprintf(&b, ".SH DESCRIPTION\n%s", manText(cmd.Long))
	}
	if cmd.HasAvailableLocalFlags() {
		b.WriteString(".SH OPTIONS\n")
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Hidden {
				return
			}
			value, usage := pflag.UnquoteUsage(f)
			name := "--" + f.Name
			if f.Shorthand != "" {
				name = "-" + f.Shorthand + ", " + name
			}
			switch f.DefValue {
			case "", "false", "0", "[]", "0s": // --help leaves them out, too
			default:
				usage += " (default " + f.DefValue + ")"
			}
			fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", roff(strings.TrimSpace(name+" "+value)), roff(usage))
		})
	}
	if cmd.Example != "" {
		b.WriteString(".SH EXAMPLES\n.nf\n")
		for line := range strings.SplitSeq(cmd.Example, "\n") {
			b.WriteString(roff(line) + "\n")
		}
		b.WriteString(".fi\n")
	}
	var others []string
	if cmd.HasParent() {
		others = append(others, manName(cmd.Parent()))
	}
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() && c.Name() != "help" {
			others = append(others, manName(c))
		}
	}
	for i, name := range others {
		if i == 0 {
			b.WriteString(".SH SEE ALSO\n")
		}
		end := ","
		if i == len(others)-1 {
			end = ""
		}
		fmt.Fprintf(&b, ".BR %s (1)%s\n", roff(name), end)
	}
	return b.Bytes()
}

// manText sets paragraphs, and leaves indented lines as they are.
func manText(text string) string {
	var b strings.Builder
	verbatim := false
	for line := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		if as := strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t"); as != verbatim && line != "" {
			verbatim = as
			b.WriteString(map[bool]string{true: ".nf\n", false: ".fi\n"}[as])
		}
		if line == "" {
			b.WriteString(".PP\n")
			continue
		}
		b.WriteString(roff(line) + "\n")
	}
	if verbatim {
		b.WriteString(".fi\n")
	}
	return b.String()
}

// roff is text in which nothing is a request to the formatter.
func roff(text string) string {
	text = strings.NewReplacer("\\", "\\e", "-", "\\-", "\n", " ").Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = "\\&" + text
	}
	return text
}
