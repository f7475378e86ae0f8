package main

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/policy"
)

// complete says what may follow the flags and verbs whose words are known.
func complete(root *cobra.Command) {
	flag := func(verb []string, name string, words func(*cobra.Command) []string) {
		if cmd, _, err := root.Find(verb); err == nil {
			_ = cmd.RegisterFlagCompletionFunc(name, func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
				return words(cmd), cobra.ShellCompDirectiveNoFileComp
			})
		}
	}
	these := func(words ...string) func(*cobra.Command) []string {
		return func(*cobra.Command) []string { return words }
	}
	if shells, _, err := root.Find([]string{"completion"}); err == nil {
		shells.RunE = root.RunE // cobra's own says nothing of a shell that it does not know
	}
	check := []string{"check"}
	flag(check, "format", these(formatNames()...))
	flag(check, "by", these("checklist", "threat", "ring"))
	flag(check, "fail-on", these("waived", "unknown", "fail", "never"))
	flag(check, "only", controlNames)
	flag(check, "skip", controlNames)
	flag([]string{"audit", "export"}, "format", these("jsonl", "csv"))
	flag([]string{"user", "add"}, "role", policyRoles)
	if explain, _, err := root.Find([]string{"policy", "explain"}); err == nil {
		explain.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}, cobra.ShellCompDirectiveNoFileComp
		}
	}
}

// controlNames are the rings, with a slash, and what a check finds in those that it
// sees from outside.
func controlNames(*cobra.Command) []string {
	names := []string{"app/", "edge/", "host/", "identity/", "inside/", "outside/"}
	for _, c := range edge.Controls() {
		names = append(names, c.ID)
	}
	for _, c := range app.Controls() {
		names = append(names, c.ID)
	}
	slices.Sort(names)
	return names
}

// policyRoles are those of the policy that the command line names; none when it has
// mistakes, which the command itself tells.
func policyRoles(cmd *cobra.Command) []string {
	p, err := policy.Load(policyPath(cmd.Flag("policy").Value.String()), policy.LoadOptions{Dev: true})
	if err != nil {
		return nil
	}
	return sortedNames(p.Identity.Roles)
}
