package nginx_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/edge/nginx"
	"github.com/ringwall/ringwall/policy"
)

// The site of many a guide.
const guide = `limit_req_zone $binary_remote_addr zone=api_limit:10m rate=10r/s;
limit_conn_zone $binary_remote_addr zone=conn_limit:10m;
upstream api { server 127.0.0.1:8000; server 127.0.0.1:8001; keepalive 8; }
server {
    listen 80;
    listen [::]:80;
    server_name api.example.com www.example.com;
    return 301 https://$host$request_uri;
}
server {
    listen 443 ssl http2;
    server_name api.example.com;
    ssl_certificate /etc/letsencrypt/live/api.example.com/fullchain.pem;
    ssl_certificate_key /etc/letsencrypt/live/api.example.com/privkey.pem;
    include /etc/letsencrypt/options-ssl-nginx.conf;
    client_max_body_size 1m;
    set_real_ip_from 10.0.0.0/8;
    real_ip_header X-Forwarded-For;
    add_header X-Frame-Options "DENY" always;
    add_header Strict-Transport-Security "max-age=31536000; includeSubDomains" always;
    add_header Content-Security-Policy "default-src 'self'" always;
    add_header X-Team "payments" always;
    add_header Access-Control-Allow-Origin "https://app.example.com";
    location = /xmlrpc.php { return 444; }
    location ~ /\.(?!well-known) { deny all; }
    location / {
        limit_req zone=api_limit burst=20 nodelay;
        limit_conn conn_limit 20;
        proxy_pass http://api;
        proxy_http_version 1.1;
        proxy_set_header Host $host;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header X-Tenant "a";
        proxy_connect_timeout 10s;
        proxy_read_timeout 45;
    }
    location /admin/ {
        allow 192.0.2.0/24;
        deny all;
        proxy_pass http://api;
    }
    location /static/ { alias /srv/static/; }
    location /old { proxy_pass http://192.0.2.7:9000; }
}
`

func TestAdopt(t *testing.T) {
	a, err := nginx.Adopt("/etc/nginx/sites-enabled/api", []nginx.File{{Name: "/etc/nginx/nginx.conf", Text: "events {}\nhttp { gzip on; }"}, {Name: "/etc/nginx/sites-enabled/api", Text: guide}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Parse("", []byte(a.Policy), policy.LoadOptions{Environ: []string{}, Now: func() time.Time { return day }})
	if err != nil {
		t.Fatalf("%v\n%s", err, a.Policy)
	}
	h := p.App.Headers
	if a.Site != "api.example.com" || p.Site != a.Site || !p.NginxIsEdge() || len(p.Upstreams) != 2 || p.App.Body != 1<<20 || p.Edge.Rate != (policy.Rate{Requests: 10, Per: time.Second, Burst: 20}) ||
		p.Edge.Connections != 20 || p.Edge.Timeouts.Read != 45*time.Second || p.Edge.Timeouts.Connect != 10*time.Second || len(p.Edge.TrustedProxies) != 1 ||
		h.CSP != "default-src 'self'" || !h.HSTS.Subdomains || h.HSTS.MaxAge != 365*24*time.Hour || !strings.HasSuffix(p.Edge.TLS.Key, "privkey.pem") {
		t.Errorf("%s", a.Policy)
	}
	left := strings.Join(a.Left, "\n")
	for _, want := range []string{"api:7: server_name api.example.com www.example.com:", "X-Team", "app.cors.origins", "X-Tenant", "allow 192.0.2.0/24: it holds for /admin/", "deny all: it holds for /admin/",
		"alias /srv/static/", "api:43: proxy_pass http://192.0.2.7:9000: the API is on another machine"} {
		if !strings.Contains(left, want) {
			t.Errorf("nothing of %s in\n%s", want, left)
		}
	}
	for _, never := range []string{"X-Frame-Options", "X-Real-IP", "xmlrpc", "options-ssl-nginx", "X-Forwarded-For"} {
		if strings.Contains(left, never) {
			t.Errorf("%s is missed, and need not be:\n%s", never, left)
		}
	}
	if text, err := nginx.Render(p, nginx.Options{Version: nginx.Version{Major: 1, Minor: 22, Patch: 1}, Headers: headers}); err != nil || !strings.Contains(text, "server_name api.example.com") {
		t.Error(err)
	}
}

func TestAdoptWhatIsNone(t *testing.T) {
	for name, text := range map[string]string{
		"/x": "server { listen 80; }", "/y": "server {", "/z": "",
	} {
		if a, err := nginx.Adopt(name, []nginx.File{{Name: name, Text: text}}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v %v", name, a, err)
		}
	}
	if _, err := nginx.Adopt("/none", nil); err == nil || !strings.Contains(err.Error(), "does not read /none") {
		t.Error(err)
	}
}
