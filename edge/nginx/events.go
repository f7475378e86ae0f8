package nginx

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/internal/state"
	"github.com/ringwall/ringwall/limit"
	"github.com/ringwall/ringwall/policy"
)

// eventsAddress is where nginx tells the ring what it refused, as datagrams: the
// same address and port as edge.nginx.listen, over UDP, or a socket beside it.
func eventsAddress(listen string) string {
	if strings.HasPrefix(listen, "unix:") {
		return listen + ".log"
	}
	return listen
}

// eventsFormat is the content of eventsFile: what nginx sends, behind the proof.
func eventsFormat(proof string) string {
	return Print([]Directive{
		{Comment: "The secret that nginx proves itself with. Nobody but root may read this file."},
		d("log_format", "ringwall_events", "escape=json",
			proof+` {"why":"$ringwall_told","client":"$remote_addr","method":"$ringwall_method","path":"$ringwall_path","request":"$request","elsewhere":"$ringwall_elsewhere"}`),
	})
}

// proofHeaderFile is the content of proofFile.
func proofHeaderFile(header, proof string) string {
	return Print([]Directive{
		{Comment: "The secret that nginx proves itself with. Nobody but root may read this file."},
		d("proxy_set_header", header, proof),
	})
}

// Events turns what nginx refused into events of package audit, so that bans
// count it: scanners, floods, and requests that are malformed. nginx sends them
// as datagrams with the proof in front; others are dropped. Of each client one
// event of each kind a second is raised, but for scanners, of which all are.
type Events struct {
	conn  net.PacketConn
	proof []byte
	sink  audit.Sink
	now   func() time.Time

	buckets *limit.Memory
	rates   map[string][]limit.Rate
}

// told are the events by what nginx calls them.
var told = map[string]struct {
	kind    audit.Kind
	control string
	detail  string
}{
	"scanner":     {audit.ScannerRefused, "edge/scanners", "refused by nginx"},
	"rate":        {audit.RateBlocked, "edge/rate", "refused by nginx"},
	"connections": {audit.ConnectionRefused, "edge/connections", "refused by nginx"},
	"protocol":    {audit.ProtocolRefused, "edge/framing", "malformed, refused by nginx"},
	"long":        {audit.InputRefused, "edge/framing", "too long, refused by nginx"},
}

// ListenEvents opens the address, or takes the socket that another process has
// given it; nil: none. Run serves it; its end closes it.
func ListenEvents(p *policy.Policy, given *os.File, sink audit.Sink, now func() time.Time) (*Events, error) {
	if now == nil {
		now = time.Now
	}
	e := &Events{proof: []byte(p.Edge.Nginx.Proof.Reveal()), sink: sink, now: now, buckets: limit.NewMemory(1 << 20), rates: map[string][]limit.Rate{}}
	if len(e.proof) == 0 {
		return nil, p.Errorf("edge.nginx.proof", "make it and set nginx up: ringwall nginx install", "there is no secret that nginx could prove itself with")
	}
	for why := range told {
		if why == "scanner" {
			continue
		}
		rate, err := limit.NewRate("nginx."+why, 1, time.Second, 1)
		if err != nil {
			return nil, err
		}
		e.rates[why] = []limit.Rate{rate}
	}
	at := eventsAddress(p.Edge.Nginx.Listen)
	var err error
	if given != nil {
		e.conn, err = takeEvents(given, at)
	} else if path, ok := strings.CutPrefix(at, "unix:"); ok {
		e.conn, err = openEvents(path)
	} else {
		e.conn, err = net.ListenPacket("udp", at)
	}
	if err != nil {
		if e.conn != nil {
			e.conn.Close()
		}
		return nil, p.Errorf("edge.nginx.listen", "", "nginx's events: %w", err)
	}
	return e, nil
}

// openEvents opens a socket. One that is there is of a server that is gone: one that
// runs has the state directory, and hands its socket on.
func openEvents(path string) (net.PacketConn, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	switch fi, err := os.Lstat(path); {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return nil, err
	case fi.Mode()&os.ModeSocket == 0:
		return nil, fmt.Errorf("%s is a file that is no socket", path)
	default:
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	conn, err := net.ListenPacket("unixgram", path)
	if err != nil {
		return nil, err
	}
	return conn, state.ChmodSocket(path, 0o666)
}

// takeEvents is the socket of the process whose place this one takes, at the same
// address: nginx, which has it open, loses no event.
func takeEvents(given *os.File, at string) (net.PacketConn, error) {
	conn, err := net.FilePacketConn(given)
	if err != nil {
		return nil, err
	}
	was := conn.LocalAddr().String()
	same := "unix:"+was == at
	if udp, ok := conn.LocalAddr().(*net.UDPAddr); ok {
		_, port, _ := net.SplitHostPort(at)
		same = strconv.Itoa(udp.Port) == port
	}
	if !same {
		conn.Close()
		return nil, fmt.Errorf("the old server hears nginx at %s, and the policy says %s: stop it, then start it", was, at)
	}
	return conn, nil
}

// File is a copy of the socket, for another process to be given.
func (e *Events) File() (*os.File, error) {
	if c, ok := e.conn.(interface{ File() (*os.File, error) }); ok {
		return c.File()
	}
	return nil, fmt.Errorf("a socket of %s cannot be handed on", e.conn.LocalAddr().Network())
}

// Close has Run end. Whoever else has the socket goes on.
func (e *Events) Close() { e.conn.Close() }

// Run reads until ctx ends, and closes the address.
func (e *Events) Run(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { e.conn.Close() })
	defer stop()
	defer e.conn.Close()
	buf := make([]byte, 64<<10)
	for {
		n, _, err := e.conn.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) || ctx.Err() != nil {
			return
		}
		if err == nil {
			e.take(buf[:n])
		}
	}
}

// take reads one datagram: <PRI>TIME ringwall: PROOF {...}
func (e *Events) take(b []byte) {
	_, b, ok := bytes.Cut(b, []byte(" ringwall: "))
	if !ok || len(b) <= len(e.proof) || subtle.ConstantTimeCompare(b[:len(e.proof)], e.proof) != 1 {
		return
	}
	var m struct{ Why, Client, Method, Path, Request, Elsewhere string }
	if json.Unmarshal(b[len(e.proof):], &m) != nil {
		return
	}
	what, known := told[m.Why]
	client, err := netip.ParseAddr(m.Client)
	if !known || err != nil {
		return
	}
	client = client.Unmap().WithZone("")
	now := e.now()
	if rates := e.rates[m.Why]; rates != nil {
		var state [1]limit.Decision
		if ok, _ := e.buckets.Take(limit.Addr(client), rates, now, state[:]); !ok {
			return
		}
	}
	// Without a path nginx did not understand the target, and has read no header: a
	// page may have had a browser send it.
	elsewhere := m.Elsewhere != "0" || m.Path == ""
	detail := what.detail
	if m.Why == "scanner" {
		if m.Path == "" {
			m.Path = m.Request
		}
		detail = fmt.Sprintf("%s: %s", detail, m.Path[:min(len(m.Path), 200)])
	}
	e.sink.Record(audit.Event{Time: now, Kind: what.kind, Outcome: audit.Failure, Control: what.control,
		Client: client, Method: m.Method[:min(len(m.Method), 32)], Detail: detail, Elsewhere: elsewhere})
}
