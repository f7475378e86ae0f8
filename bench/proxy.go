package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/ringwall/ringwall"
	"github.com/ringwall/ringwall/audit"
)

// proxies are the subjects in front of one upstream on loopback: nginx with the
// controls that it has, then the others that are installed, the standard
// library's proxy with none, and this with all. Each answers the same request
// over TLS with a P-256 certificate and writes an access log.
func proxies(dir string) (subs []subject, stop func(), err error) {
	if err := writeCertificate(dir); err != nil {
		return nil, nil, err
	}
	up, err := start("upstream", dir)
	if err != nil {
		return nil, nil, err
	}
	for _, p := range []struct {
		name, program string
		config        func(dir, listen, upstream string) (file, text string, args []string)
	}{
		{"nginx", "nginx", nginxConfig},
		{"haproxy", "haproxy", haproxyConfig},
		{"caddy", "caddy", caddyConfig},
	} {
		program, err := exec.LookPath(p.program)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s is not installed and not measured\n", p.name)
			continue
		}
		subs = append(subs, subject{p.name, func() (*server, error) {
			listen, err := freeAddress()
			if err != nil {
				return nil, err
			}
			file, text, args := p.config(dir, listen, up.url)
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				return nil, err
			}
			cmd := exec.Command(program, args...)
			cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
			out, err := os.Create(filepath.Join(dir, p.name+".out"))
			if err != nil {
				return nil, err
			}
			cmd.Stdout, cmd.Stderr = out, out
			if err := cmd.Start(); err != nil {
				return nil, err
			}
			srv := &server{cmd: cmd, url: "https://" + listen + "/api/notes/4f2c"}
			if err := answers(listen); err != nil {
				srv.stop()
				said, _ := os.ReadFile(out.Name())
				return nil, fmt.Errorf("%s: %w\n%s", p.name, err, said)
			}
			return srv, nil
		}})
	}
	for _, kind := range []string{"httputil", "ringwall"} {
		subs = append(subs, subject{kind, func() (*server, error) { return start("proxy", dir, kind, up.url) }})
	}
	return subs, up.stop, nil
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// answers waits until somebody listens.
func answers(address string) error {
	var err error
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		var c net.Conn
		if c, err = net.Dial("tcp", address); err == nil {
			return c.Close()
		}
	}
	return err
}

// writeCertificate leaves site.pem, site.key and both in one file for haproxy.
func writeCertificate(dir string) error {
	cert, err := certificate()
	if err != nil {
		return err
	}
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		return err
	}
	pub := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})
	priv := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
	for name, b := range map[string][]byte{"site.pem": pub, "site.key": priv, "both.pem": append(pub, priv...)} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// apiHeaders are those that every answer of the ring has and an operator of the
// others would write: the field names that they are configured with.
var apiHeaders = [][2]string{
	{"Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"},
	{"Cross-Origin-Opener-Policy", "same-origin"}, {"Cross-Origin-Resource-Policy", "same-origin"}, {"Origin-Agent-Cluster", "?1"},
	{"Permissions-Policy", "geolocation=(), microphone=(), camera=()"}, {"Referrer-Policy", "strict-origin-when-cross-origin"},
	{"Strict-Transport-Security", "max-age=31536000"}, {"X-Content-Type-Options", "nosniff"}, {"X-DNS-Prefetch-Control", "off"},
	{"X-Download-Options", "noopen"}, {"X-Frame-Options", "DENY"}, {"X-Permitted-Cross-Domain-Policies", "none"}, {"X-XSS-Protection", "0"},
}

func headers(format string) string {
	var b strings.Builder
	for _, h := range apiHeaders {
		fmt.Fprintf(&b, format+"\n", h[0], h[1])
	}
	return b.String()
}

func nginxConfig(dir, listen, upstream string) (file, text string, args []string) {
	file = filepath.Join(dir, "nginx.conf")
	return file, `daemon off;
worker_processes auto;
pid ` + dir + `/nginx.pid;
error_log ` + dir + `/nginx.error crit;
events { worker_connections 4096; }
http {
  server_tokens off;
  access_log off;
  client_body_temp_path ` + dir + `/nginx.body; proxy_temp_path ` + dir + `/nginx.proxy; fastcgi_temp_path ` + dir + `/nginx.f;
  uwsgi_temp_path ` + dir + `/nginx.u; scgi_temp_path ` + dir + `/nginx.s;
  log_format json escape=json '{"time":"$time_iso8601","address":"$remote_addr","method":"$request_method","path":"$uri","status":$status,"size":$body_bytes_sent,"took":$request_time,"agent":"$http_user_agent","id":"$request_id"}';
  limit_req_zone $binary_remote_addr zone=rate:10m rate=100000r/s;
  limit_conn_zone $binary_remote_addr zone=conns:10m;
  upstream api { server ` + strings.TrimPrefix(upstream, "http://") + `; keepalive 64; keepalive_requests 1000000; }
  server {
    listen ` + listen + ` ssl http2;
    server_name 127.0.0.1;
    ssl_certificate ` + dir + `/site.pem; ssl_certificate_key ` + dir + `/site.key;
    ssl_protocols TLSv1.2 TLSv1.3;
    keepalive_requests 1000000;
    client_max_body_size 200k;
    access_log ` + dir + `/nginx.log json buffer=64k flush=1s;
    limit_req zone=rate burst=100000 nodelay;
    limit_conn conns 10000;
` + headers(`    add_header %s "%s" always;`) + `
    add_header X-Request-Id $request_id always;
    location ~* (/\.(env|git)|wp-login\.php|xmlrpc\.php|/phpmyadmin) { return 444; }
    location / {
      proxy_pass http://api;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Request-Id $request_id;
      proxy_hide_header X-Powered-By;
      proxy_connect_timeout 10s; proxy_send_timeout 30s; proxy_read_timeout 30s;
    }
  }
}
`, []string{"-c", file, "-e", dir + "/nginx.error"}
}

func haproxyConfig(dir, listen, upstream string) (file, text string, args []string) {
	file = filepath.Join(dir, "haproxy.cfg")
	return file, `global
  log stdout format raw local0
  maxconn 4096
defaults
  mode http
  log global
  option httplog
  timeout connect 10s
  timeout client 30s
  timeout server 30s
  timeout http-request 10s
frontend site
  bind ` + listen + ` ssl crt ` + dir + `/both.pem alpn h2,http/1.1 ssl-min-ver TLSv1.2
  stick-table type ipv6 size 100k expire 30s store http_req_rate(1s),conn_cur
  http-request track-sc0 src
  http-request deny deny_status 429 if { sc_http_req_rate(0) gt 1000000 }
  http-request silent-drop if { path_reg -i (/\.(env|git)|wp-login\.php|xmlrpc\.php|/phpmyadmin) }
  http-request set-header X-Real-IP %[src]
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Forwarded-Proto https
` + headers(`  http-response set-header %s "%s"`) + `
  default_backend api
backend api
  http-reuse always
  server api ` + strings.TrimPrefix(upstream, "http://") + `
`, []string{"-f", file, "-db"}
}

func caddyConfig(dir, listen, upstream string) (file, text string, args []string) {
	file = filepath.Join(dir, "Caddyfile")
	return file, `{
  admin off
  auto_https off
}
https://` + listen + ` {
  tls ` + dir + `/site.pem ` + dir + `/site.key
  log {
    output file ` + dir + `/caddy.log
  }
  header {
` + headers("    %s \"%s\"") + `
  }
  @scanners path_regexp (?i)(/\.(env|git)|wp-login\.php|xmlrpc\.php|/phpmyadmin)
  abort @scanners
  reverse_proxy ` + upstream + `
}
`, []string{"run", "--config", file, "--adapter", "caddyfile"}
}

// serveUpstream is the API behind all of them.
func serveUpstream() error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: http.HandlerFunc(hello)}
	go srv.Serve(ln)
	fmt.Printf("http://%s none\n", ln.Addr())
	io.Copy(io.Discard, os.Stdin)
	return srv.Close()
}

// serveProxy is one of the two proxies in Go.
func serveProxy(logFile, kind, upstream string) error {
	dir := filepath.Dir(logFile)
	listen, err := freeAddress()
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	if kind == "httputil" {
		to, err := url.Parse(upstream)
		if err != nil {
			return err
		}
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.MaxIdleConnsPerHost = 64
		srv := &http.Server{Addr: listen, Handler: &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.SetXForwarded()
		}, ErrorLog: log.New(io.Discard, "", 0)}}
		go func() { done <- srv.ListenAndServeTLS(dir+"/site.pem", dir+"/site.key") }()
		defer srv.Close()
	} else {
		out, err := os.Create(logFile)
		if err != nil {
			return err
		}
		p, err := rules(dir, "site: 127.0.0.1\nupstream: "+upstream+"\n", listen, `app:
  limits: {global: {requests: 1000000, per: 1s}, auth: {requests: 20, per: 15m, paths: [/api/auth/]}}
  routes: [{path: /, allow: [anyone]}]
`)
		if err != nil {
			return err
		}
		s, err := ringwall.New(p, nil, ringwall.Deps{Log: slog.New(audit.NewHandler(audit.NewBuffer(out, os.Stderr), slog.LevelInfo))})
		if err != nil {
			return err
		}
		go func() { done <- s.Run(ctx) }()
	}
	if err := answers(listen); err != nil {
		return err
	}
	fmt.Printf("https://%s/api/notes/4f2c none\n", listen)
	go func() {
		io.Copy(io.Discard, os.Stdin)
		stop()
		done <- nil
	}()
	return <-done
}
