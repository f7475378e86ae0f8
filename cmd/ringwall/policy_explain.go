package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/policy"
)

func policyExplainCommand(f *policyFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "explain METHOD PATH",
		Short:   "Say what is in force for one request",
		Example: "  ringwall policy explain GET /api/admin/users",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return errors.New("a method and a path are wanted")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := f.load()
			if err != nil {
				return err
			}
			e, err := app.Explain(p, args[0], args[1], time.Now())
			if err != nil {
				return &failure{err, 2, "ringwall policy explain GET /api/admin/users"}
			}
			return explain(cmd.OutOrStdout(), p, e)
		},
	}
}

func explain(w io.Writer, p *policy.Policy, e *app.Explanation) error {
	if e.Refused != "" {
		_, err := fmt.Fprintf(w, "%s %s is refused by %s\n", e.Method, e.Path, e.Refused)
		return err
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintf(t, "%s %s\n\n", e.Method, e.Path)
	route := "none matched"
	switch {
	case e.Route.Builtin:
		route = e.Route.Pattern + "\t(built in: Ringwall serves it)"
	case e.Route.Index >= 0:
		route = fmt.Sprintf("%s\t(app.routes[%d])", e.Route.Pattern, e.Route.Index)
	}
	fmt.Fprintf(t, "route\t%s\n", route)
	fmt.Fprintf(t, "may call\t%s\n", strings.Join(e.Route.Allow, ", "))
	for _, name := range e.Classes {
		l := p.App.Limits[name]
		fmt.Fprintf(t, "rate class\t%s: %d per %s\n", name, l.Requests, plain(l.Per))
	}
	fmt.Fprintln(t)
	for _, c := range e.Controls {
		value := c.Value
		if c.Waived != "" {
			value = "WAIVED " + c.Waived
		} else if value == "" {
			value = c.Title
		}
		fmt.Fprintf(t, "%s\t%s\n", c.ID, value)
	}
	fmt.Fprintln(t)
	for _, c := range edge.Controls() {
		value := c.Title
		if w, _ := p.Waived(c.ID); !edge.Enforced(p, c.ID, time.Now()) {
			value = "WAIVED until " + w.Until.Format(time.DateOnly) + ": " + w.Reason
		} else if c.Value != nil {
			value = c.Value(p)
		}
		fmt.Fprintf(t, "%s\t%s\n", c.ID, value)
	}
	return t.Flush()
}

// plain is a duration as the policy writes it: 15m, not 15m0s.
func plain(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}
