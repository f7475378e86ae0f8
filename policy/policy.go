package policy

import (
	"net/netip"
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
	Site     string   `yaml:"site" required:"true" doc:"host name that clients use, lower case, without scheme or port; others are answered 421"`
	Upstream string   `yaml:"upstream" doc:"the API behind: http://127.0.0.1:8000 or unix:/run/api.sock; absent when the handler is Go code"`
	Edge     Edge     `yaml:"edge" doc:"listeners and the proxy"`
	App      App      `yaml:"app" doc:"the controls around the API"`
	Identity Identity `yaml:"identity" doc:"who calls: tokens and roles"`
	Admin    string   `yaml:"admin" doc:"loopback address of the metrics page, such as 127.0.0.1:9464; empty: none"`
	Waivers  []Waiver `yaml:"waivers" doc:"controls that are off, each with a written reason and a last day"`

	dev    bool
	folder string            // of the policy file, for relative paths
	doc    *document         // the file as read; nil for Default
	origin map[string]string // path to the environment variable or file that set it
}

// Edge is ring 2: what listens and what is behind it.
type Edge struct {
	Listen         string         `yaml:"listen" default:":443" doc:"address of the HTTPS listener"`
	Redirect       string         `yaml:"redirect" default:":80" doc:"address of the plain HTTP listener that only redirects"`
	TLS            TLS            `yaml:"tls" doc:"certificate of the site"`
	TrustedProxies []netip.Prefix `yaml:"trusted_proxies" doc:"peers whose X-Forwarded-For is believed, as addresses or prefixes; empty: none"`
	Timeouts       Timeouts       `yaml:"timeouts" doc:"how long the upstream may take"`
}

// TLS names a certificate and its key, both PEM files.
type TLS struct {
	Cert string `yaml:"cert" doc:"PEM file: the certificate and its chain"`
	Key  string `yaml:"key" doc:"PEM file: the private key, readable by the owner only"`
}

// Timeouts bound the upstream.
type Timeouts struct {
	Connect time.Duration `yaml:"connect" default:"10s" min:"1s" max:"1h" doc:"to open a connection to the upstream"`
	Send    time.Duration `yaml:"send" default:"30s" min:"1s" max:"1h" doc:"between two writes of a request to the upstream"`
	Read    time.Duration `yaml:"read" default:"30s" min:"1s" max:"1h" doc:"until the upstream's answer begins"`
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
	Issuer      string              `yaml:"issuer" doc:"iss of access tokens; absent: https:// and the site"`
	Audience    string              `yaml:"audience" doc:"aud of access tokens; absent: the issuer"`
	AccessToken time.Duration       `yaml:"access_token" default:"10m" min:"1m" max:"1h" doc:"lifetime of an access token"`
	Roles       map[string][]string `yaml:"roles" doc:"role names and their permissions; * grants all, notes:* all of notes"`
	TokenKey    Secret              `yaml:"-" secret:"identity_token_key" bytes:"32" doc:"base64 Ed25519 seed, 32 bytes, that signs and checks access tokens"`
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
