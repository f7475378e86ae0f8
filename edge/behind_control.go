package edge

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// behind is the function Behind, where nginx takes the connections. Where
// Ringwall takes them itself there is no way around. It is never off: a waiver
// only silences the proof.
var behind = Control{
	Meta: check.Meta{
		ID:    "edge/behind",
		Most:  2,
		Title: "A request that goes around the proxy is refused",
		Why:   "Who reaches what is behind a proxy skips all that the proxy does, and says of himself what he likes.",
		Ref:   "CWE-923; ASVS 5.0 V13.2.1; blueprint E1, T8",
	},
	Verify: verifyBehind,
}

// verifyBehind asks where nginx does, without its proof.
func verifyBehind(ctx context.Context, p *policy.Policy, c *probe.Client) check.Finding {
	const fix = "serve by ringwall serve with engine: nginx, and have edge.nginx.listen on loopback"
	ok, err := c.Do(ctx, probe.Request{Target: "/"})
	if err != nil {
		return check.Unseen("no answer to GET /: %v", err)
	}
	if !p.NginxIsEdge() {
		return check.Passed("Ringwall takes the connections itself: there is no proxy to go around; GET / was answered %d", ok.Status)
	}
	network, address := "tcp", p.Edge.Nginx.Listen
	socket, isSocket := strings.CutPrefix(address, "unix:")
	if isSocket {
		network, address = "unix", socket
	}
	if !c.Loopback() {
		if isSocket {
			return check.Unseen("a socket of that machine cannot be tried from here: run ringwall check on the server, against https://localhost or 127.0.0.1")
		}
		_, port, _ := net.SplitHostPort(address)
		address = net.JoinHostPort(c.Base().Hostname(), port)
	}
	site := serverName(p, c)
	for _, forged := range []string{
		"",
		ProofHeader + ": ringwall-check\r\n",
		"X_Ringwall_Proof: ringwall-check\r\n" + ProofHeader + ": \r\n",
	} {
		res, err := askAround(ctx, network, address, "GET /ringwall-check HTTP/1.1\r\nHost: "+site+"\r\nConnection: close\r\nUser-Agent: ringwall-check\r\n"+
			"X-Real-IP: 203.0.113.7\r\nX-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\n"+forged+"\r\n")
		switch {
		case err != nil && !c.Loopback() && (errors.Is(err, syscall.ECONNREFUSED) || isTimeout(err)):
			return check.Passed("%s cannot be reached from here (%v); GET / was answered %d", address, err, ok.Status)
		case err != nil && hungUp(err):
			continue
		case err != nil:
			return check.Unseen("no answer at %s: %v", address, err)
		case !c.Loopback():
			return check.Failed(address+" can be reached from another machine", "nothing but nginx reaches it", fix)
		case res.StatusCode != http.StatusForbidden:
			return check.Failed("around nginx, at "+address+", a request was answered "+res.Status, "403, or no answer", fix)
		}
	}
	return check.Passed("3 requests at %s without nginx's proof were refused; GET / through nginx was answered %d", address, ok.Status)
}

// askAround sends one request, past the proxy.
func askAround(ctx context.Context, network, address, request string) (*http.Response, error) {
	d := net.Dialer{Timeout: 5 * time.Second}
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return nil, err
	}
	if _, err := io.WriteString(conn, request); err != nil {
		return nil, err
	}
	res, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, 1<<20)), nil)
	if err != nil {
		return nil, err
	}
	return res, res.Body.Close()
}
