package policy

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Policy is the one document. It is immutable once loaded; a reload makes a
// new one. Paths to files are relative to the policy file's folder (see File).
//
// The tags below are the only list of keys. Decoding, defaults, environment
// overrides, `policy show` and `policy schema` all read them:
//
//	yaml      the key
//	doc       what it means
//	default   the value when the key is absent, written as in the file; lists by comma
//	required  "true": a policy without it is refused
//	min, max  the range of a number, duration or size, ends included
//	oneof     the allowed values of a text, or of each in a list
//	env       a further environment variable that sets it
//	secret    the name of a secret, which no policy file may hold
//	bytes     of a secret: its value is base64 of exactly so many bytes
type Policy struct {
	Site      string   `yaml:"site" required:"true" doc:"host name that clients use, lower case, without scheme or port; others are answered 421"`
	Upstream  string   `yaml:"upstream" doc:"the API behind: http://127.0.0.1:8000 or unix:/run/api.sock, or h2c://127.0.0.1:50051 or h2c+unix:/run/api.sock where it speaks HTTP/2, as gRPC does; absent when the handler is Go code"`
	Upstreams []string `yaml:"upstreams" doc:"instead of upstream: several places where the same API listens, at most 64; each request goes to the one with the fewest under way"`
	Edge      Edge     `yaml:"edge" doc:"listeners and the proxy"`
	App       App      `yaml:"app" doc:"the controls around the API"`
	Identity  Identity `yaml:"identity" doc:"who calls: tokens and roles"`
	Store     string   `yaml:"store" default:"sqlite:ringwall.db" doc:"where accounts, sessions and the audit chain are kept: sqlite:FILE or postgres://USER@HOST/NAME; used when identity.registration is not off"`
	Admin     string   `yaml:"admin" doc:"loopback address of the metrics page, such as 127.0.0.1:9464; empty: none"`
	Host      Host     `yaml:"host" doc:"the server, as ringwall host plan, apply and status take it"`
	Watch     Watch    `yaml:"watch" doc:"who is told of security events"`
	Waivers   []Waiver `yaml:"waivers" doc:"controls that are off, each with a written reason and a last day"`

	StorePassword Secret `yaml:"-" secret:"store_password" doc:"password of the PostgreSQL user that store names"`

	dev    bool
	folder string            // of the policy file, for relative paths
	doc    *document         // the file as read; nil for Default
	origin map[string]string // path to the environment variable or file that set it
}

// Edge is ring 2: what listens and what is behind it.
type Edge struct {
	Engine         string         `yaml:"engine" default:"builtin" oneof:"builtin,nginx" doc:"what takes clients' connections: Ringwall itself (builtin), or an nginx that \"ringwall nginx install\" sets up from this policy"`
	Nginx          Nginx          `yaml:"nginx" doc:"where nginx and Ringwall meet; used when engine is nginx"`
	Listen         string         `yaml:"listen" default:":443" doc:"address of the HTTPS listener"`
	Redirect       string         `yaml:"redirect" default:":80" doc:"address of the plain HTTP listener that only redirects"`
	HTTP3          bool           `yaml:"http3" default:"false" doc:"serve HTTP/3 too, on UDP at the address and port of edge.listen; answers then tell clients of it"`
	TLS            TLS            `yaml:"tls" doc:"certificate of the site"`
	TrustedProxies []netip.Prefix `yaml:"trusted_proxies" doc:"peers whose X-Forwarded-For is believed, as addresses or prefixes; empty: none"`
	Timeouts       Timeouts       `yaml:"timeouts" doc:"how long the upstream may take"`
	Health         Health         `yaml:"health" doc:"how the upstreams are looked at; without a path, one is out for a growing time when it takes no connection"`
	Rate           Rate           `yaml:"rate" doc:"how fast one client address may ask, whatever it asks for; more is answered 429"`
	Connections    int            `yaml:"connections" default:"20" min:"1" max:"100000" doc:"connections that one client address may hold at once; more are closed"`
	MaxConnections int            `yaml:"max_connections" default:"0" min:"0" max:"1000000" doc:"connections in all; more are closed; 0: a third of the files that the process may open, at most 20000"`
	ProxyProtocol  bool           `yaml:"proxy_protocol" default:"false" doc:"connections begin with a PROXY protocol header, which trusted_proxies alone may send; others are closed"`
	Scanners       Scanners       `yaml:"scanners" doc:"paths that only scanners ask for: the connection is closed without an answer"`
	Bans           Bans           `yaml:"bans" doc:"addresses that attack are refused for a while, before TLS"`
	Robots         bool           `yaml:"robots" default:"true" doc:"serve a /robots.txt that asks crawlers to stay away; false: the path is the API's"`
	SecurityTxt    SecurityTxt    `yaml:"security_txt" doc:"/.well-known/security.txt, for who finds a hole; without a contact the path is the API's"`
}

// Nginx says where nginx and Ringwall meet. The defaults are those of Debian's
// and Ubuntu's package. All files but those in State are root's.
type Nginx struct {
	Listen  string `yaml:"listen" default:"127.0.0.1:8001" doc:"where Ringwall serves nginx, and nobody else: a loopback address and port, or unix:/run/ringwall/nginx.sock"`
	Conf    string `yaml:"conf" default:"/etc/nginx/conf.d/ringwall.conf" doc:"file that the configuration is installed as; nginx.conf must include it in http"`
	Folder  string `yaml:"folder" default:"/etc/nginx/ringwall" doc:"folder of what else nginx reads and only root may: the proof that a request came through it"`
	State   string `yaml:"state" default:"/var/lib/ringwall/nginx" doc:"folder that Ringwall writes for nginx to read: who is banned and, with edge.tls.acme, the certificate"`
	Webroot string `yaml:"webroot" default:"/var/lib/ringwall/webroot" doc:"folder that nginx serves ACME challenges from on port 80, for certbot's --webroot-path; with edge.tls.acme Ringwall answers them itself"`
	Log     string `yaml:"log" default:"/var/log/nginx/ringwall.json" doc:"file of nginx's access log, one JSON object a line"`
	Proof   Secret `yaml:"-" secret:"edge_nginx_proof" bytes:"32" doc:"base64 of 32 bytes that nginx proves itself with; ringwall nginx install makes it"`
}

// NginxIsEdge reports whether nginx takes the clients' connections.
func (p *Policy) NginxIsEdge() bool { return p.Edge.Engine == "nginx" }

// ExampleSite reports a site whose name is kept for examples, and nobody's: it stands
// for one that is still to be written. No authority issues a certificate for it (RFC
// 2606, 2 and 3).
func (p *Policy) ExampleSite() bool {
	labels := strings.Split(p.Site, ".")
	last := labels[max(0, len(labels)-2):]
	return last[len(last)-1] == "example" || len(last) == 2 && last[0] == "example" && slices.Contains([]string{"com", "net", "org"}, last[1])
}

// Bans says when an address is banned, and for how long. What is banned is an
// address: whoever shares it, behind one router, is out with the attacker.
type Bans struct {
	Threshold int            `yaml:"threshold" default:"100" min:"100" max:"100000" doc:"points at which an address is banned; docs/bans.md says what counts; half of it is forgotten every 5 minutes"`
	For       time.Duration  `yaml:"for" default:"10m" min:"1m" max:"30d" doc:"length of an address's first ban; each further one is twice as long"`
	Most      time.Duration  `yaml:"most" default:"24h" min:"1m" max:"30d" doc:"length of the longest ban, and how long an ended one is remembered"`
	Allow     []netip.Prefix `yaml:"allow" doc:"addresses or prefixes that are never banned, such as the office's and the one that runs ringwall check"`
}

// Scanners says which paths on the list of scanners' are the API's own.
type Scanners struct {
	Allow []string `yaml:"allow" doc:"path patterns that are served although scanners ask for them too, such as /report.php or /files/; routes and the OpenAPI document name others"`
}

// SecurityTxt says whom to tell of a hole (RFC 9116).
type SecurityTxt struct {
	Contact   []string  `yaml:"contact" doc:"addresses such as mailto:security@example.com or https://example.com/report, the preferred one first"`
	Policy    string    `yaml:"policy" doc:"https page that says how holes are to be reported"`
	Languages []string  `yaml:"languages" doc:"languages that reports may be in, such as en"`
	Expires   time.Time `yaml:"expires" doc:"last day on which this holds, at most a year ahead; absent: always 90 days ahead"`
}

// Rate bounds requests in a short time, so that one client cannot keep the
// others waiting. What app.limits allows over minutes is another matter.
type Rate struct {
	Requests int           `yaml:"requests" default:"10" min:"1" max:"1000000" doc:"requests allowed in the period"`
	Per      time.Duration `yaml:"per" default:"1s" min:"1s" max:"1h" doc:"the period"`
	Burst    int           `yaml:"burst" default:"20" min:"0" max:"100000" doc:"requests beyond the rate that may come at once"`
}

// TLS says where the site's certificate comes from: two PEM files that somebody
// else renews, or an authority that is asked for it.
type TLS struct {
	Cert string `yaml:"cert" doc:"PEM file: the certificate and its chain"`
	Key  string `yaml:"key" doc:"PEM file: the private key, readable by the owner only"`
	ACME ACME   `yaml:"acme" doc:"instead of cert and key: an authority that issues the certificate and renews it (RFC 8555)"`
}

// LetsEncrypt is the default of edge.tls.acme.directory.
const LetsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"

// ACME names the authority. To give an address is to agree to its terms.
type ACME struct {
	Email     string `yaml:"email" doc:"mail address of the account at the authority, which is asked for certificates once it is given; it agrees to the authority's terms"`
	Directory string `yaml:"directory" default:"https://acme-v02.api.letsencrypt.org/directory" doc:"address of the authority"`
	Trust     string `yaml:"trust" doc:"PEM file of the authority's own CA, when it is a private one; no other is then trusted to be the authority"`
}

// Enabled reports whether an authority is asked.
func (a ACME) Enabled() bool { return a.Email != "" }

// Health is how upstreams are checked besides being used.
type Health struct {
	Path  string        `yaml:"path" doc:"asked of each upstream by GET, such as /healthz; 2xx and 3xx are good, two bad answers in a row put it out; absent: it is not asked"`
	Every time.Duration `yaml:"every" default:"5s" min:"1s" max:"10m" doc:"the time between two checks of one upstream"`
}

// Timeouts bound the upstream.
type Timeouts struct {
	Connect time.Duration `yaml:"connect" default:"10s" min:"1s" max:"1h" doc:"to open a connection to the upstream"`
	Send    time.Duration `yaml:"send" default:"30s" min:"1s" max:"1h" doc:"between two writes of a request to the upstream"`
	Read    time.Duration `yaml:"read" default:"30s" min:"1s" max:"1h" doc:"until the upstream's answer begins, and then between two reads of it; app.timeout may end the wait for the beginning earlier"`
	Stream  time.Duration `yaml:"stream" default:"1h" min:"1s" max:"24h" doc:"instead of read, once an answer that streams has begun: server-sent events, gRPC, JSON lines, WebSocket and other upgrades; how long the upstream may be silent"`
}

// App is ring 1: the controls around the API.
type App struct {
	CORS         CORS             `yaml:"cors" doc:"which web origins may call with a browser"`
	Limits       map[string]Limit `yaml:"limits" default:"{global: {requests: 600, per: 15m}, auth: {requests: 20, per: 15m, paths: [/api/auth/]}}" doc:"rate classes by name; global counts every request, the others those under their paths; global and auth are always there"`
	LimitsMemory Size             `yaml:"limits_memory" default:"64MB" min:"1MB" max:"1GB" doc:"hard cap of the rate limiter's state"`
	Body         Size             `yaml:"body" default:"200kB" min:"1kB" max:"1GB" doc:"largest request body; a larger one is answered 413"`
	ContentTypes []string         `yaml:"content_types" default:"application/json,application/x-www-form-urlencoded" doc:"media types that a request body may have; others are answered 415"`
	JSONDepth    int              `yaml:"json_depth" default:"32" min:"1" max:"1000" doc:"deepest nesting of a JSON body"`
	Timeout      time.Duration    `yaml:"timeout" default:"30s" min:"1s" max:"1h" doc:"a request whose answer has not begun by then is answered 503"`
	Schema       string           `yaml:"schema" doc:"OpenAPI 3.1 file; every request to the upstream is validated against it"`
	Routes       []Route          `yaml:"routes" doc:"who may call what; the first match wins; nothing matched: signed-in"`
	Headers      Headers          `yaml:"headers" doc:"response headers with values of their own"`
	Log          string           `yaml:"log" default:"info" oneof:"debug,info,warn,error" env:"LOG_LEVEL" doc:"least severe level that is logged"`
}

// CORS is the allow-list of web origins (Fetch standard, section 3.2).
type CORS struct {
	Origins     []string      `yaml:"origins" doc:"exact origins, such as https://app.example.com; none: no cross-origin reads"`
	Credentials bool          `yaml:"credentials" default:"true" doc:"cookies and Authorization may be sent cross-origin"`
	Methods     []string      `yaml:"methods" default:"GET,POST,PUT,PATCH,DELETE" oneof:"GET,HEAD,POST,PUT,PATCH,DELETE,OPTIONS" doc:"methods that a preflight allows"`
	Headers     []string      `yaml:"headers" default:"Content-Type,Authorization" doc:"request headers that a preflight allows"`
	Expose      []string      `yaml:"expose" default:"RateLimit,RateLimit-Policy,Retry-After,X-Request-Id" doc:"response headers that a page may read"`
	MaxAge      time.Duration `yaml:"max_age" default:"10m" min:"0s" max:"2h" doc:"how long a browser keeps a preflight's answer"`
}

// Limit is one rate class: so many requests in a period, per client.
type Limit struct {
	Requests int           `yaml:"requests" required:"true" min:"1" max:"1000000" doc:"requests allowed in the period"`
	Per      time.Duration `yaml:"per" required:"true" min:"1s" max:"24h" doc:"the period"`
	Paths    []string      `yaml:"paths" doc:"path patterns that the class counts; only the class global has none"`
	Message  string        `yaml:"message" doc:"what a refused client is told; empty: a plain sentence"`

	OnStoreError string `yaml:"on_store_error" oneof:"allow,deny" doc:"allow or deny (503) requests while the limits cannot be read; absent: allow for global, deny for the others"`
}

// Route says who may call the requests that it matches.
//
// Path patterns: "/a/b" is that path; "/a/" is /a and all below it; {name}
// stands for one segment. Matching is by segment, on the canonical path only.
type Route struct {
	Path         string        `yaml:"path" required:"true" doc:"pattern: /a/b is that path, /a/ is all below it, {name} is one segment"`
	Methods      []string      `yaml:"methods" oneof:"GET,HEAD,POST,PUT,PATCH,DELETE,OPTIONS" doc:"methods that the route is for; none: all. GET covers HEAD"`
	Allow        []string      `yaml:"allow" required:"true" doc:"anyone, signed-in, roles, or permissions such as notes:write; one of them is enough"`
	Body         Size          `yaml:"body" min:"1kB" max:"1GB" doc:"largest request body here; absent: app.body"`
	ContentTypes []string      `yaml:"content_types" doc:"media types here; absent: app.content_types"`
	Timeout      time.Duration `yaml:"timeout" min:"1s" max:"1h" doc:"longest wait for an answer to begin here; absent: app.timeout"`
}

// Headers are the response headers whose value a site may need to choose.
type Headers struct {
	HSTS        HSTS   `yaml:"hsts" doc:"Strict-Transport-Security, sent over HTTPS only"`
	CSP         string `yaml:"csp" default:"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'" doc:"Content-Security-Policy; the default suits an API that serves no pages"`
	Permissions string `yaml:"permissions" default:"geolocation=(), microphone=(), camera=()" doc:"Permissions-Policy, a structured dictionary"`
}

// HSTS is Strict-Transport-Security (RFC 6797).
type HSTS struct {
	MaxAge     time.Duration `yaml:"max_age" default:"365d" min:"1h" max:"730d" doc:"how long a browser keeps to HTTPS"`
	Subdomains bool          `yaml:"subdomains" doc:"includeSubDomains: every subdomain must speak HTTPS too"`
	Preload    bool          `yaml:"preload" doc:"asks browsers to ship the rule; very hard to undo; needs subdomains and 365d"`
}

// Identity says how callers are known.
type Identity struct {
	Registration string              `yaml:"registration" default:"off" oneof:"off,open,invite,closed" doc:"who may make an account: anybody (open), whoever an admin invited (invite), nobody (closed, accounts are made on the server); off: Ringwall keeps no accounts"`
	VerifyEmail  bool                `yaml:"verify_email" default:"true" doc:"an account signs in only once its address is proved"`
	VerifyWithin time.Duration       `yaml:"verify_within" default:"7d" min:"1d" max:"365d" doc:"an account whose address is not proved by then is removed and its address is free again; one that an operator locked stays"`
	DefaultRoles []string            `yaml:"default_roles" doc:"roles of an account that registers itself; each is one of roles"`
	Issuer       string              `yaml:"issuer" doc:"iss of access tokens; absent: https:// and the site"`
	Audience     string              `yaml:"audience" doc:"aud of access tokens; absent: the issuer"`
	AccessToken  time.Duration       `yaml:"access_token" default:"10m" min:"1m" max:"1h" doc:"lifetime of an access token"`
	RefreshToken time.Duration       `yaml:"refresh_token" default:"30d" min:"1h" max:"365d" doc:"lifetime of a sign-in, however often it is refreshed"`
	RetryWindow  time.Duration       `yaml:"retry_window" default:"30s" min:"1s" max:"5m" doc:"how long the refresh token before the current one is answered again with the same successor, for a client that lost the answer; later it is theft"`
	Roles        map[string][]string `yaml:"roles" doc:"role names and their permissions; * grants all, notes:* all of notes"`
	Keys         string              `yaml:"keys" default:"secrets/identity_keys.json" doc:"file of the signing keys, made at the first start, mode 0600; used when registration is not off"`
	BreachCheck  bool                `yaml:"breach_check" doc:"new passwords are also looked up at api.pwnedpasswords.com, by the first 5 digits of their SHA-1; the list that ships is always used"`
	KeepEvents   time.Duration       `yaml:"keep_events" default:"365d" min:"7d" max:"3650d" doc:"how long the audit chain keeps events; older ones are removed once a day, and what is left still verifies"`
	Mail         Mail                `yaml:"mail" doc:"how accounts get mail"`
	TokenKey     Secret              `yaml:"-" secret:"identity_token_key" bytes:"32" doc:"base64 Ed25519 seed, 32 bytes, that signs and checks access tokens when registration is off"`
}

// Mail is how accounts get mail: through an SMTP server, or into a folder.
type Mail struct {
	SMTP     string `yaml:"smtp" doc:"host and port of the mail server: 465 speaks TLS at once, others must offer STARTTLS"`
	User     string `yaml:"user" doc:"user name at the mail server; absent: none is sent"`
	From     string `yaml:"from" doc:"sender, such as accounts@example.com; absent: accounts@ and the site"`
	Folder   string `yaml:"folder" doc:"instead of smtp: a folder that mails are written to, for development"`
	Link     string `yaml:"link" doc:"page of the site's own that mails point to, such as https://app.example.com/account; the purpose and the secret follow as its fragment; absent: mails hold the secret alone"`
	Password Secret `yaml:"-" secret:"smtp_password" doc:"password of user at the mail server"`
}

// Watch says who is told of security events, besides the log: a program, by
// webhook, or people, by mail.
type Watch struct {
	Webhook string        `yaml:"webhook" doc:"https address that notices are posted to, as JSON with a text; absent: none. One that is itself a secret, as chat services give out, belongs in the secret watch_webhook_address"`
	Mail    []string      `yaml:"mail" doc:"addresses that notices are mailed to, the way that identity.mail says"`
	Events  []string      `yaml:"events" default:"account.locked,audit.broken,audit.lost,ban.added,ban.failed,certificate.expiring,certificate.failed,certificate.kept,check.drifted,handler.panicked,key.revoked,mail.failed,policy.kept,store.failed,token.reused,traffic.calmed,traffic.spiked,upstream.down,upstream.failed,upstream.up" oneof:"access.denied,account.created,account.deleted,account.locked,account.unlocked,attempt.delayed,audit.broken,audit.lost,auth.failed,ban.added,ban.failed,ban.removed,ban.spared,certificate.expiring,certificate.failed,certificate.kept,certificate.obtained,check.drifted,connection.refused,handler.panicked,header.forged,key.revoked,key.rotated,mail.failed,password.reset,policy.kept,policy.loaded,rate.blocked,roles.changed,scanner.refused,server.started,server.stopped,store.failed,store.moved,store.restored,token.forged,token.reused,traffic.calmed,traffic.spiked,upstream.down,upstream.failed,upstream.up" doc:"kinds of events that notices tell of"`
	Digest  time.Duration `yaml:"digest" default:"15m" min:"1m" max:"24h" doc:"the first event is told within a second; then there is at most one mail in this time, and one notice of the same thing by webhook, with counts"`

	WebhookAddress Secret `yaml:"-" secret:"watch_webhook_address" doc:"in the place of webhook: an address that is itself a secret"`
	WebhookKey     Secret `yaml:"-" secret:"watch_webhook_key" bytes:"32" doc:"base64 of 32 bytes that sign what is posted to the webhook, as Standard Webhooks says"`
}

// Receiver is the address that notices are posted to, "" for none. It may be a
// secret.
func (w Watch) Receiver() string {
	if w.Webhook != "" {
		return w.Webhook
	}
	return w.WebhookAddress.Reveal()
}

// Waiver switches one control off, in writing, until a day.
type Waiver struct {
	Control string    `yaml:"control" required:"true" doc:"ID of the control, such as app/hsts"`
	Reason  string    `yaml:"reason" required:"true" doc:"why, in at least 10 characters; it is printed in every report"`
	Until   time.Time `yaml:"until" required:"true" doc:"last day, as 2027-01-31; at most a year ahead; then the control is in force again and the check fails until the line is gone"`
}

// Size is a number of bytes. Written 200kB, 64MB, 1GB (powers of 1000) or
// 64MiB (powers of 1024).
type Size int64
