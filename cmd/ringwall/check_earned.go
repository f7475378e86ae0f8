package main

import (
	"net/http"
	"strings"
	"sync"

	"github.com/ringwall/ringwall/check/probe"
)

// earned adds up what the requests of a check may have earned its address towards a
// ban, by what was answered: seldom as much as the check says of itself. Only the
// server knows exactly; each answer counts for the most that it can stand for
// (docs/bans.md).
type earned struct {
	mu     sync.Mutex
	n      int // requests
	points int
}

func (e *earned) hear(req probe.Request, res *probe.Response) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.n++
	e.points += mostEarned(req, res)
}

// of is the most that a check of some points has earned with the connections that
// it opened. What was sent in another way than as requests is not known.
func (e *earned) of(points, connections int) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.n != connections {
		return points
	}
	return min(points, e.points)
}

func mostEarned(req probe.Request, res *probe.Response) int {
	points := 0
	for _, h := range req.Headers {
		if name := strings.ToLower(h[0]); !ordinaryHeaders[name] && !strings.HasPrefix(name, "sec-fetch-") {
			points = 10 // header.forged, beside whatever is answered
		}
	}
	read := req.Method == "" || req.Method == http.MethodGet || req.Method == http.MethodHead
	credential, session := req.Token != "", strings.Contains(req.Body, "refresh")
	for _, h := range req.Headers {
		credential = credential || strings.EqualFold(h[0], "authorization")
		session = session || strings.EqualFold(h[0], "cookie")
	}
	switch {
	case res == nil, res.Status >= 500: // scanner.refused, of which a front tells as it likes
		points += 20
	case res.Status < 400:
	case res.Status == http.StatusUnauthorized && session: // token.reused
		points += 20
	case res.Status == http.StatusUnauthorized && credential: // token.forged
		points += 10
	case res.Status == http.StatusUnauthorized && read: // nobody's request weighs nothing
	case res.Status == http.StatusForbidden: // access.denied
		points++
	case !read: // auth.failed
		points += 4
	default: // protocol.refused
		points += 2
	}
	return points
}

// ordinaryHeaders are those that nobody is blamed for.
var ordinaryHeaders = map[string]bool{"accept": true, "authorization": true, "content-length": true, "content-type": true, "cookie": true, "origin": true,
	"user-agent": true, "access-control-request-headers": true, "access-control-request-method": true}
