package nginx

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/internal/state"
	"github.com/ringwall/ringwall/policy"
)

// Banner tells nginx who is banned, by a file of its geo block: an edge.Banner.
// The ring refuses the banned at once by itself, so nginx, which forgets nothing
// of its old workers until their last connection ends, is told in bulk: at most
// once in Every.
type Banner struct {
	file   string
	reload func() error
	sink   audit.Sink

	mu     sync.Mutex
	bans   map[netip.Prefix]bool // false: spared
	told   string                // what nginx was told last; "": nothing
	change chan struct{}
}

// noBans is the file when nobody is.
const noBans = "# Who is banned. Written by ringwall serve; ringwall ban list shows more.\n"

// Every is how often nginx is told at most.
const Every = 10 * time.Second

// NewBanner writes to the folder of the policy. reload has nginx read the file,
// or has somebody do it who may: Wake. What goes wrong is the event ban.failed.
func NewBanner(p *policy.Policy, reload func() error, sink audit.Sink) *Banner {
	return &Banner{file: filepath.Join(p.Edge.Nginx.State, bansFile), reload: reload, sink: sink,
		bans: map[netip.Prefix]bool{}, change: make(chan struct{}, 1)}
}

// Replace, Ban and Unban are quick, and never fail: Run writes.
func (b *Banner) Replace(bans []edge.Ban, spared []netip.Prefix) error {
	b.mu.Lock()
	clear(b.bans)
	for _, ban := range bans {
		b.bans[ban.Prefix.Masked()] = true
	}
	for _, p := range spared { // the longer prefix holds
		if p = p.Masked(); !b.bans[p] {
			b.bans[p] = false
		}
	}
	b.mu.Unlock()
	b.changed()
	return nil
}

// Ban adds one.
func (b *Banner) Ban(ban edge.Ban) error {
	b.mu.Lock()
	b.bans[ban.Prefix.Masked()] = true
	b.mu.Unlock()
	b.changed()
	return nil
}

// Unban is called when a ban ends, too.
func (b *Banner) Unban(p netip.Prefix) error {
	b.mu.Lock()
	delete(b.bans, p.Masked())
	b.mu.Unlock()
	b.changed()
	return nil
}

// Check is an error when the file is not the one that was written.
func (b *Banner) Check() error {
	b.mu.Lock()
	told := b.told
	b.mu.Unlock()
	if told == "" {
		return nil // nothing was
	}
	now, err := os.ReadFile(b.file)
	if err == nil && string(now) == told {
		return nil
	}
	b.setTold("") // it is written anew
	if err != nil {
		return fmt.Errorf("nginx's list of bans: %w", err)
	}
	return fmt.Errorf("%s was changed by somebody else", b.file)
}

func (b *Banner) changed() {
	select {
	case b.change <- struct{}{}:
	default: // Run will see this one as well
	}
}

// Run keeps nginx told until ctx ends, with every as the least time between two
// times; 0: Every. What an earlier process left in the file is dropped.
func (b *Banner) Run(ctx context.Context, every time.Duration) {
	if every == 0 {
		every = Every
	}
	b.changed()
	if old, err := os.ReadFile(b.file); err == nil && len(old) > 0 {
		b.setTold(string(old))
	}
	unsure := true // whether an earlier process, which may have been killed, told nginx what it wrote
	said := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.change:
		}
		if text, told := b.text(); (text != told || unsure) && (text != noBans || told != "") {
			switch err := b.tell(text); {
			case err == nil:
				b.setTold(text)
				unsure, said = false, ""
			case err.Error() != said:
				said = err.Error()
				b.sink.Record(audit.Event{Time: time.Now(), Kind: audit.BanFailed, Outcome: audit.Failure, Control: "edge/bans",
					Detail: fmt.Sprintf("nginx was not told who is banned, and the ring alone refuses them: %v", err)})
				fallthrough
			default:
				b.changed() // again, later
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(every):
		}
	}
}

func (b *Banner) tell(text string) error {
	if err := state.Replace(b.file, []byte(text), 0o600, nil); err != nil {
		return err
	}
	return b.reload()
}

func (b *Banner) setTold(text string) {
	b.mu.Lock()
	b.told = text
	b.mu.Unlock()
}

// text is what the geo block is to include, and what it was told last.
func (b *Banner) text() (text, told string) {
	b.mu.Lock()
	all := maps.Clone(b.bans)
	told = b.told
	b.mu.Unlock()
	if !slices.Contains(slices.Collect(maps.Values(all)), true) {
		return noBans, told // then there is nothing to spare anybody from
	}
	prefixes := slices.SortedFunc(maps.Keys(all), func(x, y netip.Prefix) int {
		return cmp.Or(x.Addr().Compare(y.Addr()), x.Bits()-y.Bits())
	})
	var out strings.Builder
	out.WriteString(noBans)
	for _, p := range prefixes {
		value := "0"
		if all[p] {
			value = "1"
		}
		out.WriteString(p.String() + " " + value + ";\n")
	}
	return out.String(), told
}
