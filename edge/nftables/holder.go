package nftables

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ringwall/ringwall/edge"
)

// Bounds of a list: what the edge has at most, and room.
const (
	maxBans   = 110_000
	maxSpared = 10_000
	maxTold   = 8 // connections at once
)

// A Holder holds bans in the kernel. It lives as long as Serve.
type Holder struct {
	// Allow are prefixes whose packets pass whatever is told, such as the owner's.
	Allow []netip.Prefix

	// Nft runs a script of nft(8) whole or not at all; nil: nft of this machine.
	Nft func(ctx context.Context, script string) error

	mu   sync.Mutex
	sets map[string]bool // that the table has
}

// Serve makes the table, without bans, says that it is ready, and takes orders
// until ctx ends. Then the table is removed. Who may connect is the socket's
// matter.
func (h *Holder) Serve(ctx context.Context, l net.Listener, ready func()) (err error) {
	if h.Nft == nil {
		h.Nft = nft
	}
	err = h.replace(ctx, nil, nil)
	switch {
	case ctx.Err() != nil: // told to end while it began: the table may be there
		err = nil
	case err != nil:
		return err
	default:
		ready()
	}
	var open sync.WaitGroup
	defer func() {
		open.Wait()
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		if left := h.Nft(end, none); left != nil {
			err = errors.Join(err, fmt.Errorf("the table stays in the kernel, remove it by nft delete table inet ringwall: %w", left))
		}
	}()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	places := make(chan struct{}, maxTold)
	for {
		c, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		places <- struct{}{}
		open.Go(func() {
			stop := context.AfterFunc(ctx, func() { c.Close() })
			defer func() { stop(); c.Close(); <-places }()
			h.listen(ctx, c)
		})
	}
}

// listen obeys one connection. What it does not understand ends it.
func (h *Holder) listen(ctx context.Context, c io.ReadWriter) {
	in := bufio.NewReaderSize(c, 64<<10)
	told := false
	for {
		line, err := readLine(in)
		if err != nil {
			return
		}
		if line == "replace" {
			var bans []ban
			var spared []netip.Prefix
			if bans, spared, err = readList(in); err == nil {
				err = h.replace(ctx, bans, spared)
			}
			told = err == nil
		} else if err = errAnew; told {
			err = h.obey(ctx, line)
		}
		answer := "ok"
		if err != nil {
			answer = "no " + strings.Join(strings.Fields(err.Error()), " ")
		}
		if _, werr := io.WriteString(c, answer+"\n"); werr != nil || err != nil {
			return
		}
	}
}

// A ban is one address or prefix for so many seconds.
type ban struct {
	prefix  netip.Prefix
	seconds int
}

// obey carries out one order.
func (h *Holder) obey(ctx context.Context, line string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if line == "check" {
		return h.Nft(ctx, look)
	}
	if word, ok := strings.CutPrefix(line, "unban "); ok {
		p, err := parsePrefix(word)
		if err != nil || !h.sets[set(p)] {
			return err
		}
		return h.Nft(ctx, lift(p))
	}
	b, err := parseBan(line)
	if err != nil {
		return err
	}
	var script strings.Builder
	if !h.sets[set(b.prefix)] {
		script.WriteString(newSet(b.prefix))
	}
	script.WriteString(lift(b.prefix))
	script.WriteString(add([]ban{b}))
	if err := h.Nft(ctx, script.String()); err != nil {
		return err
	}
	h.sets[set(b.prefix)] = true
	return nil
}

// replace makes the table anew, in one step.
func (h *Holder) replace(ctx context.Context, bans []ban, spared []netip.Prefix) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	script, sets := table(append(spared, h.Allow...), bans)
	if err := h.Nft(ctx, script); err != nil {
		return err
	}
	h.sets = sets
	return nil
}

func readLine(in *bufio.Reader) (string, error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return "", err
	}
	if len(line) > maxLine {
		return "", errors.New("the line is too long")
	}
	return string(line[:len(line)-1]), nil
}

func readList(in *bufio.Reader) (bans []ban, spared []netip.Prefix, err error) {
	for {
		line, err := readLine(in)
		switch {
		case err != nil:
			return nil, nil, err
		case line == "end":
			return bans, spared, nil
		case len(bans) > maxBans || len(spared) > maxSpared:
			return nil, nil, errors.New("the list is too long")
		}
		if word, ok := strings.CutPrefix(line, "spare "); ok {
			p, err := netip.ParsePrefix(word)
			if err != nil || p != p.Masked() || p.Addr().Is4In6() {
				return nil, nil, fmt.Errorf("%q is not a prefix", word)
			}
			spared = append(spared, p)
			continue
		}
		b, err := parseBan(line)
		if err != nil {
			return nil, nil, err
		}
		bans = append(bans, b)
	}
}

// parseBan takes "ban PREFIX SECONDS" and nothing else.
func parseBan(line string) (b ban, err error) {
	word := strings.Split(line, " ")
	if len(word) != 3 || word[0] != "ban" {
		return b, fmt.Errorf("%q is no order", line)
	}
	if b.prefix, err = parsePrefix(word[1]); err != nil {
		return b, err
	}
	b.seconds, err = strconv.Atoi(word[2])
	if err != nil || b.seconds < 1 || b.seconds > int(edge.LongestBan/time.Second) {
		return b, fmt.Errorf("%q is no length of a ban in seconds", word[2])
	}
	return b, nil
}

// parsePrefix takes what the edge bans: an IPv4 prefix, or an IPv6 one of at
// most 64 bits, that is not half of the Internet.
func parsePrefix(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil, p != p.Masked(), p.String() != s:
		return p, fmt.Errorf("%q is not a prefix", s)
	case p.Addr().Is4() && p.Bits() < 8, p.Addr().Is6() && (p.Bits() < 32 || p.Bits() > 64), p.Addr().Is4In6():
		return p, fmt.Errorf("%s is not what a ban is for", p)
	}
	return p, nil
}

// nft runs a script of this machine's nft.
func nft(ctx context.Context, script string) error {
	ctx, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/usr/sbin/nft", "-f", "-")
	cmd.Stdin = strings.NewReader(script)
	var said bytes.Buffer
	cmd.Stderr = &said
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		first, _, _ := strings.Cut(said.String(), "\n")
		return fmt.Errorf("nft: %w: %s", err, first)
	}
	return nil
}
