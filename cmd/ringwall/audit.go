package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringwall/ringwall/audit/chain"
	"github.com/ringwall/ringwall/store"
)

func auditCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Read and verify the chain of security events",
		Long: `Security events are in the store that the policy names, each with the hash of
the one before it. Run these as the user that the server runs as.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	f := policyFlagsOf(cmd, "those of serve --dev, in the state directory")
	cmd.AddCommand(auditTailCommand(f), auditVerifyCommand(f), auditExportCommand(f), auditPruneCommand(f))
	return cmd
}

func auditTailCommand(f *policyFlags) *cobra.Command {
	n, follow := 20, false
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Print the newest events, and the head of the chain",
		Long: `Print the newest events, oldest first, and then the head: the number and the
hash of the last one. Keep it where the server cannot write, and
ringwall audit verify --anchor HEAD tells later whether the chain up to there is
still the same. Nothing is verified here.

Exit 0; 2: the store could not be read.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if n < 0 {
				return &failure{fmt.Errorf("--number %d: how many events is no less than 0", n), 2, "ringwall audit tail --number 20"}
			}
			return f.withChain(cmd, func(ctx context.Context, st store.Chain) error {
				return tailChain(ctx, cmd.OutOrStdout(), st, n, follow)
			})
		},
	}
	cmd.Flags().IntVarP(&n, "number", "n", n, "how many events")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with those that come, until Ctrl-C, and print no head")
	return cmd
}

// followEvery is how often tail -f looks for new events.
const followEvery = 300 * time.Millisecond

func tailChain(ctx context.Context, out io.Writer, st store.Chain, n int, follow bool) error {
	last, err := st.LastEntry(ctx)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	for after := max(last.Seq-int64(n), 0); ; {
		page, err := st.Entries(ctx, after, 1000)
		switch {
		case err != nil && ctx.Err() != nil:
			return nil // Ctrl-C
		case err != nil:
			return err
		}
		for _, e := range page {
			if !follow && e.Seq > last.Seq {
				page = nil
				break
			}
			if _, err := fmt.Fprintln(out, chain.Text(e)); err != nil {
				return err
			}
			after = e.Seq
		}
		if len(page) > 0 {
			continue
		}
		if !follow {
			break
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(followEvery):
		}
	}
	if last.Seq == 0 {
		fmt.Fprintln(out, "there are no events yet")
		return nil
	}
	fmt.Fprintf(out, "head %d:%x\n", last.Seq, last.Hash)
	return nil
}

func auditVerifyCommand(f *policyFlags) *cobra.Command {
	var anchors []string
	var log, head string
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Find out whether the chain was tampered with",
		Long: `Read all events and judge the chain: an event that was changed, removed,
inserted or moved is found, and the first such place is told.

Who can write the store can also compute a new chain, or cut off its end. That
is found with what was kept elsewhere: the head that ringwall audit tail
prints, or the server's log, which gets one each minute in an audit.anchored
event.

Exit 0: the chain is as it was written; 1: it is not; 2: it could not be read,
or there is nothing in it.`,
		Example: `  ringwall audit verify --anchor 812:6c1f...
  journalctl -u ringwall -o cat | ringwall audit verify --anchors -`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, told, err := readAnchors(cmd.InOrStdin(), anchors, log)
			if err != nil {
				return &failure{err, 2, "ringwall audit verify --help"}
			}
			if raw, err := hex.DecodeString(head); err != nil || head != "" && len(raw) != 32 {
				return &failure{fmt.Errorf("--head %q: 64 hexadecimal digits are wanted", head), 2, "ringwall audit tail"}
			}
			return f.withChain(cmd, func(ctx context.Context, st store.Chain) error {
				return verifyChain(ctx, cmd.OutOrStdout(), st, told, all, strings.ToLower(head))
			})
		},
	}
	cmd.Flags().StringArrayVar(&anchors, "anchor", nil, "SEQ:HASH of an event that must be there; may be given again")
	cmd.Flags().StringVar(&log, "anchors", "", "log of the server whose audit.anchored events must all be there; - is standard input")
	cmd.Flags().StringVar(&head, "head", "", "hash that the last event must have, for a server that stands still")
	return cmd
}

func readAnchors(stdin io.Reader, texts []string, log string) (all []chain.Anchor, told chain.Log, err error) {
	for _, s := range texts {
		a, err := chain.ParseAnchor(s)
		if err != nil {
			return nil, told, fmt.Errorf("--anchor: %w", err)
		}
		all = append(all, a)
	}
	if log == "" {
		return all, told, nil
	}
	in := stdin
	if log != "-" {
		file, err := os.Open(log)
		if err != nil {
			return nil, told, fmt.Errorf("--anchors: %w", err)
		}
		defer file.Close()
		in = file
	}
	if told, err = chain.ReadLog(in); err != nil {
		return nil, told, fmt.Errorf("--anchors: %s: %w", log, err)
	}
	if len(told.Anchors) == 0 {
		return nil, told, fmt.Errorf("--anchors: %s holds no audit.anchored event: is it the server's log, with level info?", log)
	}
	return all, told, nil
}

func verifyChain(ctx context.Context, out io.Writer, st store.Chain, log chain.Log, anchors []chain.Anchor, head string) error {
	r, err := chain.VerifyLog(ctx, st, log, anchors...)
	if err != nil {
		return err
	}
	if r.Break == nil && head != "" && hex.EncodeToString(r.Head.Hash[:]) != head {
		r.Break = &chain.Break{Seq: r.Head.Seq, Why: fmt.Sprintf("it is the last and its hash is %x, not that of --head", r.Head.Hash)}
	}
	if r.Break != nil {
		fmt.Fprintf(out, "broken: %s\n", r.Break)
		if r.Entries > 0 {
			fmt.Fprintf(out, "good before it: %s to %s\n", count(int(r.Entries), "event"), r.Head)
		}
		return &failure{code: 1}
	}
	if r.Entries == 0 {
		return errors.New("the chain is empty: there is nothing to verify")
	}
	if _, err := fmt.Fprintf(out, "good: %s, %s to %s\nhead %s\n", count(int(r.Entries), "event"), stamp(r.First), stamp(r.Last), r.Head); err != nil {
		return err // the head is to be kept
	}
	if r.Base.Seq > 0 {
		fmt.Fprintf(out, "those before, up to %s, were pruned on %s\n", r.Base, stamp(r.Pruned))
	}
	if n := len(anchors) + len(log.Anchors) - r.Unseen; n > 0 {
		fmt.Fprintf(out, "it holds %s\n", count(n, "anchor"))
	}
	if r.Unseen > 0 {
		fmt.Fprintf(out, "%s of pruned events cannot be judged any more\n", count(r.Unseen, "anchor"))
	}
	return nil
}

func auditExportCommand(f *policyFlags) *cobra.Command {
	var from, to, format string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write events for another program",
		Long: `Write events to standard output. jsonl has all that somebody else needs to
verify them, as docs/decisions/0011-a-chain-of-hashes.md tells; csv is for a
spreadsheet. What is written is one unbroken part of the chain. Nothing is
verified here.

Exit 0; 2: the store could not be read, or not all was written.`,
		Example: `  ringwall audit export --from 2026-07-01 --to 2026-08-01 > july.jsonl`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			export := chain.ExportJSONL
			switch format {
			case "jsonl":
			case "csv":
				export = chain.ExportCSV
			default:
				return &failure{fmt.Errorf("--format %q: jsonl and csv are known", format), 2, "ringwall audit export --help"}
			}
			begin, err := parseTime("--from", from)
			end, terr := parseTime("--to", to)
			if err = errors.Join(err, terr); err != nil {
				return &failure{err, 2, "ringwall audit export --help"}
			}
			if to != "" && !begin.Before(end) {
				return &failure{fmt.Errorf("--from %s is not before --to %s: there is nothing between them", from, to), 2, "ringwall audit export --help"}
			}
			return f.withChain(cmd, func(ctx context.Context, st store.Chain) error {
				_, err := export(ctx, st, begin, end, cmd.OutOrStdout())
				return err
			})
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "begin with the first event at this time or later: 2026-07-30, in UTC, or 2026-07-30T12:00:00Z")
	cmd.Flags().StringVar(&to, "to", "", "end with the last event before this time")
	cmd.Flags().StringVar(&format, "format", "jsonl", "jsonl or csv")
	return cmd
}

func parseTime(flag, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%s %q: a day such as 2026-07-30 or a time such as 2026-07-30T12:00:00Z is wanted", flag, s)
}

// withChain runs f with the chain of the policy's store. What fails then, fails
// with 2: nothing was learned of the chain.
func (p *policyFlags) withChain(cmd *cobra.Command, f func(context.Context, store.Chain) error) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	pol, err := p.served()
	if err != nil {
		return err
	}
	if file, ok := storeFile(pol); ok {
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			return &failure{fmt.Errorf("there is no store %s", file), 2, "ringwall serve, which makes it when identity.registration is not off"}
		}
	}
	st, err := openStore(ctx, pol)
	if err != nil {
		return &failure{err, 2, ""}
	}
	defer st.Close()
	err = f(ctx, st)
	var said *failure
	if err != nil && !errors.As(err, &said) {
		return &failure{err, 2, ""}
	}
	return err
}
