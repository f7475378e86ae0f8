package nftables

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/ringwall/ringwall/edge"
)

// The protocol is lines. Each of these is answered by "ok", or by "no" and why:
//
//	ban 192.0.2.1/32 600     for so many seconds, in the place of what it has
//	unban 192.0.2.1/32
//	check                    is the table as this connection has left it?
//	replace                  begins a list, of which only the end is answered:
//	spare 203.0.113.0/24
//	ban 192.0.2.1/32 600
//	end
const (
	answerWait = 30 * time.Second // 100,000 bans take a second
	maxLine    = 128
)

// A Banner tells a Holder of the edge's bans. It connects when it is needed, and
// anew after an error.
type Banner struct {
	socket string
	conn   net.Conn
	said   *bufio.Reader
}

var _ edge.Banner = (*Banner)(nil)

// NewBanner tells the Holder that listens on a unix socket.
func NewBanner(socket string) *Banner { return &Banner{socket: socket} }

var errAnew = errors.New("the connection is new, and nothing was told over it")

// Replace tells everything.
func (b *Banner) Replace(bans []edge.Ban, spared []netip.Prefix) error {
	if b.conn == nil {
		conn, err := net.Dial("unix", b.socket)
		if err != nil {
			return err
		}
		b.conn, b.said = conn, bufio.NewReaderSize(conn, 4<<10)
	}
	return b.tell(func(w io.Writer) {
		fmt.Fprintln(w, "replace")
		for _, p := range spared {
			fmt.Fprintln(w, "spare", p)
		}
		for _, ban := range bans {
			sayBan(w, ban)
		}
		fmt.Fprintln(w, "end")
	})
}

// Ban tells of one.
func (b *Banner) Ban(ban edge.Ban) error { return b.tell(func(w io.Writer) { sayBan(w, ban) }) }

// Unban lifts one.
func (b *Banner) Unban(p netip.Prefix) error {
	return b.tell(func(w io.Writer) { fmt.Fprintln(w, "unban", p) })
}

// Check asks.
func (b *Banner) Check() error { return b.tell(func(w io.Writer) { fmt.Fprintln(w, "check") }) }

func sayBan(w io.Writer, ban edge.Ban) {
	left := max(1, int64((time.Until(ban.Until)+time.Second-1)/time.Second)) // one that ends now is lifted at once
	fmt.Fprintln(w, "ban", ban.Prefix, left)
}

// tell says something and reads the answer. On any error the connection ends:
// half a list is then no list.
func (b *Banner) tell(say func(io.Writer)) (err error) {
	if b.conn == nil {
		return errAnew
	}
	defer func() {
		if err != nil {
			b.conn.Close()
			b.conn = nil
		}
	}()
	if err := b.conn.SetDeadline(time.Now().Add(answerWait)); err != nil {
		return err
	}
	w := bufio.NewWriterSize(b.conn, 64<<10)
	say(w)
	if err := w.Flush(); err != nil {
		return err
	}
	answer, err := b.said.ReadString('\n')
	if err != nil {
		return fmt.Errorf("%s: %w", b.socket, err)
	}
	if why, no := strings.CutPrefix(answer, "no "); no {
		return errors.New(strings.TrimSpace(why))
	}
	if answer != "ok\n" {
		return fmt.Errorf("%s: it answered %.40q", b.socket, answer)
	}
	return nil
}
