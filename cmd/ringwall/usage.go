package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ringwall/ringwall/policy"
)

// explainUsage has a command, and all below it, say of a mistaken command line what
// was meant.
func explainUsage(cmd *cobra.Command) {
	judge := cmd.Args
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if judge == nil || judge(cmd, args) == nil {
			return nil
		}
		return explainArgs(cmd, args, judge(cmd, args))
	}
	cmd.SetFlagErrorFunc(explainFlag)
	for _, c := range cmd.Commands() {
		explainUsage(c)
	}
}

func explainArgs(cmd *cobra.Command, args []string, err error) error {
	help := cmd.CommandPath() + " --help"
	wanted := strings.TrimSuffix(cmd.UseLine(), " [flags]")
	switch {
	case strings.Contains(err.Error(), "arg(s)"): // cobra's words
		return &failure{fmt.Errorf("what is wanted: %s", wanted), 2, help}
	case len(args) > 0 && cmd.HasAvailableSubCommands():
		var names []string
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() {
				names = append(names, c.Name())
			}
		}
		if near := policy.Nearest(args[0], names); near != "" {
			help = strings.TrimSpace(cmd.CommandPath() + " " + near + " " + shellWords(args[1:]))
		}
		return &failure{fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath()), 2, help}
	case len(args) > 0 && strings.HasPrefix(err.Error(), "unknown command"): // cobra.NoArgs
		if cmd.Flag("policy") != nil && (strings.HasSuffix(args[0], ".yaml") || strings.HasSuffix(args[0], ".yml")) {
			help = cmd.CommandPath() + " --policy " + shellWord(args[0])
		}
		return &failure{fmt.Errorf("%q is one word too many: %s takes flags alone", args[0], cmd.CommandPath()), 2, help}
	}
	return &failure{err, 2, help}
}

// explainFlag says which flag was meant, and not what Go says of a value.
func explainFlag(cmd *cobra.Command, err error) error {
	next := cmd.CommandPath() + " --help"
	var unknown *pflag.NotExistError
	var value *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown):
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				names = append(names, f.Name)
			}
		})
		if near := policy.Nearest(unknown.GetSpecifiedName(), names); near != "" {
			err = fmt.Errorf("%w: did you mean --%s?", err, near)
		}
	case errors.As(err, &value):
		wanted := map[string]string{"int": "a number is wanted", "bool": "true or false is wanted", "duration": "a time such as 30s or 5m is wanted"}
		if said := wanted[value.GetFlag().Value.Type()]; said != "" {
			err = fmt.Errorf("--%s %q: %s", value.GetFlag().Name, value.GetValue(), said)
		}
	}
	return &failure{err, 2, next}
}

// repeat puts the flags that say which policy was meant behind the commands of a
// text that take them, too.
func repeat(cmd *cobra.Command, text string) string {
	words := strings.Split(text, " ")
	for i := 0; i < len(words); i++ {
		if words[i] != cmd.Root().Name() {
			continue
		}
		named, at, end := cmd.Root(), i, ""
		for at+1 < len(words) && end == "" {
			word := strings.TrimRight(words[at+1], ",;:")
			sub := slices.IndexFunc(named.Commands(), func(c *cobra.Command) bool { return c.Name() == word })
			if sub < 0 {
				break
			}
			named, at, end = named.Commands()[sub], at+1, words[at+1][len(word):]
		}
		if at+1 < len(words) && words[at+1] == "--help" {
			continue
		}
		var flags []string
		for _, name := range []string{"dev", "policy"} {
			f := cmd.Flag(name)
			if f == nil || !f.Changed || named.Flag(name) == nil || strings.Contains(text, "--"+name) {
				continue
			}
			flags = append(flags, "--"+name)
			if name == "policy" {
				flags = append(flags, shellWord(f.Value.String()))
			}
		}
		if len(flags) > 0 {
			words[at] = strings.TrimSuffix(words[at], end)
			flags[len(flags)-1] += end
			words = slices.Insert(words, at+1, flags...)
		}
		i = at + len(flags)
	}
	return strings.Join(words, " ")
}

// shellWords is a command line as a shell takes it.
func shellWords(args []string) string {
	quoted := make([]string, len(args))
	for i, arg := range args {
		quoted[i] = shellWord(arg)
	}
	return strings.Join(quoted, " ")
}

// shellWord quotes what a shell would not take as it is.
func shellWord(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:@%+=,", r)
	}) || s == "" {
		return shellQuote(s)
	}
	return s
}
