package edge

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// LoopbackOnly guards a page that is for people on this machine. A listener on
// loopback is not enough: a browser on it sends requests for every web page
// that is open. So the Host must be loopback's own, which a page that had its
// name rebound to 127.0.0.1 cannot send (421), requests that a page of another
// origin makes are refused (403), and nothing but GET and HEAD is served (405).
func LoopbackOnly(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Cross-Origin-Resource-Policy", "same-origin")
		status := 0
		switch site := r.Header.Get("Sec-Fetch-Site"); {
		case !loopbackHost(r.Host):
			status = http.StatusMisdirectedRequest
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			status = http.StatusMethodNotAllowed
		case site != "" && site != "none" && site != "same-origin",
			len(r.Header.Values("Origin")) > 0 && r.Header.Get("Origin") != "http://"+r.Host:
			status = http.StatusForbidden
		default:
			h.ServeHTTP(w, r)
			return
		}
		w.WriteHeader(status)
	})
}

func loopbackHost(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	if strings.EqualFold(name, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return err == nil && ip.Unmap().IsLoopback()
}
