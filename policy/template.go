package policy

import "strings"

// Template is the policy file to start from, with the rules that matter most
// written out and explained. An upstream of "" leaves it to Go code. Load
// accepts the result for every site and upstream that it accepts.
func Template(site, upstream string) []byte {
	up := "upstream: " + textYAML(upstream)
	if upstream == "" {
		up = "# upstream: http://127.0.0.1:8000 # the API behind, on this machine only"
	}
	return []byte(strings.NewReplacer("$SITE", textYAML(site), "$UPSTREAM", up).Replace(template))
}

const template = `# The policy: what Ringwall enforces around the API, and proves with ` + "`ringwall check`" + `.
# Every key: ringwall policy schema. What is in force: ringwall policy show.
# Keys that are not here have safe defaults. Unknown keys are errors.

site: $SITE # the host name that clients use
$UPSTREAM

edge:
  # tls: {acme: {email: you@example.com}} # asks Let's Encrypt for the certificate, whose terms you accept
  # tls: {cert: site.pem, key: site.key} # or you have one; paths are relative to this file
  rate: {requests: 10, per: 1s, burst: 20} # of one client address; more are answered 429
  timeouts: {connect: 10s, send: 30s, read: 30s} # towards the API
  trusted_proxies: [] # addresses whose X-Forwarded-For is believed
  # security_txt: {contact: ["mailto:security@example.com"]} # for who finds a hole

app:
  cors:
    origins: [] # web pages that may call, exactly: ["https://app.example.com"]
  limits: # requests per client address; more are answered 429
    global: {requests: 600, per: 15m}
    auth: {requests: 20, per: 15m, paths: [/api/auth/]}
  body: 200kB # largest request body
  timeout: 30s # until the answer begins
  # schema: openapi.yaml # OpenAPI 3.1: requests that do not fit are answered 400
  routes: # the first match wins; nothing matched: signed-in
    # /a/b is that path, /a/ is all below it, {name} is one segment
    - {path: /api/auth/, allow: [anyone]}
    - {path: /api/admin/, allow: [admin]}
    - {path: /, allow: [signed-in]}
  headers:
    hsts: {max_age: 365d, subdomains: false, preload: false}

identity:
  # off: your API signs callers in, with the key in secrets/identity_token_key.
  # open, invite or closed: Ringwall does, at /api/auth/, /api/me and
  # /api/admin/users, and needs a way to send mail. The first administrator:
  # ringwall user add --email you@example.com --role admin
  registration: off
  # verify_email: true # an account signs in once its address is proved
  # default_roles: [user] # of an account that registers itself
  # mail: {smtp: "smtp.example.com:465", user: accounts} # password: secrets/smtp_password
  access_token: 10m # how long a stolen one is good
  refresh_token: 30d # then people sign in again
  roles: # permissions are noun:verb; notes:* is all of notes, * is all
    admin: ["*"]
    user: ["notes:read", "notes:write"]

# Where accounts, sessions and the audit trail are kept when registration is not
# off: a file, or postgres://ringwall@db.example.com/ringwall for several servers.
# store: sqlite:ringwall.db

# Metrics for Prometheus, on this machine only.
# admin: 127.0.0.1:9464

# Who is told of spikes, bans, stolen sessions and outages. Addresses that are
# secrets go into secrets/watch_webhook_address; try it: ringwall watch test
# watch: {webhook: "https://hooks.example.com/ringwall", mail: [ops@example.com]}

# A control is switched off in writing only, until a day, and every report says so:
# waivers:
#   - {control: app/hsts, reason: "the load balancer in front sends it", until: 2027-01-31}
`
