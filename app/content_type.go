package app

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// contentType lets a body pass only under one Content-Type, from the route's
// list, and without a content coding. A request without a body may say what it
// likes.
//
// The list is of media types, without parameters and wildcards: a type is
// accepted when it stands there by name, application/problem+json too. Case and
// white space do not matter. JSON and form bodies may have no charset but
// utf-8, and no parameter whose value holds what parts parameters, or that has the word
// charset in it; others, such as profile, are passed on. An asterisk, of a wildcard or of charset*, is refused. A coded body
// (Content-Encoding: gzip) is refused because no later control could judge it,
// and because it may unfold to a thousand times the cap of app/body.
var contentType = Control{
	Meta: check.Meta{
		ID:    "app/content-type",
		Most:  5,
		Title: "Only listed media types are accepted",
		Why:   "A body under an unexpected type is read by a parser that nobody checks, or sent by a foreign page without a preflight.",
		Ref:   "RFC 9110, 8.3, 8.4 and 15.5.16; ASVS 5.0 V2.2.1; OWASP API8 2023; blueprint A5, T4, checklist 5",
	},
	Wrap: func(p *policy.Policy, _ Deps) (Middleware, error) {
		builtin := p.Builtin()
		all := slices.Concat(builtin, p.App.Routes)
		lists := make([]mediaList, len(all)+1) // by Route.order
		var errs []error
		compile := func(i int, path string, types []string) {
			l, err := compileMedia(types)
			if err != nil {
				errs = append(errs, p.Errorf(path, "write the bare media type, such as application/json", "%v", err))
			}
			lists[i] = l
		}
		compile(len(all), "app.content_types", p.App.ContentTypes)
		for i, r := range all {
			lists[i] = lists[len(all)]
			if len(r.ContentTypes) > 0 {
				compile(i, fmt.Sprintf("app.routes[%d].content_types", i-len(builtin)), r.ContentTypes)
			}
		}
		return func(next Handler) Handler {
			return func(x *Exchange) {
				if x.R.Body == nil || x.R.Body == http.NoBody {
					next(x)
					return
				}
				list := &lists[x.Route.order]
				if !uncoded(x.R.Header["Content-Encoding"]) {
					x.Answer.Set("Accept-Encoding", identityCoding)
					x.denyMedia("The body has a content coding; send it without.", "a content coding")
					return
				}
				kind, reason := list.judge(x.R.Header["Content-Type"])
				if reason != "" {
					x.Answer.Set("Accept", list.accept)
					x.denyMedia(list.detail, reason)
					return
				}
				x.media = kind
				next(x)
			}
		}, errors.Join(errs...)
	},
	Value: func(_ *policy.Policy, r *Route) string {
		if len(r.ContentTypes) == 0 {
			return "no bodies"
		}
		return strings.Join(r.ContentTypes, ", ")
	},
	Verify: verifyContentType,
}

var identityCoding = []string{"identity"}

func (x *Exchange) denyMedia(detail, reason string) {
	x.Deny(Denied{Control: "app/content-type", Kind: audit.InputRefused, Status: http.StatusUnsupportedMediaType,
		Detail: detail, Err: errors.New(reason)})
}

// uncoded reports whether Content-Encoding says nothing, or identity.
func uncoded(values []string) bool {
	for _, v := range values {
		if v != "" && !strings.EqualFold(v, "identity") {
			return false
		}
	}
	return true
}

// A mediaKind is how later controls read a body.
type mediaKind uint8

const (
	mediaUnknown mediaKind = iota // no body, or app/content-type is waived
	mediaJSON                     // application/json, text/json and +json (RFC 6839, 3.1)
	mediaForm                     // application/x-www-form-urlencoded
	mediaOther
)

func kindOf(media string) mediaKind {
	switch {
	case strings.HasPrefix(media, "application/grpc"): // +json too: messages in frames
		return mediaOther
	case media == "application/json", media == "text/json", strings.HasSuffix(media, "+json"):
		return mediaJSON
	case media == "application/x-www-form-urlencoded":
		return mediaForm
	}
	return mediaOther
}

// mediaKind is how the request's body is to be read. Without app/content-type
// the header is believed, and a body that does not say counts as JSON: most
// parsers would try.
func (x *Exchange) mediaKind() mediaKind {
	if x.media != mediaUnknown || x.R.Body == nil || x.R.Body == http.NoBody {
		return x.media
	}
	x.media = mediaJSON
	if v := x.R.Header.Get("Content-Type"); v != "" {
		media, _, _ := mime.ParseMediaType(v)
		x.media = kindOf(media)
	}
	return x.media
}

// mediaList is a route's list, compiled.
type mediaList struct {
	known  map[string]mediaKind // by media type, and by the usual spellings of the whole header
	accept []string             // value of Accept in a refusal (RFC 9110, 15.5.16)
	detail string
}

func compileMedia(types []string) (mediaList, error) {
	l := mediaList{known: map[string]mediaKind{}, accept: []string{strings.Join(types, ", ")}}
	l.detail = "Bodies are not accepted here."
	if len(types) > 0 {
		l.detail = "The Content-Type of a body here is one of: " + l.accept[0] + "."
	}
	var errs []error
	for _, t := range types {
		media, params, err := mime.ParseMediaType(t)
		if err != nil || len(params) > 0 || media != t || !strings.Contains(t, "/") || strings.Contains(t, "*") {
			errs = append(errs, fmt.Errorf("%q is not a media type in lower case, without parameters and wildcards", t))
			continue
		}
		kind := kindOf(media)
		l.known[media] = kind
		if kind != mediaOther {
			for _, charset := range []string{"; charset=utf-8", ";charset=utf-8", "; charset=UTF-8", ";charset=UTF-8"} {
				l.known[media+charset] = kind
			}
		}
	}
	return l, errors.Join(errs...)
}

// judge says how to read a body with these Content-Type values, or why not. The
// reason holds nothing of the request's.
func (l *mediaList) judge(values []string) (kind mediaKind, reason string) {
	if len(values) != 1 {
		if len(values) == 0 {
			return mediaUnknown, "no Content-Type"
		}
		return mediaUnknown, "several Content-Type headers"
	}
	if kind, ok := l.known[values[0]]; ok {
		return kind, ""
	}
	// RFC 2231: charset*, and charset*0 with charset*1, are charset to package
	// mime alone. RFC 9110, 8.3 knows none of them.
	if strings.Contains(values[0], "*") {
		return mediaUnknown, "a Content-Type with an asterisk"
	}
	media, params, err := mime.ParseMediaType(values[0])
	if err != nil {
		return mediaUnknown, "a Content-Type that does not parse"
	}
	kind, ok := l.known[media]
	if !ok {
		return mediaUnknown, "a Content-Type that is not on the list"
	}
	if kind == mediaOther {
		return kind, ""
	}
	for name, v := range params {
		switch {
		case name == "charset" && !strings.EqualFold(v, "utf-8"):
			return mediaUnknown, "a charset other than utf-8"
		case strings.ContainsAny(v, `;,"\`): // quoted, and another parameter to who does not see that
			return mediaUnknown, "a parameter that may read as several"
		case name != "charset" && strings.Contains(name+"\x00"+strings.ToLower(v), "charset"): // to who looks for the word alone
			return mediaUnknown, "a parameter that may read as a charset"
		}
	}
	return kind, ""
}

// verifyContentType sends a body under a type that nobody lists, and a good one
// that claims to be compressed.
func verifyContentType(ctx context.Context, p *policy.Policy, c *probe.Client) check.Finding {
	const fix = "put the app ring in front of the API, or let it accept only the media types that it parses"
	t, err := probeTarget(p, c, http.MethodPost)
	if err != nil {
		return check.Unseen("%v", err)
	}
	if !slices.Contains(t.route.ContentTypes, t.media) {
		return check.Unseen("%s accepts none of the media types that this check can write", t.path)
	}
	good, err := c.Do(ctx, t.request(http.MethodPost, t.media, t.body))
	if err != nil {
		return check.Unseen("no answer to a POST %s as %s: %v", t.path, t.media, err)
	}
	switch good.Status {
	case http.StatusUnsupportedMediaType:
		return check.Failed("a POST as "+t.media+" was answered "+good.Line(), "listed media types pass", "compare app.content_types with what the API accepts")
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return check.Unseen("a POST as %s was answered %s", t.media, good.Line())
	}
	bad := t.request(http.MethodPost, "application/x-ringwall-check", t.body)
	coded := t.request(http.MethodPost, t.media, t.body)
	coded.Headers = append(coded.Headers, [2]string{"Content-Encoding", "gzip"})
	disguised := t.request(http.MethodPost, t.media+"; charset=utf-7; charset*=us-ascii''utf-8", t.body)
	for _, probe := range []struct {
		what string
		req  probe.Request
	}{{"a media type that is not listed", bad}, {"Content-Encoding: gzip", coded}, {"a charset beside charset*", disguised}} {
		res, err := c.Do(ctx, probe.req)
		if err != nil {
			return check.Unseen("no answer to a POST with %s: %v", probe.what, err)
		}
		if res.Status != http.StatusUnsupportedMediaType {
			return check.Failed("a POST with "+probe.what+" was answered "+res.Line(), "415", fix)
		}
	}
	return check.Passed("an unlisted media type, a compressed body and two charsets were answered 415, %s %d", t.media, good.Status)
}
