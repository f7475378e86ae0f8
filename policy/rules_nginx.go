package policy

import (
	"net"
	"net/netip"
	"path"
	"strings"
	"time"
)

// nginx judges where nginx and Ringwall meet, and refuses what nginx cannot do:
// a key that silently did nothing would be believed.
func (l *loader) nginx() {
	e := l.p.Edge
	socket, isSocket := strings.CutPrefix(e.Nginx.Listen, "unix:")
	host, port, err := net.SplitHostPort(e.Nginx.Listen)
	const at, hint = "edge.nginx.listen", "write 127.0.0.1:8001 or unix:/run/ringwall/nginx.sock"
	switch a, notAddr := netip.ParseAddr(host); {
	case isSocket && (!isPlainPath(socket) || len(socket) > 100): // .log comes behind it, and 107 is the most
		l.errorf(at, hint, "%s is not the absolute path of a socket, of at most 100 plain characters", quote(socket))
	case !isSocket && (err != nil || notAddr != nil || !isPort(port)):
		l.errorf(at, hint, "%s is not an address and a port", quote(e.Nginx.Listen))
	case !isSocket && (!a.IsLoopback() || a.Zone() != "" || a.Is4In6()):
		l.errorf(at, hint, "%s can be reached from other machines, around nginx", quote(e.Nginx.Listen))
	}
	for _, f := range []struct{ key, value string }{
		{"conf", e.Nginx.Conf}, {"folder", e.Nginx.Folder}, {"state", e.Nginx.State}, {"webroot", e.Nginx.Webroot}, {"log", e.Nginx.Log},
	} {
		if !isPlainPath(f.value) {
			l.errorf("edge.nginx."+f.key, "write an absolute path of letters, digits and . _ - /", "%s is not the path of a file", quote(f.value))
		}
	}
	if path.Dir(e.Nginx.Conf) == e.Nginx.Folder {
		l.errorf("edge.nginx.folder", "write a folder of its own, such as /etc/nginx/ringwall", "it is the folder of edge.nginx.conf, and nginx reads all files there as configuration")
	}
	if !l.p.NginxIsEdge() {
		return
	}
	if e.HTTP3 {
		l.errorf("edge.http3", "remove it, or write engine: builtin", "nginx is not set up for HTTP/3")
	}
	if e.MaxConnections > 0 {
		l.errorf("edge.max_connections", "remove it, and set worker_connections in nginx.conf", "nginx bounds all its connections together, in nginx.conf")
	}
	if e.Connections > 65535 {
		l.errorf("edge.connections", "write 65535 or less", "nginx counts to 65535")
	}
	if _, _, ok := e.Rate.PerMinute(); !ok && e.Rate.Requests > 0 {
		l.errorf("edge.rate", "write requests in 1s or 1m, such as 10 in 1s", "nginx counts whole requests in a second or in a minute, and %d in %s is not of this kind",
			e.Rate.Requests, formatDuration(e.Rate.Per))
	}
	for _, f := range []struct{ key, value string }{{"listen", e.Listen}, {"redirect", e.Redirect}} {
		if _, port, err := net.SplitHostPort(f.value); err == nil && port == "0" {
			l.errorf("edge."+f.key, "name the port", "nginx cannot let the system choose a port")
		}
	}
}

// PerMinute is the rate as nginx counts it: n whole requests in a second, or
// else in a minute. ok is false where it is neither.
func (r Rate) PerMinute() (n int64, unit time.Duration, ok bool) {
	for _, unit := range []time.Duration{time.Second, time.Minute} {
		total := int64(r.Requests) * int64(unit/time.Millisecond)
		per := int64(r.Per / time.Millisecond)
		if per > 0 && total%per == 0 && total/per > 0 {
			return total / per, unit, true
		}
	}
	return 0, 0, false
}

// isPlainPath reports a clean absolute path that needs no quoting anywhere.
func isPlainPath(s string) bool {
	return cleanAbsolute(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("/._-", r)
	})
}
