package nginx

import (
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// The files beside the configuration, in edge.nginx.folder and edge.nginx.state.
const (
	proofFile  = "proof.conf"          // in the servers: the header that proves nginx
	eventsFile = "events.conf"         // in http: the log format of events, which holds the same secret
	bansFile   = "bans.conf"           // in geo: who is banned
	wakeFile   = "nginx-reload-wanted" // for systemd: nginx is to read what is new
	pairFile   = "site.pem"            // with edge.tls.acme: the certificate, its chain and its key
	nobodyCert = "nobody.pem"          // for an nginx that cannot refuse a handshake
	nobodyKey  = "nobody.key"
)

// http is what stands beside the servers.
func (r *rendering) http() []Directive {
	e := r.Edge
	ds := noted("nginx has no escape for a dollar sign.", block("geo", []string{"$ringwall_dollar"}, d("default", "$")))
	ds = append(ds, noted("An IPv6 client is its /64: an address more costs it nothing.",
		block("map", []string{"$binary_remote_addr", "$ringwall_client"},
			d("default", "$binary_remote_addr"),
			d(`~(?s)^\x00{10}\xff\xff(.{4})$`, "$1"),
			d(`~(?s)^(.{8}).{8}$`, "$1")))...)
	if r.enforced("edge/rate") {
		n, unit, _ := e.Rate.PerMinute()
		per := map[time.Duration]string{time.Second: "r/s", time.Minute: "r/m"}[unit]
		ds = append(ds, d("limit_req_zone", "$ringwall_client", "zone=ringwall_rate:10m", fmt.Sprintf("rate=%d%s", n, per)))
	}
	if r.enforced("edge/connections") {
		ds = append(ds, d("limit_conn_zone", "$ringwall_client", "zone=ringwall_connections:10m"))
	}
	if r.enforced("edge/bans") {
		ds = append(ds, noted("Who is banned. The first line keeps the file from being read as ranges.",
			block("geo", []string{"$ringwall_banned"},
				d("default", "0"), d("255.255.255.255", "0"), d("include", filepath.Join(e.Nginx.State, bansFile))))...)
	} else {
		ds = append(ds, block("geo", []string{"$ringwall_banned"}, d("default", "0")))
	}
	ds = append(ds, r.scanners()...)
	if !r.Version.StrictFraming() {
		ds = append(ds, noted("Two lengths of one body, and a coding that HTTP/1.0 does not have: this nginx does not see to it itself.",
			block("map", []string{"$server_protocol:$http_content_length:$http_transfer_encoding", "$ringwall_doubtful"},
				d("default", "0"), d("~^[^:]*:[^:]+:.", "1"), d("~^HTTP/1.0:[^:]*:.", "1")))...)
	}
	ds = append(ds, noted("Upgrades to WebSocket alone: another HTTP on the connection would be judged by nobody.",
		block("map", []string{"$http_upgrade", "$ringwall_upgrade"}, d("default", ""), d("~*^websocket$", "websocket")))...)
	ds = append(ds, block("map", []string{"$ringwall_upgrade", "$ringwall_connection"}, d("default", ""), d("websocket", "upgrade")))
	ds = append(ds, block("map", []string{"$request_uri", "$ringwall_target"}, d("default", "/"), d("~^/", "$request_uri")))
	ds = append(ds, ownHeaders()...)
	ds = append(ds, r.logs()...)
	ds = append(ds, noted("The ring, which answers nobody else.",
		block("upstream", []string{"ringwall"},
			d("server", e.Nginx.Listen, "max_fails=0"), d("keepalive", "64"), d("keepalive_timeout", seconds(r.facts.IdleTime/2))))...)
	return ds
}

// scanners sets $ringwall_scanner, and $ringwall_broken for what nginx answers
// 400 itself.
func (r *rendering) scanners() []Directive {
	listed := []Directive{d("default", "0")}
	broken := []Directive{d("default", "0")}
	own := []Directive{d("default", "1"), d("~^0:", "0")}
	if r.enforced("edge/scanners") {
		listed = append(listed, d(`~*^/+\.well-known/`, "0"))
		for _, re := range scannerRegexps(r.Site) {
			listed = append(listed, d("~*"+re, "1"))
		}
		for _, re := range brokenLines() {
			broken = append(broken, d("~*"+re, "1"))
		}
	}
	for _, re := range ownPaths(r.Policy, r.Documented) {
		own = append(own, d("~^1:"+strings.TrimPrefix(re, "^"), "0"))
	}
	ds := noted("What only scanners ask for, as edge/scanners has it.", block("map", []string{"$uri", "$ringwall_listed"}, listed...))
	ds = append(ds, noted("Paths of the list that are the API's own: the ring judges them.",
		block("map", []string{"$ringwall_listed:$uri", "$ringwall_scanner"}, own...))...)
	return append(ds, noted("What a scanner asks for in a way that nginx finds malformed.",
		block("map", []string{"$request", "$ringwall_broken"}, broken...))...)
}

// logs are the access log's format, in the field names of Ringwall's own, and
// what Ringwall is told of refusals that it does not see.
func (r *rendering) logs() []Directive {
	ds := noted("The access log: no query, no header but the first 256 bytes of User-Agent.",
		block("map", []string{"$status", "$ringwall_status"}, d("default", "$status"), d("~^0", "0")))
	ds = append(ds,
		block("map", []string{"$request", "$ringwall_method"}, d("default", ""), d("~^([A-Za-z_-]{1,32}) ", "$1")),
		block("map", []string{"$request_uri", "$ringwall_path"}, d("default", ""), d(`~^([^?]+)`, "$1")),
		block("map", []string{"$http_user_agent", "$ringwall_agent"}, d("default", ""), d(`~^(.{1,256})`, "$1")),
		block("map", []string{"$server_protocol", "$ringwall_protocol"}, d("default", "1.1"), d("HTTP/1.0", "1.0"), d("HTTP/2.0", "2")),
		d("log_format", "ringwall", "escape=json",
			`{"time":"$time_iso8601","level":"INFO","msg":"request","http.request.method":"$ringwall_method","url.path":"$ringwall_path",`+
				`"http.response.status_code":$ringwall_status,"http.response.body.size":$body_bytes_sent,"http.server.request.duration":$request_time,`+
				`"client.address":"$remote_addr","network.protocol.version":"$ringwall_protocol","user_agent.original":"$ringwall_agent",`+
				`"ringwall.request_id":"$upstream_http_x_request_id"}`))
	ds = append(ds, noted("What Ringwall is told, so that it counts: scanners, floods, malformed requests.",
		block("map", []string{"$ringwall_banned:$limit_req_status:$limit_conn_status:$ringwall_scanner:$ringwall_broken:$status:$upstream_status", "$ringwall_told"},
			d("default", ""),
			d("~^1:", ""),
			d("~^0:REJECTED", "rate"),
			d("~^0:[^:]*:REJECTED", "connections"),
			d("~^0:[^:]*:[^:]*:1:", "scanner"),
			d("~^0:[^:]*:[^:]*:[^:]*:1:444:$", "scanner"),
			d("~^0:[^:]*:[^:]*:[^:]*:[^:]*:(?:414|431):$", "long"),
			d("~^0:[^:]*:[^:]*:[^:]*:[^:]*:(?:400|501|505):$", "protocol")))...)
	ds = append(ds, noted("What a page of another site may have had a browser send: it is not held against the browser's user.\nOver plain HTTP no browser says so.",
		block("map", []string{"$https:$http_sec_fetch_site:$http_origin", "$ringwall_elsewhere"},
			d("default", "1"), d("~^on:(?:none|same-origin)?:(?:https://"+regexp.QuoteMeta(r.host())+")?$", "0")))...)
	return append(ds, d("include", filepath.Join(r.Edge.Nginx.Folder, eventsFile)))
}
