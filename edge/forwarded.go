package edge

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/loopback"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// forwarded is Proxy.told and judgeName. It always holds: a waiver only takes it
// out of reports, for an API that reads none of it.
var forwarded = Control{
	Meta: check.Meta{
		ID:    "edge/forwarded",
		Title: "The API hears from the edge alone who calls, and from where",
		Why:   "An API believes X-Forwarded-For and X-Ringwall-User; a client that could write them, or strip them, would be whoever it likes.",
		Ref:   "RFC 7239, 8; RFC 9110, 7.6.1; CWE-348; blueprint E4, T8, checklist 3",
	},
	Inside: "run the check as root on the server, or have the API log its request headers, and ask: curl -H 'X-Real-IP: 192.0.2.1' -H 'X_Ringwall_User: root' -H 'Connection: X-Real-IP' https://SITE/: none of the three reaches it, and X-Forwarded-For is your address",
	Size: func(p *policy.Policy, c *probe.Client) (requests, points int) {
		return reachRequests(p, c) + len(forgeries), 0
	},
	Verify: verifyForwarded,
	Here:   upstreamHere,
}

// Values that no client has: those of its own that reach the API are seen by them.
const (
	forgedAddress = "192.0.2.77" // TEST-NET-1
	forgedUser    = "ringwall-check-forged"
)

// forgeries are what a client would write. Each is a request of its own, as one
// that is refused hides the others.
var forgeries = []string{
	"X-Forwarded-For: " + forgedAddress + "\r\nX-Real-IP: " + forgedAddress + "\r\nForwarded: for=" + forgedAddress + "\r\nTrue-Client-IP: " + forgedAddress +
		"\r\nX-Ringwall-User: " + forgedUser + "\r\nX-Ringwall-Roles: " + forgedUser + "\r\nConnection: close\r\n",
	"X_Forwarded_For: " + forgedAddress + "\r\nX_Real_IP: " + forgedAddress + "\r\nX_Ringwall_User: " + forgedUser + "\r\nConnection: close\r\n",
	"Connection: close, X-Forwarded-For, X-Real-IP, X-Ringwall-User, X-Ringwall-Roles\r\n",
}

// verifyForwarded forges, and reads on the loopback interface what the API gets.
func verifyForwarded(ctx context.Context, p *policy.Policy, c *probe.Client) check.Finding {
	port, _ := loopback.Port(p.Behind()[0])
	tap, err := loopback.NewTap(port)
	if err != nil {
		return check.Unseen("%v", err)
	}
	defer tap.Close()
	const fix = "put Ringwall's edge in front of the API; in another proxy set each of these headers, never append to what the client sent, and drop names with an underscore"
	path, token, plain, err := reachesAPI(ctx, p, c, tap)
	if err != nil {
		return check.Unseen("%v", err)
	}
	told := ""
	for _, forged := range forgeries {
		from, got, status, err := throughTo(ctx, c, tap, path, token, forged)
		if err != nil {
			return check.Unseen("GET %s: %v", path, err)
		}
		if peer, err := netip.ParseAddr(from); err != nil || slices.ContainsFunc(p.Edge.TrustedProxies, func(t netip.Prefix) bool { return t.Contains(peer.Unmap()) }) {
			return check.Unseen("the policy believes what %s says of other addresses", from)
		}
		if got == nil && (status < 400 || status == plain) {
			return check.Unseen("GET %s with forged headers was answered %d, and what the API got was not seen", path, status)
		}
		if got == nil {
			continue // refused
		}
		if f, ok := judgeTold(path, from, got, fix); !ok {
			return f
		}
		told = from
	}
	if told == "" {
		return check.Passed("GET %s with forged addresses and callers was refused, and nothing of it reached the API", path)
	}
	return check.Passed("seen on loopback: of GET %s with forged addresses and callers, in two spellings and struck out by Connection, the API got X-Forwarded-For: %s and nothing forged", path, told)
}

// throughTo sends a request with headers of its own and returns from which
// address, what the API got (nil: nothing), and the answer's status.
func throughTo(ctx context.Context, c *probe.Client, tap *loopback.Tap, path, token, headers string) (from string, got []byte, status int, err error) {
	mark := "ringwall-check/" + rand.Text()
	conn, err := c.Dial(ctx)
	if err != nil {
		return "", nil, 0, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	from, _, _ = net.SplitHostPort(conn.LocalAddr().String())
	// Read while it is answered: the tap holds little.
	watch, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	seen := make(chan []byte, 1)
	go func() {
		b, _ := tap.Request(watch, mark)
		seen <- b
	}()
	if _, err = io.WriteString(conn, get(c, path, token, mark, headers)); err == nil {
		var res *http.Response
		if res, err = http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
			status = res.StatusCode
			res.Body.Close()
		}
	}
	time.AfterFunc(200*time.Millisecond, stop) // it was there before the answer
	got = <-seen
	return from, got, status, err
}

// get is a request with more headers.
func get(c *probe.Client, path, token, agent, headers string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: " + c.Base().Host + "\r\nUser-Agent: " + agent + "\r\n" + bearerLine(token) + headers + "\r\n"
}

// bearerLine is the header of a token, if there is one.
func bearerLine(token string) string {
	if token == "" {
		return ""
	}
	return "Authorization: Bearer " + token + "\r\n"
}

// reachRequests is how many requests reachesAPI sends at most.
func reachRequests(p *policy.Policy, c *probe.Client) int {
	callers := 1
	for role := range p.Identity.Roles {
		if c.Token(role) != "" {
			callers++
		}
	}
	return callers * (1 + len(bodyPaths(p)))
}

// reachesAPI finds a path that the API itself answers, for whom, and how.
func reachesAPI(ctx context.Context, p *policy.Policy, c *probe.Client, tap *loopback.Tap) (path, token string, status int, err error) {
	for _, try := range append([]string{"/"}, bodyPaths(p)...) {
		for i, role := range append([]string{""}, slices.Sorted(maps.Keys(p.Identity.Roles))...) {
			token := c.Token(role)
			if token == "" && i > 0 {
				continue
			}
			_, got, status, err := throughTo(ctx, c, tap, try, token, "Connection: close\r\n")
			if err != nil {
				return "", "", 0, fmt.Errorf("GET %s: %w", try, err)
			}
			if got != nil {
				return try, token, status, nil
			}
		}
	}
	return "", "", 0, errors.New("no request reached the API: give `ringwall check` a token, or look whether it is the policy's")
}

// judgeTold looks for what the client forged in what the API got, and for what
// only the edge can have said.
func judgeTold(path, from string, got []byte, fix string) (check.Finding, bool) {
	want := "X-Forwarded-For: " + from + ", and nothing of what the client said"
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(got)))
	if err != nil {
		return check.Unseen("what the API got of GET %s is no request: %v", path, err), false
	}
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		for _, v := range r.Header[name] {
			if strings.Contains(v, forgedAddress) || strings.Contains(v, forgedUser) {
				return check.Failed(fmt.Sprintf("GET %s: the client's own %s: %s reached the API", path, name, v), want, fix), false
			}
		}
	}
	if told := r.Header.Values("X-Forwarded-For"); len(told) != 1 || told[0] != from {
		return check.Failed(fmt.Sprintf("GET %s came from %s, and the API was told %q", path, from, told), want, fix), false
	}
	return check.Finding{}, true
}

// upstreamHere reports whether what the API gets can be seen: on this machine, by
// root, with HTTP/1.1 over TCP.
func upstreamHere(p *policy.Policy, c *probe.Client) bool {
	up := p.Behind()
	if len(up) != 1 {
		return false
	}
	port, ok := loopback.Port(up[0])
	if !ok {
		return false
	}
	tap, err := loopback.NewTap(port)
	if err != nil {
		return false
	}
	tap.Close()
	return loopback.Local(c.Base().Hostname()) // asks the DNS
}
