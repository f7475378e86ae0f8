package app

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// compression sends text answers of 1 kB and more as gzip to clients that take
// it, as a stream: nothing is held back but the first kilobyte, and that only
// until the handler flushes or returns.
//
// The length of a compressed answer tells whether a guess that it repeats is
// also in the rest of it (BREACH). Therefore nothing is compressed that holds
// secrets: no path of the rate class auth, no answer that sets a cookie, none
// that the handler marks no-store. What signed-in callers and cookies get is
// padded by a random length, which makes one guess cost many requests.
//
// What came from an upstream with a Content-Encoding passes as it is, and so
// does an answer that names its exact bytes: a strong ETag, a range, a digest.
// HEAD is answered as if nothing were compressed, as RFC 9110, 9.3.2 allows.
var compression = Control{
	Meta: check.Meta{
		ID:     "app/compression",
		Most:   12,
		Points: 1,
		Title:  "Answers are compressed, except those with secrets",
		Why:    "Compression over a secret and an attacker's guess together reveals the secret by its length (BREACH).",
		Ref:    "RFC 9110, 8.4 and 12.5.3; RFC 1952; CVE-2013-3587; CWE-200; blueprint A10, T6",
	},
	Wrap: func(*policy.Policy, Deps) (Middleware, error) {
		encoders := new(encoders)
		return func(next Handler) Handler {
			return func(x *Exchange) {
				if x.classes != 0 && x.inClass("auth") {
					next(x)
					return
				}
				x.Answer.Vary("Accept-Encoding")
				if x.R.Method == http.MethodHead || !acceptsGzip(x.R.Header["Accept-Encoding"]) {
					next(x)
					return
				}
				w := &compressor{next: x.W, encoders: encoders}
				w.pad = x.Caller != nil || len(x.R.Header["Cookie"]) > 0
				x.W = w
				defer w.abandon()
				next(x)
				// Not deferred: after a panic what is held must not go out, so that
				// app/problem can still answer.
				w.close()
			}
		}, nil
	},
	Value: func(*policy.Policy, *Route) string {
		return "gzip from " + strconv.Itoa(minCompressed) + " bytes; not sign-in paths, cookies and no-store"
	},
	Verify: verifyCompression,
}

// inClass reports whether the path is in the rate class.
func (x *Exchange) inClass(name string) bool {
	i := slices.Index(x.ring.routes.classes, name)
	return i >= 0 && x.classes&(1<<i) != 0
}

// acceptsGzip reads Accept-Encoding (RFC 9110, 12.5.3): gzip, x-gzip or *, with
// a weight above zero and not below that of identity, where one is given.
func acceptsGzip(lists []string) bool {
	if len(lists) == 1 {
		switch lists[0] { // what almost all clients send
		case "gzip", "gzip, deflate", "gzip, deflate, br", "gzip, deflate, br, zstd":
			return true
		}
	}
	zipped, rest, identity := -1, -1, -1 // weights in thousandths; -1: not named
	for _, list := range lists {
		if len(list) > 1024 {
			return false
		}
		for more := true; more; {
			var e string
			e, list, more = strings.Cut(list, ",")
			name, params, _ := strings.Cut(e, ";")
			switch name = strings.Trim(name, " \t"); {
			case strings.EqualFold(name, "gzip") || strings.EqualFold(name, "x-gzip"):
				zipped = max(zipped, weight(params))
			case name == "*":
				rest = weight(params)
			case strings.EqualFold(name, "identity"):
				identity = weight(params)
			}
		}
	}
	if zipped < 0 {
		zipped = rest
	}
	return zipped > 0 && zipped >= identity
}

// weight reads ";q=0.5" as 500; what is no weight counts as 0.
func weight(params string) int {
	params = strings.Trim(params, " \t")
	if params == "" {
		return 1000
	}
	if len(params) < 3 || params[0] != 'q' && params[0] != 'Q' || params[1] != '=' {
		return 0
	}
	whole, fraction, _ := strings.Cut(params[2:], ".")
	if whole != "0" && whole != "1" || len(fraction) > 3 {
		return 0
	}
	n := int(whole[0] - '0')
	for i := range 3 {
		n *= 10
		if i < len(fraction) {
			if fraction[i] < '0' || fraction[i] > '9' {
				return 0
			}
			n += int(fraction[i] - '0')
		}
	}
	return n
}

// mayCompress judges an answer by its header. The type may be absent still.
func mayCompress(h http.Header) bool {
	for _, name := range uncompressed {
		if len(h[name]) > 0 {
			return false
		}
	}
	for _, etag := range h["Etag"] {
		if !strings.HasPrefix(etag, "W/") {
			return false
		}
	}
	if cc := h["Cache-Control"]; containsList(cc, "no-store") || containsList(cc, "no-transform") {
		return false
	}
	types, set := h["Content-Type"]
	return !set || len(types) == 1 && isText(types[0])
}

// uncompressed are headers of answers that are left as they are.
var uncompressed = []string{
	"Set-Cookie", "Content-Encoding", "Content-Range", "Content-Digest", "Repr-Digest", "Digest", "Content-Md5",
}

// isText reports whether a media type is text that shrinks. Event streams are
// left out: each event is small and must go at once.
func isText(mediaType string) bool {
	t, _, _ := strings.Cut(mediaType, ";")
	t = strings.ToLower(strings.TrimSpace(t))
	kind, sub, _ := strings.Cut(t, "/")
	switch {
	case kind == "text":
		return sub != "event-stream"
	case strings.HasSuffix(sub, "+json") || strings.HasSuffix(sub, "+xml") || strings.HasSuffix(sub, "+yaml"):
		return true
	}
	return kind == "application" && slices.Contains(textTypes, sub)
}

var textTypes = []string{"json", "ndjson", "x-ndjson", "jsonl", "json-seq", "xml", "yaml", "javascript", "graphql", "wasm", "sql"}

// verifyCompression asks for paths with and without Accept-Encoding until an
// answer is large enough to be compressed. One that names Accept-Encoding in
// Vary and is not compressed may be one of the exceptions, and proves nothing.
func verifyCompression(ctx context.Context, p *policy.Policy, c *probe.Client) check.Finding {
	const fix = "put the app ring in front of the API, and take compression of sign-in answers out of what is behind it"
	token := c.Token("")
	gzipped := [][2]string{{"Accept-Encoding", "gzip"}}
	signIn := 0 // paths that were seen uncompressed
	for _, path := range classPaths(p, "auth") {
		if strings.Contains(path, "{") {
			continue
		}
		res, err := c.Do(ctx, probe.Request{Target: path, Token: token, Headers: gzipped})
		if err != nil {
			return check.Unseen("no answer to GET %s: %v", path, err)
		}
		if coding := res.Header.Get("Content-Encoding"); coding != "" {
			return check.Failed("GET "+path+" was answered with Content-Encoding: "+coding, "sign-in answers as they are", fix)
		}
		signIn++
	}
	for _, t := range admittedTargets(p, c) {
		target, token := t.path, t.token
		whole, err := c.Do(ctx, probe.Request{Target: target, Token: token})
		if err != nil {
			return check.Unseen("no answer to GET %s: %v", target, err)
		}
		if coding := whole.Header.Get("Content-Encoding"); coding != "" {
			return check.Failed("GET "+target+" without Accept-Encoding has Content-Encoding: "+coding, "the answer as it is", fix)
		}
		if whole.Status != http.StatusOK || !isText(whole.Header.Get("Content-Type")) || len(whole.Body) < minCompressed {
			continue
		}
		packed, err := c.Do(ctx, probe.Request{Target: target, Token: token, Headers: gzipped})
		if err != nil {
			return check.Unseen("no answer to GET %s with Accept-Encoding: %v", target, err)
		}
		varies := containsList(packed.Header.Values("Vary"), "accept-encoding")
		switch coding := packed.Header.Get("Content-Encoding"); {
		case coding == "gzip" && !varies:
			return check.Failed("GET "+target+" is compressed without Vary: Accept-Encoding", "Vary, for caches", fix)
		case coding == "gzip" && !isGzip(packed.Body):
			return check.Failed("GET "+target+" says Content-Encoding: gzip and is not", "a body that unpacks", fix)
		case coding == "gzip":
			return check.Passed("GET %s: %d bytes, %d as gzip; %d sign-in paths uncompressed", target, len(whole.Body), len(packed.Body), signIn)
		case !varies:
			return check.Failed(fmt.Sprintf("GET %s: %d bytes with Accept-Encoding: gzip", target, len(packed.Body)), "Content-Encoding: gzip", fix)
		}
	}
	return check.Moot("the API gave no text answer of %d bytes or more that may be compressed", minCompressed)
}

func isGzip(b []byte) bool {
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, r)
	return err == nil
}
