package app

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

const (
	jsonMedia = "application/json"
	formMedia = "application/x-www-form-urlencoded"
)

// A target is where the input controls are proved: a path that most likely
// serves nothing, a caller who may call it and a body that it accepts.
type target struct {
	path, token string
	route       *Route
	media, body string
}

// probeTarget picks a path from the policy's routes: one that a caller whose
// token the client has may call, and that takes JSON, if there is any. Without
// such a token it is a path that answers 401.
func probeTarget(p *policy.Policy, c *probe.Client, method string) (target, error) {
	rs, err := compileRoutes(p)
	if err != nil {
		return target{}, fmt.Errorf("the policy's routes do not compile: %w", err)
	}
	var best target
	most := -1
	for _, path := range probePaths(p) {
		route, _, _ := rs.match(method, path)
		if route.Builtin {
			continue // no API is behind it
		}
		t := target{path: path, route: route}
		score := 0
		var admitted bool
		if t.token, admitted = tokenFor(p, c, route); admitted {
			score += 2
		}
		switch {
		case slices.Contains(route.ContentTypes, jsonMedia):
			score++
			t.media, t.body = jsonMedia, "{}"
		case slices.Contains(route.ContentTypes, formMedia):
			t.media, t.body = formMedia, "a=1"
		case len(route.ContentTypes) > 0:
			t.media, t.body = route.ContentTypes[0], "a"
		default:
			t.media, t.body = jsonMedia, "{}"
		}
		if score > most {
			best, most = t, score
		}
	}
	return best, nil
}

// probePaths gives a path for each of the policy's routes, and one besides.
func probePaths(p *policy.Policy) []string {
	const leaf = "ringwall-check"
	paths := []string{"/" + leaf}
	for _, r := range p.App.Routes {
		segments := strings.Split(r.Path, "/")
		for i, s := range segments {
			if strings.HasPrefix(s, "{") || i > 0 && s == "" {
				segments[i] = leaf
			}
		}
		paths = append(paths, strings.Join(segments, "/"))
	}
	return paths
}

// tokenFor finds a token whose caller the route admits. A public route needs none.
func tokenFor(p *policy.Policy, c *probe.Client, r *Route) (token string, admitted bool) {
	if r.Public {
		return "", true
	}
	if token = c.Token(""); token != "" && r.Admits(&Caller{}) {
		return token, true
	}
	for _, role := range slices.Sorted(maps.Keys(p.Identity.Roles)) {
		if token = c.Token(role); token != "" && r.Admits(&Caller{Roles: []string{role}}) {
			return token, true
		}
	}
	return c.Token(""), false
}

func (t target) request(method, media, body string) probe.Request {
	r := probe.Request{Method: method, Target: t.path, Token: t.token, Body: body}
	if media != "" {
		r.Headers = [][2]string{{"Content-Type", media}}
	}
	return r
}

// firstStatus sends the head of a request and returns the first status line that
// comes back, 100 Continue included.
func firstStatus(ctx context.Context, c *probe.Client, req probe.Request) (int, error) {
	conn, err := c.Dial(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	var head strings.Builder
	fmt.Fprintf(&head, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: ringwall-check\r\n", req.Method, req.Target, c.Base().Host)
	if req.Token != "" {
		fmt.Fprintf(&head, "Authorization: Bearer %s\r\n", req.Token)
	}
	for _, h := range req.Headers {
		fmt.Fprintf(&head, "%s: %s\r\n", h[0], h[1])
	}
	head.WriteString("\r\n")
	if _, err := conn.Write([]byte(head.String())); err != nil {
		return 0, err
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: req.Method})
	if err != nil {
		return 0, err
	}
	return res.StatusCode, nil
}
