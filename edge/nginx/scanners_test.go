package nginx_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/edge/nginx"
	"github.com/ringwall/ringwall/policy"
)

// listed are the expressions of a text's map, in nginx's order.
func listed(t testing.TB, p *policy.Policy, o nginx.Options, variable string) func(string) string {
	t.Helper()
	o.Version = nginx.Version{Major: 1, Minor: 22, Patch: 1}
	ds, err := nginx.Directives(p, o)
	if err != nil {
		t.Fatal(err)
	}
	type entry struct {
		re    *regexp.Regexp
		value string
	}
	var entries []entry
	fallback := ""
	for _, d := range ds {
		if d.Name != "map" || d.Args[1] != variable {
			continue
		}
		for _, e := range d.Block {
			switch re, ok := strings.CutPrefix(e.Name, "~"); {
			case e.Name == "default":
				fallback = e.Args[0]
			case ok:
				if ci, ok := strings.CutPrefix(re, "*"); ok {
					re = "(?i)" + ci
				}
				entries = append(entries, entry{regexp.MustCompile("(?s)" + re), e.Args[0]})
			default:
				entries = append(entries, entry{regexp.MustCompile("^" + regexp.QuoteMeta(e.Name) + "$"), e.Args[0]})
			}
			if len(e.Name) > 4000 {
				t.Errorf("an expression of %d bytes: nginx takes 4096", len(e.Name))
			}
		}
	}
	return func(s string) string {
		for _, e := range entries {
			if e.re.MatchString(s) {
				return e.value
			}
		}
		return fallback
	}
}

func scannerPolicy(t testing.TB) *policy.Policy {
	p := nginxPolicy(t)
	p.App.Routes = []policy.Route{{Path: "/api/", Allow: []string{"signed-in"}}, {Path: "/files/{name}", Allow: []string{"anyone"}}, {Path: "/{any}", Allow: []string{"anyone"}},
		{Path: "/legacy/report.php", Allow: []string{"anyone"}}, {Path: "/", Allow: []string{"anyone"}}}
	p.Edge.Scanners.Allow = []string{"/owa/", "/phpinfo"}
	return p
}

// judgeOf is edge/scanners.
func judgeOf(t testing.TB, p *policy.Policy) edge.Judge {
	for _, c := range edge.Controls() {
		if c.ID == "edge/scanners" {
			judge, err := c.Gate(p, &edge.State{})
			if err != nil {
				t.Fatal(err)
			}
			return judge
		}
	}
	t.Fatal("edge/scanners is not listed")
	return nil
}

// nginx's part of the list refuses nothing that the whole list lets pass.
func FuzzScanners(f *testing.F) {
	p := scannerPolicy(f)
	judge := judgeOf(f, p)
	first, second := listed(f, p, nginx.Options{}, "$ringwall_listed"), listed(f, p, nginx.Options{}, "$ringwall_scanner")
	for _, path := range []string{"/.env", "/x/.git/config", "/a.php", "/.well-known/.env", "/files/a.php", "/legacy/report.php", "/backup.zip", "/a/..php", "/.environment",
		"/phpMyAdmin-5.1/x", "/cvs/entries", "/actuator", "/actuator/x", "/actuator/env", "/site.tar.gz", "/owa/x", "/db/x.sql", "/x/x.sql", "/main...php", "/.env;x", "/a.php~", "\\.git"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "\x00") {
			return
		}
		if second(first(path)+":"+path) != "1" {
			return
		}
		r := &http.Request{Method: "GET", URL: &url.URL{Path: path}}
		if judge(&edge.Visit{Request: r}) == nil {
			t.Errorf("nginx refuses %q, and edge/scanners does not", path)
		}
	})
}

func TestScannersInNginx(t *testing.T) {
	p := scannerPolicy(t)
	first, second := listed(t, p, nginx.Options{Documented: []string{"/x/{id}/y", "/print.asp"}}, "$ringwall_listed"), listed(t, p, nginx.Options{Documented: []string{"/x/{id}/y", "/print.asp"}}, "$ringwall_scanner")
	for path, want := range map[string]string{
		"/.env": "1", "/.ENV": "1", "//.env": "1", "/api/.env": "1", "/.env.bak": "1", "/.git/config": "1", "/wp-login.php": "1", "/xmlrpc.php": "1", "/a/b/SHELL.PHP": "1",
		"/index.php.bak": "1", "/database.sql": "1", "/dump.sql.gz": "1", "/backup.zip": "1", "/api.example.com.tar.gz": "1", "/example.zip": "1", "/old/site.zip": "1",
		"/phpMyAdmin-5.1.0/index": "1", "/actuator/": "1", "/actuator/env": "1", "/HNAP1": "1", "/WEB-INF/web": "1", "/+CSCOE+/x": "1", "/.env~": "1", "/config.php~": "1",
		"/.environment": "0", "/.well-known/.env": "0", "/actuator/mine": "0", "/api/notes": "0", "/a/x.sql": "0", "/data.zip": "0", "/registry.example.zip": "0",
		"/files/a.php": "0", "/legacy/report.php": "0", "/legacy/REPORT.php": "1", "/owa/auth": "0", "/phpinfo": "0", "/phpinfo/x": "1", "/x/.git/y": "0", "/print.asp": "0",
	} {
		if got := second(first(path) + ":" + path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}
