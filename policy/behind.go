package policy

import "strings"

// Behind are the places where the API listens: those of upstreams, or upstream
// alone. There are none when the handler is Go code.
func (p *Policy) Behind() []string {
	if p.Upstream != "" {
		return []string{p.Upstream}
	}
	return p.Upstreams
}

// OverHTTP2 reports whether an upstream is spoken to in HTTP/2 without TLS (h2c,
// with prior knowledge: RFC 9113, 3.3), as h2c://127.0.0.1:50051 and
// h2c+unix:/run/api.sock say. address is then the same place as it is written
// for HTTP/1.1, http://127.0.0.1:50051 or unix:/run/api.sock.
func OverHTTP2(upstream string) (address string, ok bool) {
	if rest, found := strings.CutPrefix(upstream, "h2c:"); found {
		return "http:" + rest, true
	}
	if rest, found := strings.CutPrefix(upstream, "h2c+unix:"); found {
		return "unix:" + rest, true
	}
	return upstream, false
}
