package inside

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/loopback"
)

// listeners lists what listens on more than loopback, and holds it against the
// firewall in force.
var listeners = Check{
	Meta: check.Meta{
		ID:    "inside/listeners",
		Title: "What listens is on loopback, or behind the firewall, or meant to be reached",
		Why:   "An API or a database that listens on every address is reached around the proxy as soon as the firewall has a gap.",
		Ref:   "ASVS 5.0 V13.2.5; CIS Debian 12, 4.2; CWE-668; blueprint E1, H3, H4, T8, checklist 2, checklist 7",
		Layer: "host",
	},
	Verify: func(ctx context.Context, m *Machine) check.Finding {
		open, err := m.listening()
		if err != nil {
			return check.Unseen("what listens: %v", err)
		}
		wall, wallErr := m.firewall(ctx)
		meant := append([]int{80, 443}, m.Open...)
		if len(m.Open) == 0 {
			meant = append(meant, 22)
		}
		var exposed, behind, barred, public, doubtful []string
		for _, l := range open {
			name := l.String()
			if slices.Contains(meant, l.port) {
				public = append(public, name)
				continue
			}
			switch fate := wall.worst(l); {
			case wall == nil:
				doubtful = append(doubtful, name)
			case strings.HasPrefix(l.program, "docker"), !fate.shut && fate.why == "":
				exposed = append(exposed, name)
			case fate.shut && fate.but != "":
				barred = append(barred, fmt.Sprintf("%s (%s)", name, fate.but))
			case fate.shut:
				behind = append(behind, name)
			default:
				doubtful = append(doubtful, fmt.Sprintf("%s (%s)", name, fate.why))
			}
		}
		firewall, why := "", ""
		if wall != nil {
			firewall, why = wall.kept()
		}
		got := fmt.Sprintf("%d listen on more than loopback", len(open))
		if len(public) > 0 {
			got += "; meant to: " + some(public)
		}
		if len(behind) > 0 {
			got += "; kept from outside: " + some(behind)
		}
		if len(barred) > 0 {
			got += "; kept from all but those whose address a rule names: " + some(barred)
		}
		switch {
		case len(exposed) > 0 && firewall != "":
			return check.Failed("reachable from outside: "+some(exposed)+"; "+firewall+" lets them in", "80, 443 and SSH alone", shutPort)
		case len(exposed) > 0:
			return check.Failed(strings.TrimSpace("reachable from outside: "+some(exposed)+"; no firewall is in force "+why), "80, 443 and SSH alone", shutPort)
		case wallErr != nil && len(doubtful) > 0:
			return check.Unseen("%s; and %s, which the firewall may or may not let in: %v", got, some(doubtful), wallErr)
		case wallErr != nil:
			return check.Unseen("%s; the firewall could not be seen: %v", got, wallErr)
		case len(doubtful) > 0:
			return check.Unseen("%s; and what may be let in by a rule that was not understood: %s", got, some(doubtful))
		case firewall == "" && (why == "" || why == forIPv6):
			return check.Failed(strings.TrimSpace(got+"; no firewall is in force "+why), "a firewall that denies what is not allowed", "ufw allow OpenSSH; ufw allow 80,443/tcp; ufw default deny incoming; ufw enable")
		case firewall == "":
			return check.Unseen("%s; whether a firewall denies what it does not allow is not known: %s", got, why)
		}
		return check.Passed("%s; %s is in force", got, firewall)
	},
}

const shutPort = "have it listen on 127.0.0.1; ufw default deny incoming; ufw allow OpenSSH; ufw allow 80,443/tcp; ufw enable; for Docker publish 127.0.0.1:PORT:PORT"

type listener struct {
	ip      net.IP
	port    int
	program string // "": not known
	pids    []string
}

func (l listener) String() string {
	s := net.JoinHostPort(l.ip.String(), strconv.Itoa(l.port))
	if l.program != "" {
		s += " (" + l.program + ")"
	}
	return s
}

// listening reads the kernel's own list of TCP sockets.
func (m *Machine) listening() ([]listener, error) {
	owners := loopback.Owners(m.Root)
	var out []listener
	for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, err := os.ReadFile(m.path(name))
		if os.IsNotExist(err) && strings.HasSuffix(name, "6") {
			continue // no IPv6
		}
		if err != nil {
			return nil, err
		}
		m.note(check.File(name, string(b)))
		sockets, err := loopback.Listening(b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for _, sock := range sockets {
			if sock.IP.IsLoopback() {
				continue
			}
			l := listener{ip: sock.IP, port: sock.Port}
			for _, pid := range owners[sock.Inode] { // the last names it: the first may be systemd, which holds it for others
				l.pids = append(l.pids, strconv.Itoa(pid))
				if comm, err := os.ReadFile(m.path(fmt.Sprintf("/proc/%d/comm", pid))); err == nil {
					l.program = strings.TrimSpace(string(comm))
				}
			}
			// Several may share a port, each with a socket of its own.
			at := slices.IndexFunc(out, func(o listener) bool { return o.port == l.port && o.ip.Equal(l.ip) })
			if at < 0 {
				out = append(out, l)
				continue
			}
			if len(l.pids) == 0 {
				l.pids = []string{""} // nobody's that is seen
			}
			out[at].pids = append(out[at].pids, l.pids...)
		}
	}
	slices.SortFunc(out, func(a, b listener) int { return a.port - b.port })
	return out, nil
}
