package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/internal/state"
	"github.com/ringwall/ringwall/policy"
)

// banWord is the control socket's word with which orders come.
const banWord = "ban "

// obey carries out an order.
func (o banOrder) obey(b *edge.Bans) (out banAnswer, err error) {
	var ban edge.Ban
	switch o.Do {
	case "list":
		out.Bans, out.Spared = b.List(), b.Reprieves()
		return out, nil
	case "why":
		s := b.Why(o.Prefix.Addr())
		out.Why = &s
		return out, nil
	case "add":
		ban, err = b.Add(o.Prefix, o.For, o.Reason, o.By)
	case "spare":
		var r edge.Reprieve
		r, err = b.Spare(o.Prefix, o.For, o.By)
		out.Spared = []edge.Reprieve{r}
		return out, err
	case "adopt":
		if o.Ban == nil {
			return out, errors.New("no ban is handed over")
		}
		return out, b.Adopt(*o.Ban)
	case "remove":
		ban, err = b.Remove(o.Prefix, o.By)
	default:
		err = fmt.Errorf("bans know nothing of %q", o.Do)
	}
	out.Bans = []edge.Ban{ban}
	return out, err
}

// obeyBans answers orders that come over the control socket. What changed is on
// disk when the answer is sent.
func obeyBans(b *edge.Bans) func(rest string) (string, error) {
	return func(rest string) (string, error) {
		var o banOrder
		if err := json.Unmarshal([]byte(rest), &o); err != nil {
			return "", fmt.Errorf("the order: %w", err)
		}
		out, err := o.obey(b)
		if err == nil && (o.Do == "add" || o.Do == "remove" || o.Do == "spare") {
			if serr := b.Save(); serr != nil {
				err = fmt.Errorf("it holds, but is lost when the server ends: %w", serr)
			}
		}
		if err != nil {
			return "", err
		}
		answer, err := json.Marshal(out)
		return string(answer), err
	}
}

// askBans has an order carried out by the running server, or else on the file
// that it left.
func askBans(cmd *cobra.Command, file string, o banOrder) (out banAnswer, err error) {
	line, err := json.Marshal(o)
	if err != nil {
		return out, err
	}
	dir, err := state.Path(os.Getenv)
	if err != nil {
		return out, &failure{err, 2, ""}
	}
	ask := func(dir string) error {
		said, err := askServer(dir, banWord+string(line))
		switch {
		case err != nil:
			return err
		case !said.OK:
			return &failure{errors.New(said.Message), 1, "ringwall ban list"}
		}
		return json.Unmarshal([]byte(said.Message), &out)
	}
	if err = ask(dir); !errors.Is(err, errNoServer) {
		return out, err
	}
	if dir != systemState {
		if serr := ask(systemState); serr == nil || errors.As(serr, new(*failure)) {
			return out, serr
		}
	}
	if o.Do == "spare" {
		return out, &failure{errors.New("no server runs that could ban anybody, and none would know of it later"), 1, "ringwall serve"}
	}
	return editBans(cmd, file, dir, o, ask)
}

// editBans changes the file, unless a server has started meanwhile.
func editBans(cmd *cobra.Command, file, dir string, o banOrder, ask func(string) error) (out banAnswer, err error) {
	d, err := state.Open(dir)
	if err != nil {
		return out, err
	}
	b := edge.NewBans(edge.BansConfig{Dir: d})
	done := &doneBans{}
	b.Tell(done)
	p, err := policy.Load(policyPath(file), policy.LoadOptions{})
	switch {
	case err == nil:
		b.Follow(p)
	case !errors.Is(err, fs.ErrNotExist) || file != "":
		return out, err
	}
	started := false
	err = b.Edit(func() (err error) {
		if started = serverThere(dir); !started {
			out, err = o.obey(b)
		}
		return err
	})
	if started {
		return out, ask(dir)
	}
	for _, e := range done.events {
		if e.Kind == audit.BanFailed {
			fmt.Fprintf(cmd.ErrOrStderr(), "%s %s\n", paint(os.Stderr, "33;1", "warning:"), e.Detail)
		} else if err == nil && p != nil && p.KeepsAccounts() && e.Subject != "" {
			record(cmd, p, e)
		}
	}
	if errors.Is(err, edge.ErrSpared) || errors.Is(err, edge.ErrNotBanned) {
		err = &failure{err, 1, "ringwall ban list"}
	}
	return out, err
}

// doneBans keeps the events of one command.
type doneBans struct{ events []audit.Event }

func (d *doneBans) Record(e audit.Event) { d.events = append(d.events, e) }
