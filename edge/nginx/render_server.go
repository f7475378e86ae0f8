package nginx

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/ringwall/ringwall/edge"
)

// listen writes the listen lines of a policy's address.
func (r *rendering) listen(address string, params ...string) []Directive {
	host, port, _ := net.SplitHostPort(address) // package policy has judged it
	var places []string
	switch {
	case host == "" && r.WithoutIPv6:
		places = []string{port}
	case host == "":
		places = []string{port, "[::]:" + port}
	case host == "localhost" && r.WithoutIPv6:
		places = []string{"127.0.0.1:" + port}
	case host == "localhost":
		places = []string{"127.0.0.1:" + port, "[::1]:" + port}
	default:
		places = []string{net.JoinHostPort(host, port)}
	}
	if r.Edge.ProxyProtocol {
		params = append(params, "proxy_protocol")
	}
	var ds []Directive
	for _, at := range places {
		ds = append(ds, d("listen", append([]string{at}, params...)...))
	}
	return ds
}

func (r *rendering) listenTLS(params ...string) []Directive {
	params = append(params, "ssl")
	if r.Version.http2Directive() {
		return append(r.listen(r.Edge.Listen, params...), d("http2", "on"))
	}
	return r.listen(r.Edge.Listen, append(params, "http2")...)
}

var suiteNames = map[uint16]string{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: "ECDHE-ECDSA-AES128-GCM-SHA256", tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256: "ECDHE-RSA-AES128-GCM-SHA256",
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384: "ECDHE-ECDSA-AES256-GCM-SHA384", tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384: "ECDHE-RSA-AES256-GCM-SHA384",
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: "ECDHE-ECDSA-CHACHA20-POLY1305", tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256: "ECDHE-RSA-CHACHA20-POLY1305",
}

var curveNames = map[tls.CurveID]string{tls.X25519MLKEM768: "X25519MLKEM768", tls.X25519: "X25519", tls.CurveP256: "prime256v1", tls.CurveP384: "secp384r1"}

// tls is the same in every server of the port: OpenSSL takes some of it from the
// default one, before it knows the name.
func (r *rendering) tls() []Directive {
	var suites, curves []string
	for _, id := range r.facts.CipherSuites {
		suites = append(suites, suiteNames[id])
	}
	for _, id := range r.facts.KeyExchanges {
		if id != tls.X25519MLKEM768 || r.Version.Hybrid() { // others do not start with a group that they do not know
			curves = append(curves, curveNames[id])
		}
	}
	tickets := "off" // before, nginx never changes their key
	if r.Version.rotatesTickets() {
		tickets = "on"
	}
	return []Directive{
		d("ssl_protocols", "TLSv1.2", "TLSv1.3"),
		d("ssl_ciphers", strings.Join(suites, ":")),
		d("ssl_prefer_server_ciphers", "off"),
		d("ssl_ecdh_curve", strings.Join(curves, ":")),
		d("ssl_session_cache", "shared:ringwall_sessions:10m"),
		d("ssl_session_timeout", "1d"),
		d("ssl_session_tickets", tickets),
	}
}

// bounds are what a client may cost, in every server of either port: nginx takes
// some of them from the default one.
func (r *rendering) bounds() []Directive {
	f := r.facts
	ds := []Directive{
		d("server_tokens", "off"),
		d("underscores_in_headers", "off"),
		d("ignore_invalid_headers", "on"),
		d("merge_slashes", "off"),
		d("client_header_timeout", seconds(f.HeaderTime)),
		d("client_body_timeout", seconds(f.BodyPause)),
		d("send_timeout", seconds(f.BodyPause)),
		d("keepalive_timeout", seconds(f.IdleTime)),
		d("reset_timedout_connection", "on"),
		d("client_header_buffer_size", "1k"),
		d("large_client_header_buffers", "4", strconv.Itoa(f.HeaderBytes/4)),
		d("gzip", "off"),
	}
	for _, proxy := range r.Edge.TrustedProxies {
		ds = append(ds, d("set_real_ip_from", prefixText(proxy)))
	}
	if len(r.Edge.TrustedProxies) > 0 {
		header := "X-Forwarded-For"
		if r.Edge.ProxyProtocol {
			header = "proxy_protocol"
		}
		ds = append(ds, d("real_ip_header", header), d("real_ip_recursive", "on"))
	}
	return ds
}

func prefixText(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// stranger takes whoever asks for another name, or for none, over TLS.
func (r *rendering) stranger() Directive {
	s := r.listenTLS("default_server")
	s = append(s, d("server_name", "_"))
	if r.Version.rejectsHandshake() {
		s = append(s, noted("No name that is ours, no certificate.", d("ssl_reject_handshake", "on"))...)
	} else {
		s = append(s, noted("This nginx cannot refuse a handshake: strangers get a certificate of nobody's.",
			d("ssl_certificate", filepath.Join(r.Edge.Nginx.Folder, nobodyCert)), d("ssl_certificate_key", filepath.Join(r.Edge.Nginx.Folder, nobodyKey)))...)
	}
	s = append(s, r.tls()...)
	s = append(s, r.bounds()...)
	s = append(s, r.logTo()...)
	s = append(s, block("if", []string{"($ringwall_banned)"}, d("return", "444")))
	s = append(s, r.errorPages(r.secure)...)
	s = append(s, noted("A client that knows the site's name, and then asks for another.", block("location", []string{"/"}, d("return", "421")))...)
	server := block("server", nil, s...)
	server.Comment = "Other names, and the bare address, over TLS."
	return server
}

// site is the site itself.
func (r *rendering) site() Directive {
	e := r.Edge
	cert, key := Certificate(r.Policy)
	s := r.listenTLS()
	s = append(s, d("server_name", r.Site), d("ssl_certificate", cert), d("ssl_certificate_key", key))
	s = append(s, r.tls()...)
	s = append(s, d("http2_max_concurrent_streams", strconv.Itoa(r.facts.Streams)))
	s = append(s, r.bounds()...)
	s = append(s, d("client_max_body_size", strconv.FormatInt(r.largestBody(), 10)))
	s = append(s, r.logTo()...)
	s = append(s, noted("The banned, and scanners: the connection is closed without an answer.",
		block("if", []string{"($ringwall_banned)"}, d("return", "444")),
		block("if", []string{"($ringwall_scanner)"}, d("return", "444")))...)
	if !r.Version.StrictFraming() {
		s = append(s, block("if", []string{"($ringwall_doubtful)"}, d("return", "444")))
	}
	if r.enforced("edge/rate") {
		s = append(s, noted("One client's requests: so many at once, none delayed.", r.limitRate(), d("limit_req_status", "429"))...)
	}
	if r.enforced("edge/connections") {
		s = append(s, noted("One client's requests under way; more are closed.",
			d("limit_conn", "ringwall_connections", strconv.Itoa(e.Connections)), d("limit_conn_status", "444"))...)
	}
	s = append(s, r.toRing("https", r.secure)...)
	s = append(s, r.errorPages(r.secure)...)
	s = append(s, noted("All that is served. The path goes on as the client sent it: the ring has the one reading of it.",
		block("location", []string{"/"}, d("proxy_pass", "http://ringwall")))...)
	s = append(s, noted("Where the ring hangs up.", block("location", []string{edge.HangupLocation}, d("return", "444")))...)
	server := block("server", nil, s...)
	server.Comment = "The site."
	return server
}

func (r *rendering) limitRate() Directive {
	if r.Edge.Rate.Burst == 0 {
		return d("limit_req", "zone=ringwall_rate")
	}
	return d("limit_req", "zone=ringwall_rate", fmt.Sprintf("burst=%d", r.Edge.Rate.Burst), "nodelay")
}

// largestBody is the cap of all routes: which route has which, the ring knows.
func (r *rendering) largestBody() int64 {
	most := r.App.Body
	for _, route := range r.App.Routes {
		most = max(most, route.Body)
	}
	return int64(most)
}

func (r *rendering) logTo() []Directive {
	return []Directive{
		d("access_log", r.Edge.Nginx.Log, "ringwall"),
		d("access_log", "syslog:server="+eventsAddress(r.Edge.Nginx.Listen)+",tag=ringwall,nohostname", "ringwall_events", "if=$ringwall_told"),
	}
}

// host is the site, with the port that browsers have to name.
func (r *rendering) host() string {
	if _, port, _ := net.SplitHostPort(r.Edge.Listen); port != "443" {
		return r.Site + ":" + port
	}
	return r.Site
}

// toRing is how requests go on, in one place: a location with a proxy_set_header
// of its own would inherit none of these. headers are those that answers get
// here, so the ring's are taken off: each is sent once.
func (r *rendering) toRing(proto string, headers []Directive) []Directive {
	t := r.Edge.Timeouts
	ds := noted("What the ring is told. The client's address is said anew, never appended to.",
		d("proxy_http_version", "1.1"),
		d("proxy_set_header", "Host", r.host()),
		d("proxy_set_header", "X-Real-IP", "$remote_addr"),
		d("proxy_set_header", "X-Forwarded-For", "$remote_addr"),
		d("proxy_set_header", "X-Forwarded-Proto", proto))
	for _, name := range []string{"Forwarded", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Server", "Proxy"} {
		ds = append(ds, d("proxy_set_header", name, ""))
	}
	ds = append(ds, d("proxy_set_header", "Upgrade", "$ringwall_upgrade"), d("proxy_set_header", "Connection", "$ringwall_connection"),
		d("include", filepath.Join(r.Edge.Nginx.Folder, proofFile)))
	for _, h := range headers {
		ds = append(ds, d("proxy_hide_header", h.Args[0]))
	}
	return append(ds, noted("The ring holds the API to edge.timeouts, and answers in time. nginx is the second to give up,\nand leaves a quiet event stream alone.",
		d("proxy_connect_timeout", seconds(t.Connect)),
		d("proxy_send_timeout", seconds(t.Send+r.facts.BodyPause)),
		d("proxy_read_timeout", "1h"),
		d("proxy_request_buffering", "off"),
		d("proxy_buffering", "off"),
		d("proxy_buffer_size", "32k"),
		d("proxy_buffers", "8", "32k"),
		d("proxy_max_temp_file_size", "0"),
		d("proxy_next_upstream", "error"), // one retry, of what may be asked twice, where the ring had closed an idle connection
		d("proxy_redirect", "off"),
		d("proxy_intercept_errors", "off"))...)
}

// plainStranger takes whoever asks for another host over HTTP.
func (r *rendering) plainStranger() Directive {
	s := append(r.listen(r.Edge.Redirect, "default_server"), d("server_name", "_"))
	s = append(s, r.bounds()...)
	s = append(s, r.logTo()...)
	s = append(s, r.errorPages(r.plain)...)
	s = append(s, block("location", []string{"/"}, d("return", "444")))
	server := block("server", nil, s...)
	server.Comment = "Other names, and the bare address, over HTTP."
	return server
}

// plainSite redirects, and has challenges answered.
func (r *rendering) plainSite() Directive {
	s := append(r.listen(r.Edge.Redirect), d("server_name", r.Site))
	s = append(s, r.bounds()...)
	s = append(s, d("client_max_body_size", strconv.FormatInt(r.largestBody(), 10)))
	s = append(s, r.logTo()...)
	s = append(s, block("if", []string{"($ringwall_banned)"}, d("return", "444")))
	if r.enforced("edge/connections") {
		s = append(s, d("limit_conn", "ringwall_connections", strconv.Itoa(r.Edge.Connections)), d("limit_conn_status", "444"))
	}
	s = append(s, r.errorPages(r.plain)...)
	challenge := []Directive{d("root", r.Edge.Nginx.Webroot), d("default_type", "text/plain"), d("try_files", "$uri", "=404")}
	if r.Edge.TLS.ACME.Enabled() {
		s = append(s, r.toRing("http", r.plain)...)
		challenge = []Directive{d("proxy_pass", "http://ringwall")}
	}
	s = append(s, noted("Who issues certificates looks here.", block("location", []string{"^~", edge.ChallengePath}, challenge...))...)
	s = append(s, noted("Nothing else, and nothing of the client's but the path.",
		block("location", []string{"/"}, d("return", "308", "https://"+r.host()+"$ringwall_target")))...)
	if r.Edge.TLS.ACME.Enabled() {
		s = append(s, block("location", []string{edge.HangupLocation}, d("return", "444")))
	}
	server := block("server", nil, s...)
	server.Comment = "The site over HTTP."
	return server
}
