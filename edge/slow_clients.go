package edge

import (
	"context"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// slowClients cuts clients that hold a connection without using it.
//
//   - A header has 10 s, from the connection or its first bytes on. This, and
//     a minute for an idle connection, are the server's own and always hold.
//   - A body must come, and an answer be taken, at 1 kB/s on average: see pace.
//     Over HTTP/2 and 3 a body is held to it until the answer begins, and one
//     stream of an answer may stand still for mostPause.
//
// Each connection that is cut raises an event. It is applied by State.Accept
// and Unstuck.
var slowClients = Control{
	Meta: check.Meta{
		ID:     "edge/slow-clients",
		Most:   4,
		Points: 2,
		Title:  "A client that sends or reads too slowly is cut",
		Why:    "A thousand connections that send a byte now and then cost the attacker nothing and hold every place there is.",
		Ref:    "CVE-2007-6750; CWE-400; OWASP API4 2023; blueprint E3, E5, T2, T7",
		Waits:  true,
	},
	Verify: verifySlowClients,
}

// verifySlowClients announces a body where somebody waits for it, and keeps it
// back.
func verifySlowClients(ctx context.Context, p *policy.Policy, c *probe.Client) check.Finding {
	const fix = "put Ringwall's edge in front of the API, or set a timeout of bodies in the proxy"
	ok, err := c.Do(ctx, probe.Request{Target: "/"})
	if err != nil {
		return check.Unseen("no answer to GET /: %v", err)
	}
	most := grace + grace/2
	var took time.Duration
	for _, path := range bodyPaths(p) {
		took, err = waitForBody(ctx, c, path, most)
		if err != nil {
			return check.Unseen("POST %s: %v", path, err)
		}
		if took > patience { // it was the body that was waited for
			break
		}
	}
	got := "half a body was waited for " + strconv.Itoa(int(took.Round(time.Second).Seconds())) + " s"
	if took >= most {
		return check.Shown(got+" and more", "the end after "+grace.String(), fix)
	}
	return check.Passed("%s; GET / was answered %d", got, ok.Status)
}

// patience is longer than the app ring's with a body that nobody reads.
const patience = 5 * time.Second

// bodyPaths are where a body may be read: up to four.
func bodyPaths(p *policy.Policy) []string {
	paths := []string{"/api/notes", "/"}
	for _, r := range p.App.Routes {
		if path := strings.TrimSuffix(r.Path, "/"); path != "" && !strings.Contains(path, "{") && !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	return paths[:min(len(paths), 4)]
}

// waitForBody sends half a body and returns how long it was waited for, at most
// until most has passed.
func waitForBody(ctx context.Context, c *probe.Client, path string, most time.Duration) (time.Duration, error) {
	conn, err := c.Dial(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	began := time.Now()
	conn.SetDeadline(began.Add(most))
	_, err = io.WriteString(conn, halfBody(c, path))
	if err != nil {
		return 0, err
	}
	_, _ = conn.Read(make([]byte, 1)) // an answer, the end or the deadline
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return time.Since(began), nil
}

// halfBody is a request whose body ends early.
func halfBody(c *probe.Client, path string) string {
	return "POST " + path + " HTTP/1.1\r\nHost: " + c.Base().Host + "\r\nUser-Agent: ringwall-check\r\n" + bearerLine(c.Token("")) +
		"Content-Type: application/json\r\nContent-Length: 20\r\n\r\n{\"title\":"
}
