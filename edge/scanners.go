package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// scanners ends requests for paths that only scanners ask for: dotfiles, pages
// of software that is not here, backups, and traversals of the file system. The
// client gets no byte of an answer. Paths are judged by segment, in any letter
// case, and decoded up to three times; the query is not looked at.
//
// A path of the list is the API's own, and passes, when
//   - edge.scanners.allow has it, or
//   - a route of the policy names it: its pattern begins with a literal segment
//     and goes on at least to the segment in question, so that the route /api/
//     does not stand for /api/.env, and /files/{name} does for /files/a.php, or
//   - the OpenAPI document describes it, and not just any first segment.
//
// A traversal never passes: two dots in a disguise (..;, %2e, %252e, overlong
// UTF-8, a backslash), or more of them than there are folders. A plain /a/../b
// may be a client's clumsiness: app/path tells it what is wrong.
var scanners = Control{
	Meta: check.Meta{
		ID:     "edge/scanners",
		Most:   8,
		Points: 20,
		Title:  "Scanners for known holes get no answer",
		Why:    "Each answer, a 404 too, tells a scanner what runs here, and costs more than it is worth.",
		Ref:    "CWE-22, CWE-538; ASVS 5.0 V13.4.1; OWASP API8 2023; blueprint E6, T7",
		Spends: true,
	},
	Gate:   func(p *policy.Policy, _ *State) (Judge, error) { return judgeScanners(p) },
	Verify: verifyScanners,
}

func judgeScanners(p *policy.Policy) (Judge, error) {
	l := newScannerList(p.Site)
	own, err := newOwnPaths(p)
	if err != nil {
		return nil, err
	}
	return func(v *Visit) *Refusal {
		u := v.Request.URL
		j := l.find(u.Path, u.RawPath, 0)
		for j.class != "" && j.segment >= 0 && own.name(u.Path, j.segment, v.Documented) {
			j = l.find(u.Path, u.RawPath, j.segment+1)
		}
		if j.class == "" {
			return nil
		}
		return &Refusal{Hangup: true, Kind: audit.ScannerRefused, Detail: j.class,
			Err: errors.New(j.class + ": " + u.Path[:min(len(u.Path), 200)])}
	}, nil
}

// ownPaths are those that the policy names.
type ownPaths struct {
	allowed []policy.Pattern
	routes  []policy.Pattern
}

func newOwnPaths(p *policy.Policy) (*ownPaths, error) {
	o := &ownPaths{}
	for i, s := range p.Edge.Scanners.Allow {
		pattern, err := policy.ParsePattern(s)
		if err != nil {
			return nil, p.Errorf(fmt.Sprintf("edge.scanners.allow[%d]", i), "", "%w", err)
		}
		o.allowed = append(o.allowed, pattern)
	}
	for _, r := range p.App.Routes {
		// One that does not parse is an error of the app ring.
		if pattern, err := policy.ParsePattern(r.Path); err == nil && len(pattern.Segments) > 0 && pattern.Segments[0] != "" {
			o.routes = append(o.routes, pattern)
		}
	}
	return o, nil
}

// name reports whether the path is the API's own as far as its segment at.
func (o *ownPaths) name(path string, at int, documented func(string) bool) bool {
	segments := strings.Split(strings.Trim(path, "/"), "/")
	asked := policy.Pattern{Segments: segments}
	for _, p := range o.allowed {
		if p.Covers(asked) {
			return true
		}
	}
	for _, p := range o.routes {
		if at < len(p.Segments) && p.Covers(asked) {
			return true
		}
	}
	if documented == nil || !documented(path) {
		return false
	}
	segments[0] = "ringwall-any-segment"
	return !documented("/" + strings.Join(segments, "/"))
}

// verifyScanners asks for what only scanners do, and before and after it for
// what is served.
func verifyScanners(ctx context.Context, p *policy.Policy, c *probe.Client) check.Finding {
	const fix = "put Ringwall's edge in front of the API, or close such connections in the proxy (nginx: return 444)"
	const ordinary = "/.well-known/ringwall-check"
	judge, err := judgeScanners(p)
	if err != nil {
		return check.Unseen("the policy's paths do not compile: %v", err)
	}
	own, fresh := c.Fresh()
	if _, err := own.Do(ctx, probe.Request{Target: ordinary}); err != nil {
		return check.Unseen("no answer to GET %s: %v", ordinary, err)
	}
	targets := []string{"/.env", "/WP-Login.php", "/x/%2e%2e/%2E%2e/etc/passwd"}
	if !fresh {
		targets = targets[:1] // each brings this address nearer to a ban
	}
	closed := 0
	for _, target := range targets {
		if r, err := http.NewRequest(http.MethodGet, target, nil); err != nil || judge(&Visit{Request: r}) == nil {
			continue // the API's own
		}
		res, err := own.Do(ctx, probe.Request{Target: target})
		if err == nil {
			return check.Failed("GET "+target+" was answered "+res.Line(), "the connection closed without an answer", fix)
		}
		if !hungUp(err) {
			return check.Unseen("no answer to GET %s: %v", target, err)
		}
		if _, err := own.Do(ctx, probe.Request{Target: ordinary}); err != nil && (closed == 0 || !hungUp(err)) {
			return check.Unseen("GET %s was not answered, and neither was GET %s then: %v", target, ordinary, err)
		}
		closed++
	}
	if closed == 0 {
		return check.Unseen("every path that could be tried is the API's own")
	}
	return check.Passed("%d scanners' paths were not answered and their connections closed, GET %s was answered", closed, ordinary)
}

// hungUp reports whether the target closed a connection without a byte.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}
