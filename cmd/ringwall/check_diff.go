package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/ringwall/ringwall/check"
)

func checkDiffCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "diff BEFORE.json AFTER.json",
		Short: "Tell what changed between two reports",
		Long: `Compare the verdicts of two reports that check --format json wrote. What was
seen differs from run to run and is no difference.

Exit 0: nothing got worse; 1: something that was proved, waived or unknown is not
any more; 2: a report could not be read.`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			var reports [2]check.Report
			for i, name := range args {
				r, err := readReport(name)
				if err != nil {
					return &failure{err, 2, "ringwall check --format json --out REPORT.json"}
				}
				reports[i] = r
			}
			changes := check.Compare(reports[0], reports[1])
			text := check.Text{}
			if file, ok := cmd.OutOrStdout().(*os.File); ok {
				text.Color = colors(file)
			}
			if err := check.WriteChanges(cmd.OutOrStdout(), changes, text); err != nil {
				return err
			}
			for _, c := range changes {
				if c.Worse() {
					return &failure{code: 1}
				}
			}
			return nil
		},
	}
}

func readReport(name string) (r check.Report, err error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("%s is no JSON report: %w", name, err)
	}
	return r, nil
}
