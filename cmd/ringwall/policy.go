package main

import (
	"github.com/spf13/cobra"

	"github.com/ringwall/ringwall/policy"
)

// policyFlags are shared by the verbs of `ringwall policy` that read one.
type policyFlags struct {
	file string
	dev  bool
}

// policyFlagsOf adds them to a command and to all below it.
func policyFlagsOf(cmd *cobra.Command, dev string) *policyFlags {
	f := &policyFlags{}
	policyFlag(cmd, &f.file)
	cmd.PersistentFlags().BoolVar(&f.dev, "dev", false, dev)
	return f
}

func (f *policyFlags) load() (*policy.Policy, error) {
	return policy.Load(policyPath(f.file), policy.LoadOptions{Dev: f.dev})
}

// served is the policy as serve takes it: with --dev as serve --dev does, whose
// accounts and keys are in the state directory.
func (f *policyFlags) served() (*policy.Policy, error) {
	if !f.dev {
		return f.load()
	}
	src, _, err := devSource(f.file)
	if err != nil {
		return nil, err
	}
	return src.load()
}

func policyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Check, show and explain the policy",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	f := &policyFlags{}
	for _, reads := range []*cobra.Command{policyCheckCommand(f), policyShowCommand(f), policyExplainCommand(f)} {
		policyFlag(reads, &f.file)
		reads.Flags().BoolVar(&f.dev, "dev", false, "allow what only serve --dev allows, such as the site localhost")
		cmd.AddCommand(reads)
	}
	cmd.AddCommand(policySchemaCommand(), policyReloadCommand())
	return cmd
}
