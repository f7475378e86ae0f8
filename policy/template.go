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
  # tls: {cert: site.pem, key: site.key} # paths are relative to this file
  timeouts: {connect: 10s, send: 30s, read: 30s} # towards the API
  trusted_proxies: [] # addresses whose X-Forwarded-For is believed

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
  access_token: 10m
  roles: # permissions are noun:verb; notes:* is all of notes, * is all
    admin: ["*"]
    user: ["notes:read", "notes:write"]

# Metrics for Prometheus, on this machine only.
# admin: 127.0.0.1:9464

# A control is switched off in writing only, until a day, and every report says so:
# waivers:
#   - {control: app/hsts, reason: "the load balancer in front sends it", until: 2027-01-31}
`
