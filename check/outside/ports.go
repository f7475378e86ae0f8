package outside

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
)

// privatePorts are where APIs, databases and their tools listen by default.
var privatePorts = []int{
	3000, 3001, 4000, 5000, 8000, 8001, 8008, 8080, 8081, 8443, 8888, 9000, 9090, // APIs and their tools
	3306, 5432, 6379, 27017, 9200, 11211, 5672, 15672, 2375, 2376, 6443, 10250, 5984, 9042, 1433, // stores, queues, Docker, Kubernetes
	21, 23, 25, 111, 445, 3389, 5900, // what a server of APIs has no use for
}

// ports connects to each private port at every address of the host, IPv4 and
// IPv6, and says nothing there but what shows whether the API is behind it. Silence,
// and a firewall's rejection, tell that a port is closed only of an address that
// answers on the target's own port, and does so after all the others: a dead host is
// silent too, and so is one that has banned this address in the middle of the look.
var ports = Check{
	Meta: check.Meta{
		ID:    "outside/ports",
		Most:  72,
		Title: "Nothing but the proxy and SSH can be reached from outside",
		Why:   "Who reaches the API's own port passes by the proxy and all that it enforces; who reaches the database needs no API.",
		Ref:   "ASVS 5.0 V13.2.5; OWASP API8 2023; CWE-668; CIS Controls v8 4.4; blueprint E1, H3, H4, T8, checklist 2, checklist 7",
		Layer: "host",
	},
	Manner: Active,
	NoRing: true,
	Afar:   true,
	See:    "look from another machine: ringwall check https://HOST",
	Verify: func(ctx context.Context, t *Target) check.Finding {
		const want = "no answer on any port but 80, 443 and SSH's"
		const fix = "have the API listen on 127.0.0.1; ufw default deny incoming; ufw allow OpenSSH; ufw allow 80,443/tcp; ufw enable (Docker publishes ports past ufw: write 127.0.0.1:8000:8000)"
		addrs, err := t.addresses(ctx)
		switch {
		case err != nil:
			return check.Unseen("the host's addresses: %v", err)
		case len(addrs) == 0:
			return check.Unseen("the host has no address")
		}
		list := t.Ports
		if list == nil {
			list = privatePorts
		}
		own, _ := strconv.Atoi(portOf(t.Client.Host()))
		list = slices.DeleteFunc(slices.Clone(list), func(p int) bool { return p == own })
		type open struct {
			addr string
			what string
		}
		var found []open
		var noRoute, untried, mute, looked []string
		addrs = oneOfEach(addrs)
		for _, a := range addrs {
			var mu sync.Mutex
			var wg sync.WaitGroup
			var most atomic.Int32 // that are asked what they are
			refused, rejected, unreachable, spent := 0, 0, 0, 0
			slots := make(chan struct{}, 8)
			for _, p := range list {
				slots <- struct{}{}
				wg.Go(func() {
					defer func() { <-slots }()
					addr := net.JoinHostPort(a.String(), strconv.Itoa(p))
					conn, err := t.Client.DialPort(ctx, addr, 2*time.Second)
					what := ""
					if err == nil {
						if most.Add(1) <= 8 && ctx.Err() == nil { // a tarpit has every port open, and says nothing
							what = speaks(conn, t)
						}
						conn.Close()
					}
					mu.Lock()
					defer mu.Unlock()
					switch {
					case err == nil:
						found = append(found, open{addr, what})
					case errors.Is(err, probe.ErrNoRequests), ctx.Err() != nil:
						spent++
					case errors.Is(err, syscall.ECONNREFUSED):
						refused++
					case probe.Rejected(err):
						rejected++
					case probe.Unreachable(err):
						unreachable++
					}
				})
			}
			wg.Wait()
			switch {
			case unreachable == len(list):
				noRoute = append(noRoute, a.String())
			case unreachable+spent > 0:
				untried = append(untried, fmt.Sprintf("%d of %d ports of %s", unreachable+spent, len(list), a))
			case refused == len(list):
				looked = append(looked, a.String())
			default:
				switch err := t.alive(ctx, a); {
				case err == nil:
					looked = append(looked, a.String())
				case rejected == len(list) && probe.Rejected(err):
					noRoute = append(noRoute, a.String())
				case errors.Is(err, probe.ErrNoRequests), ctx.Err() != nil:
					untried = append(untried, "whether "+a.String()+" answers at all")
				default:
					mute = append(mute, a.String())
				}
			}
		}
		missed := "" // what could not be tried never hides what was found open
		if len(untried) > 0 {
			missed = "; not tried, for want of requests (--max-requests) or of time: " + strings.Join(untried, ", ")
		}
		if len(noRoute) > 0 {
			missed += "; this machine has no way to " + strings.Join(noRoute, ", ") + ", or a firewall rejects all that comes from it: look from one that has"
		}
		if len(mute) > 0 {
			missed += "; nobody answers at " + strings.Join(mute, ", ") + " at all, not on port " + portOf(t.Client.Host()) + " either"
		}
		if len(found) > 0 {
			slices.SortFunc(found, func(a, b open) int { return strings.Compare(a.addr, b.addr) })
			var all []string
			for _, o := range found {
				all = append(all, o.addr+o.what)
			}
			if more := len(all) - 8; more > 0 {
				all = append(all[:8], fmt.Sprintf("and %d more", more))
			}
			return check.Failed("open: "+strings.Join(all, ", ")+missed, want, fix)
		}
		if missed != "" {
			if len(looked) > 0 {
				missed = ": all are closed at " + strings.Join(looked, " and ") + missed
			}
			return check.Unseen("nothing was found open%s", missed)
		}
		return check.Passed("%d ports are closed at %s", len(list), strings.Join(looked, " and "))
	},
}

// alive reports whether anybody is at an address of the host's: the target's own
// port is open there, or refused.
func (t *Target) alive(ctx context.Context, a net.IP) error {
	conn, err := t.Client.DialPort(ctx, net.JoinHostPort(a.String(), portOf(t.Client.Host())), 5*time.Second)
	switch {
	case err == nil:
		conn.Close()
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil
	}
	return err
}

// oneOfEach keeps the first address of IPv4 and the first of IPv6: a name with
// more stands for as many machines, and each is looked at by its address.
func oneOfEach(addrs []net.IP) (out []net.IP) {
	var v4, v6 bool
	for _, a := range addrs {
		if is4 := a.To4() != nil; is4 && !v4 || !is4 && !v6 {
			out = append(out, a)
			v4, v6 = v4 || is4, v6 || !is4
		}
	}
	return out
}

// addresses are all of the host's.
func (t *Target) addresses(ctx context.Context) ([]net.IP, error) {
	host := t.Client.Base().Hostname()
	if ip := net.ParseIP(host); ip != nil {
		return []net.IP{ip}, nil
	}
	if t.Lookup != nil {
		return t.Lookup(ctx, host)
	}
	found, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	var out []net.IP
	for _, a := range found {
		out = append(out, a.IP)
	}
	return out, err
}

func bracket(ip net.IP) string {
	if ip.To4() == nil {
		return "[" + ip.String() + "]"
	}
	return ip.String()
}

func portOf(hostport string) string {
	_, port, _ := net.SplitHostPort(hostport)
	return port
}

// speaks asks an open port for a page, and says what answered. The caller holds
// the mutex: one port is asked at a time.
func speaks(conn net.Conn, t *Target) string {
	_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
	if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nUser-Agent: ringwall-check\r\n\r\n", t.site()); err != nil {
		return ""
	}
	res, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, 64<<10)), nil)
	if err != nil {
		return ""
	}
	res.Body.Close()
	return fmt.Sprintf(" (HTTP, %d)", res.StatusCode)
}
