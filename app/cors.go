package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// cors answers preflights, lets the listed web origins read answers, and
// refuses every request that a browser says comes from another origin.
//
// Browsers need no refusal to keep an answer from a foreign page: no
// Access-Control-Allow-Origin is enough. The request is refused all the same,
// with 403, so that it cannot act either and so that it is seen (WebSocket
// handshakes, which the Fetch standard exempts from CORS, are refused by it
// too). A request without Origin passes: it is no browser's, or same-origin, or
// one that every page may make. So does the site's own origin, which browsers
// name on POST.
//
// A preflight is answered here and reaches neither limits nor the handler. An
// OPTIONS request that is no preflight goes on.
var cors = Control{
	Meta: check.Meta{
		ID:    "app/cors",
		Most:  11,
		Title: "Only listed web origins may read answers",
		Why:   "A careless Access-Control-Allow-Origin lets any page read a visitor's data with the visitor's credentials.",
		Ref:   "Fetch standard, 3.3 (CORS protocol); ASVS 5.0 V3.4.2; OWASP API8 2023; blueprint A2, T5, checklist 4",
	},
	// The last is a preflight answer of a withdrawn draft; it is here so that no
	// upstream can open a private network with it.
	Owns: []string{
		"Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Expose-Headers",
		"Access-Control-Allow-Methods", "Access-Control-Allow-Headers", "Access-Control-Max-Age",
		"Access-Control-Allow-Private-Network",
	},
	Wrap: func(p *policy.Policy, _ Deps) (Middleware, error) {
		c, err := compileCORS(p)
		if err != nil {
			return nil, err
		}
		return c.middleware, nil
	},
	Value: func(p *policy.Policy, _ *Route) string {
		if len(p.App.CORS.Origins) == 0 {
			return "no origin but the site's own"
		}
		v := strings.Join(p.App.CORS.Origins, ", ")
		if p.App.CORS.Credentials {
			v += " with credentials"
		}
		return v
	},
	Verify: verifyCORS,
}

// corsRules are the policy's, with every header value ready to be set.
type corsRules struct {
	site        string
	origins     map[string][]string // origin to the value of Access-Control-Allow-Origin
	credentials []string            // nil: not allowed
	expose      []string
	methods     map[string]struct{}
	headers     []string
	allowMethod []string
	allowHeader []string
	maxAge      []string
}

// alwaysAllowed are the request headers that a page may send without asking
// (Fetch, "CORS-safelisted request-header"), save Content-Type: browsers ask
// for it only with values that are not safe, and then the list decides.
var alwaysAllowed = []string{"accept", "accept-language", "content-language", "range"}

// compileCORS trusts nobody to have validated the origins: a hand-made policy
// with "*" or "null" in it is an error here too.
func compileCORS(p *policy.Policy) (*corsRules, error) {
	c := &corsRules{
		site: p.Site, origins: map[string][]string{}, methods: map[string]struct{}{},
		headers: append(slices.Clone(alwaysAllowed), p.App.CORS.Headers...),
		expose:  headerList(p.App.CORS.Expose), allowMethod: headerList(p.App.CORS.Methods), allowHeader: headerList(p.App.CORS.Headers),
		maxAge: []string{strconv.FormatInt(int64(p.App.CORS.MaxAge/time.Second), 10)},
	}
	var errs []error
	for i, o := range p.App.CORS.Origins {
		if _, ok := parseOrigin(o); !ok {
			errs = append(errs, p.Errorf("app.cors.origins["+strconv.Itoa(i)+"]",
				"write it as https://app.example.com: lower case, no path, no default port",
				"%q is not how browsers write an origin", o))
		}
		c.origins[o] = []string{o}
	}
	for _, m := range p.App.CORS.Methods {
		c.methods[m] = struct{}{}
	}
	if p.App.CORS.Credentials {
		c.credentials = []string{"true"}
	}
	return c, errors.Join(errs...)
}

// headerList is a header value ready to be set; nil, which sets none, for no names.
func headerList(names []string) []string {
	if len(names) == 0 {
		return nil
	}
	return []string{strings.Join(names, ", ")}
}

func (c *corsRules) middleware(next Handler) Handler {
	return func(x *Exchange) {
		// On every answer, those without Origin too: a cache must not serve to one
		// origin what it keeps for another (Fetch, 3.3.5).
		x.Answer.Vary("Origin")
		asked := x.R.Header["Access-Control-Request-Method"]
		preflight := x.R.Method == http.MethodOptions && len(asked) > 0 && len(x.origin) > 0
		if preflight {
			x.Answer.Vary("Access-Control-Request-Method")
			x.Answer.Vary("Access-Control-Request-Headers")
		}
		var allow []string
		switch senderOf(x, c.site, c.origins) {
		case senderUnsaid, senderOurs:
			next(x)
			return
		case senderListed:
			allow = c.origins[x.origin[0]]
		case senderForeign:
			c.refuse(x, "This web origin is not allowed to call this site.", "origin")
			return
		}
		if preflight {
			if len(asked) > 1 || !c.allowsMethod(asked[0]) {
				c.refuse(x, "Cross-origin requests with this method are not allowed.", "method")
				return
			}
			if !c.allowsHeaders(x.R.Header["Access-Control-Request-Headers"]) {
				c.refuse(x, "Cross-origin requests with these headers are not allowed.", "headers")
				return
			}
		}
		x.Answer.Set("Access-Control-Allow-Origin", allow)
		x.Answer.Set("Access-Control-Allow-Credentials", c.credentials)
		if !preflight {
			x.Answer.Set("Access-Control-Expose-Headers", c.expose)
			next(x)
			return
		}
		x.Answer.Set("Access-Control-Allow-Methods", c.allowMethod)
		x.Answer.Set("Access-Control-Allow-Headers", c.allowHeader)
		x.Answer.Set("Access-Control-Max-Age", c.maxAge)
		x.Answer.WriteHeader(http.StatusNoContent)
	}
}

// readable lets a page of a listed origin read a refusal that came before this
// control did, such as the 429 of the edge: else its script sees a network error,
// and can neither wait for Retry-After nor say what is wrong. Preflights are not
// helped: browsers take no refusal of one. The caller has claimed the answer.
func (c *corsRules) readable(x *Exchange) {
	a := &x.Answer
	if len(x.origin) == 0 || x.method == http.MethodOptions || a.has("Access-Control-Allow-Origin") ||
		senderOf(x, c.site, c.origins) != senderListed {
		return
	}
	a.set("Access-Control-Allow-Origin", c.origins[x.origin[0]])
	a.set("Access-Control-Allow-Credentials", c.credentials)
	a.set("Access-Control-Expose-Headers", c.expose)
	if !slices.Contains(a.vary, "Origin") {
		a.vary = append(a.vary, "Origin")
	}
}

func (c *corsRules) refuse(x *Exchange, detail, what string) {
	x.Deny(Denied{
		Control: "app/cors", Kind: audit.OriginRefused, Status: http.StatusForbidden, Detail: detail,
		Err: fmt.Errorf("the %s is not on the list, origin %.200q", what, x.origin),
	})
}

// allowsMethod compares byte for byte, as browsers do with the answer. HEAD is
// what GET is; GET, HEAD and POST need no permission to be sent (Fetch,
// "CORS-safelisted method"), but a preflight for one that is not listed is refused.
func (c *corsRules) allowsMethod(m string) bool {
	if m == http.MethodHead {
		m = http.MethodGet
	}
	_, ok := c.methods[m]
	return ok
}

// maxRequestHeaders bounds what is read of Access-Control-Request-Headers, in
// bytes; a browser asks for the few names that the page set.
const maxRequestHeaders = 4096

// allowsHeaders reports whether each name of the lists is allowed. Browsers
// send one sorted list of lower-case names; blanks, other letter case, empty
// elements and several fields are taken too, for proxies make them (RFC 9110,
// 5.6.1). It reads each byte once and allocates nothing.
func (c *corsRules) allowsHeaders(lists []string) bool {
	left := maxRequestHeaders
	for _, list := range lists {
		if left -= len(list); left < 0 {
			return false
		}
		for more := true; more; {
			var name string
			name, list, more = strings.Cut(list, ",")
			if name = strings.Trim(name, " \t"); name != "" && !containsFold(c.headers, name) {
				return false
			}
		}
	}
	return true
}

func containsFold(list []string, s string) bool {
	for _, e := range list {
		if len(e) == len(s) && strings.EqualFold(e, s) {
			return true
		}
	}
	return false
}

// verifyCORS asks as a foreign page, as pages whose origin looks like a listed
// one, and as a listed one.
func verifyCORS(ctx context.Context, p *policy.Policy, c *probe.Client) check.Finding {
	const fix = "put the app ring in front of the API, and list the origins in app.cors.origins"
	plain, err := c.Do(ctx, probe.Request{Target: "/", Token: c.Token("")})
	switch {
	case err != nil:
		return check.Unseen("no answer to GET / without Origin: %v", err)
	case plain.Status == http.StatusForbidden:
		return check.Unseen("GET / without Origin is answered 403 too, so a refusal proves nothing")
	}
	method := http.MethodGet
	if len(p.App.CORS.Methods) > 0 {
		method = p.App.CORS.Methods[0]
	}
	ask := func(as, origin string) (*probe.Response, error) {
		r := probe.Request{Method: as, Target: "/", Headers: [][2]string{{"Origin", origin}}}
		if as == http.MethodOptions {
			r.Headers = append(r.Headers, [2]string{"Access-Control-Request-Method", method})
		}
		return c.Do(ctx, r)
	}
	listed := p.App.CORS.Origins[:min(len(p.App.CORS.Origins), 3)]
	foreign := []string{"https://ringwall-check.invalid", "null"}
	if len(listed) > 0 {
		foreign = append(foreign, listed[0]+".ringwall-check.invalid", strings.Replace(listed[0], "://", "://x", 1))
	}
	for _, o := range foreign {
		for _, as := range []string{http.MethodOptions, http.MethodGet} {
			res, err := ask(as, o)
			if err != nil {
				return check.Unseen("no answer to %s from %s: %v", as, o, err)
			}
			if allowed := res.Header.Get("Access-Control-Allow-Origin"); allowed != "" {
				return check.Shown(as+" from "+o+" was told Access-Control-Allow-Origin: "+allowed,
					"no Access-Control-Allow-Origin for an origin that is not listed", fix)
			}
			if res.Status != http.StatusForbidden {
				return check.Failed(as+" from "+o+" was answered "+res.Line(), "403", fix)
			}
		}
	}
	for _, o := range listed {
		res, err := ask(http.MethodOptions, o)
		if err != nil {
			return check.Unseen("no answer to a preflight from %s: %v", o, err)
		}
		if res.Status/100 != 2 || res.Header.Get("Access-Control-Allow-Origin") != o {
			return check.Failed("the preflight from "+o+" was answered "+res.Line()+" without its origin", "2xx that allows the origin", fix)
		}
		if with := res.Header.Get("Access-Control-Allow-Credentials") == "true"; with != p.App.CORS.Credentials {
			return check.Failed(fmt.Sprintf("the preflight from %s allows credentials: %t", o, with), fmt.Sprint(p.App.CORS.Credentials), fix)
		}
	}
	if !containsList(plain.Header.Values("Vary"), "origin") {
		return check.Failed("GET / has no Vary: Origin", "Vary: Origin on every answer, for caches", fix)
	}
	return check.Passed("%d foreign origins were refused with 403, %d listed were allowed, GET / without Origin was answered %d",
		len(foreign), len(listed), plain.Status)
}

// containsList reports whether comma-separated lists hold name, in any letter case.
func containsList(lists []string, name string) bool {
	for _, list := range lists {
		for e := range strings.SplitSeq(list, ",") {
			if strings.EqualFold(strings.TrimSpace(e), name) {
				return true
			}
		}
	}
	return false
}
