package outside

import (
	"context"
	"io"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
)

// slowMost is how long a server may wait for the end of a head: nginx waits for a
// minute.
const slowMost = 65 * time.Second

// slowClients keeps back the end of a request's head.
var slowClients = Check{
	Meta: check.Meta{
		ID:    "outside/slow-clients",
		Most:  2,
		Title: "A client that never ends its request is not waited for",
		Why:   "A thousand connections that say one byte a minute cost their sender nothing, and the server all that it has.",
		Ref:   "CVE-2007-6750; OWASP API4 2023; CWE-400; blueprint E3, E5, T2, T7",
		Layer: "edge",
	},
	Manner: Intrusive,
	Verify: func(ctx context.Context, t *Target) check.Finding {
		if _, err := t.Client.Do(ctx, probe.Request{Target: t.base()}); err != nil {
			return unanswered("GET "+t.base(), err)
		}
		conn, err := t.Client.Dial(ctx)
		if err != nil {
			return unanswered("a connection", err)
		}
		defer conn.Close()
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		defer stop()
		began := time.Now()
		_ = conn.SetDeadline(began.Add(slowMost))
		if _, err := io.WriteString(conn, "GET "+t.base()+" HTTP/1.1\r\nHost: "+t.Client.Base().Host+"\r\nX-Slow: "); err != nil {
			return unanswered("half a request", err)
		}
		_, err = io.ReadAll(io.LimitReader(conn, 1<<16))
		took := time.Since(began).Round(time.Second)
		switch {
		case ctx.Err() != nil:
			return check.Unseen("half a request was waited for until the check itself ended, after %v", took)
		case probe.IsTimeout(err):
			return check.Failed("half a request was waited for "+took.String()+" and more", "the end within a minute", "in nginx: client_header_timeout 10s; client_body_timeout 10s; send_timeout 10s")
		}
		return check.Passed("half a request was ended after %v", took)
	},
}
