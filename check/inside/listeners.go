package inside

import (
	"context"
	"fmt"
	"net"
	"os"
	"regexp"
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
		allowed, firewall, fwErr := m.firewall(ctx)
		meant := append([]int{80, 443}, m.Open...)
		if len(m.Open) == 0 {
			meant = append(meant, 22)
		}
		var exposed, behind, public []string
		for _, l := range open {
			switch name := l.String(); {
			case slices.Contains(meant, l.port):
				public = append(public, name)
			case fwErr == nil && firewall != "" && !allowed(l.port) && !strings.HasPrefix(l.program, "docker"):
				behind = append(behind, name)
			default:
				exposed = append(exposed, name)
			}
		}
		got := fmt.Sprintf("%d listen on more than loopback", len(open))
		if len(public) > 0 {
			got += "; meant to: " + some(public)
		}
		if len(behind) > 0 {
			got += "; behind " + firewall + ": " + some(behind)
		}
		if len(exposed) > 0 && fwErr != nil {
			return check.Unseen("%s; and %s, which the firewall may or may not let in: %v", got, some(exposed), fwErr)
		}
		if len(exposed) > 0 {
			why := "no firewall is in force"
			if firewall != "" {
				why = firewall + " lets them in"
			}
			return check.Failed("reachable from outside: "+some(exposed)+"; "+why, "80, 443 and SSH alone",
				"have it listen on 127.0.0.1; ufw default deny incoming; ufw allow OpenSSH; ufw allow 80,443/tcp; ufw enable; for Docker publish 127.0.0.1:PORT:PORT")
		}
		if firewall == "" && fwErr == nil {
			return check.Failed(got+"; no firewall is in force", "a firewall that denies what is not allowed", "ufw allow OpenSSH; ufw allow 80,443/tcp; ufw default deny incoming; ufw enable")
		}
		if fwErr != nil {
			return check.Unseen("%s; the firewall could not be seen: %v", got, fwErr)
		}
		return check.Passed("%s; %s is in force", got, firewall)
	},
}

type listener struct {
	ip      net.IP
	port    int
	program string // "": not known
	pid     string
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
			if sock.IP.IsLoopback() || slices.ContainsFunc(out, func(o listener) bool { return o.port == sock.Port && o.ip.Equal(sock.IP) }) {
				continue
			}
			l := listener{ip: sock.IP, port: sock.Port}
			for _, pid := range owners[sock.Inode] { // the last: the first may be systemd, which holds it for others
				if comm, err := os.ReadFile(m.path(fmt.Sprintf("/proc/%d/comm", pid))); err == nil {
					l.program, l.pid = strings.TrimSpace(string(comm)), strconv.Itoa(pid)
				}
			}
			out = append(out, l)
		}
	}
	slices.SortFunc(out, func(a, b listener) int { return a.port - b.port })
	return out, nil
}

var ufwRule = regexp.MustCompile(`(?m)^(\d+)(?::(\d+))?(?:,([\d,:]+))?(?:/tcp)?(?: \(v6\))?\s+(?:ALLOW|LIMIT)(?: IN)?\s`)

// firewall says which firewall denies what it does not allow, "" for none, and
// what it lets in from anywhere.
func (m *Machine) firewall(ctx context.Context) (allowed func(port int) bool, name string, err error) {
	none := func(int) bool { return true }
	if m.UID != 0 {
		return none, "", errNotRoot
	}
	if text, err := m.Run(ctx, "ufw", "status", "verbose"); err == nil && strings.Contains(text, "Status: active") {
		if !strings.Contains(text, "deny (incoming)") && !strings.Contains(text, "reject (incoming)") {
			return none, "", nil
		}
		var spans [][2]int
		for _, r := range ufwRule.FindAllStringSubmatch(text, -1) {
			for _, one := range strings.Split(strings.Trim(r[1]+":"+r[2]+","+r[3], ","), ",") {
				a, b, _ := strings.Cut(strings.Trim(one, ":"), ":")
				lo, _ := strconv.Atoi(a)
				hi, err := strconv.Atoi(b)
				if err != nil {
					hi = lo
				}
				spans = append(spans, [2]int{lo, hi})
			}
		}
		// Names of applications, as `ufw allow OpenSSH` writes them.
		for app, port := range map[string]int{"OpenSSH": 22, "Nginx HTTP ": 80, "Nginx HTTPS": 443} {
			if strings.Contains(text, app) {
				spans = append(spans, [2]int{port, port})
			}
		}
		return func(p int) bool {
			return slices.ContainsFunc(spans, func(s [2]int) bool { return s[0] <= p && p <= s[1] })
		}, "ufw", nil
	}
	text, err := m.Run(ctx, "nft", "--terse", "list", "ruleset")
	if err != nil {
		return none, "", fmt.Errorf("nft: %w", err)
	}
	if !inputDrops.MatchString(text) {
		return none, "", nil
	}
	return func(p int) bool {
		for _, line := range strings.Split(text, "\n") {
			if strings.Contains(line, "accept") && nftPorts(line, p) {
				return true
			}
		}
		return false
	}, "nftables", nil
}

var (
	inputDrops = regexp.MustCompile(`hook input priority[^;]*; policy drop`)
	dport      = regexp.MustCompile(`dport (?:\{([^}]*)\}|([0-9-]+))`)
)

func nftPorts(line string, port int) bool {
	for _, r := range dport.FindAllStringSubmatch(line, -1) {
		for _, one := range strings.Split(r[1]+r[2], ",") {
			a, b, span := strings.Cut(strings.TrimSpace(one), "-")
			lo, err := strconv.Atoi(a)
			hi := lo
			if span {
				hi, _ = strconv.Atoi(b)
			}
			if err == nil && lo <= port && port <= hi {
				return true
			}
		}
	}
	return false
}
