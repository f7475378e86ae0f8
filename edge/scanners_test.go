package edge_test

import (
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/policy"
)

// gateJudge builds one control's judge.
func gateJudge(t testing.TB, id string, p *policy.Policy) edge.Judge {
	t.Helper()
	list := edge.Controls()
	i := slices.IndexFunc(list, func(c edge.Control) bool { return c.ID == id })
	if i < 0 {
		t.Fatalf("%s is not in the list", id)
	}
	judge, err := list[i].Gate(p, &edge.State{})
	if err != nil {
		t.Fatal(err)
	}
	return judge
}

// scannerVisit reads a request target as net/http does; nil: it refuses it.
func scannerVisit(target string) *edge.Visit {
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return nil
	}
	return &edge.Visit{Request: &http.Request{Method: "GET", URL: u, RequestURI: target}}
}

// scannerTargets are what scanners were seen to ask for, by class.
var scannerTargets = map[string][]string{
	"dotfile": {
		"/.env", "/.ENV", "/.env.production", "/.env~", "/.env.bak", "/api/.env", "/api/v1/.env.local", "/.env%20", "/.env%00.json", "/%2eenv", "/.%65nv",
		"/%252eenv", "/%25252eenv", "/.git/config", "/.git/HEAD", "/.GIT/config", "/app/.git/logs/HEAD", "/.git-credentials", "/.gitlab-ci.yml",
		"/.svn/entries", "/.svn/wc.db", "/.hg/store", "/.DS_Store", "/.aws/credentials", "/.ssh/id_rsa", "/.ssh/authorized_keys", "/.kube/config",
		"/.docker/config.json", "/.htaccess", "/.htpasswd", "/.bash_history", "/.npmrc", "/.vscode/sftp.json", "/.idea/workspace.xml",
		"/.config/gcloud/credentials.db", "/.netrc", "/.my.cnf", "/.terraform/terraform.tfstate", "/.user.ini", "//.env", "/.env/", "/.env;x=.css",
	},
	"script": {
		"/wp-login.php", "/WP-LOGIN.PHP", "/xmlrpc.php", "/blog/xmlrpc.php", "/index.php", "/a/b/c/shell.php", "/config.php~", "/info.php/x", "/index.php5",
		"/admin.php;.css", "/index.php%20", "/index.php%00.jpg", "/index%2ephp", "/index%252ephp", "/wp-config.PhP", "/a.phtml", "/up.phar", "/default.asp",
		"/Login.aspx", "/trace.axd", "/elmah.axd", "/global.asax", "/a.jsp", "/cmd.jspx", "/CFIDE.cfm", "/a.cfc", "/test.cgi", "/x/setup.cgi",
		"/index.jsp;jsessionid=1",
	},
	"backup": {
		"/index.php.bak", "/a/b/config.php.old", "/wp-config.php.save", "/settings.bak", "/database.sql", "/dump.sql.gz", "/backup.zip", "/BACKUP.ZIP",
		"/backup.tar.gz", "/site-backup-2024.tgz", "/db.zip", "/www.rar", "/public_html.zip", "/example.zip", "/api.example.com.tar.gz", "/backup1.zip",
		"/backups/db.sql", "/db/dump.sql", "/old/site.zip", "/.index.html.swp", "/users.mdb",
	},
	"traversal": {
		"/../etc/passwd", "/static/../../../../etc/passwd", "/..%2f..%2fetc/passwd", "/%2e%2e/%2e%2e/x", "/a/%2E%2e/b", "/a/..%2Fb", "/a%2f../b",
		"/a/..%5cb", "/a/..\\b", "/..\\..\\windows", "/a/..;/admin", "/a/..;x=1/admin", "/%252e%252e/%252e%252e/x", "/a/%25252e%25252e/b",
		"/a/..%252fb", "/a/..%255cb", "/a/%c0%ae%c0%ae/b", "/a/..%c0%afb", "/a/..%c1%9cb", "/a/%e0%80%ae%e0%80%ae/b", "/a/%25c0%25ae%25c0%25ae/b",
		"/a/%25u002e%25u002e/b", "/x/.%2e/.%2e/bin/sh", "/.well-known/../../x", "/.well-known/%2e%2e/x", "/a/..%00/b",
	},
	"exploit path": {
		"/phpmyadmin/", "/phpMyAdmin/", "/phpMyAdmin-5.1.0/index", "/phpmyadmin2", "/pma/", "/wp-admin/", "/blog/wp-admin/setup", "/wp-content/plugins/x",
		"/wp-json/wp/v2/users/", "/cgi-bin/luci", "/CGI-BIN/x", "/actuator", "/actuator/", "/actuator/env", "/actuator/gateway/routes", "/solr/admin/info/system",
		"/boaform/admin/formLogin", "/GponForm/diag_Form", "/HNAP1", "/HNAP1/", "/vendor/phpunit/src/eval", "/lib/phpunit/x", "/_ignition/execute-solution",
		"/_ignition/health-check/", "/owa/", "/owa/auth/logon", "/autodiscover/autodiscover.json", "/manager/html", "/manager/text/list", "/host-manager/html",
		"/server-status", "/server-info", "/jmx-console/", "/invoker/JMXInvokerServlet", "/remote/fgt_lang", "/dana-na/auth/url_default/welcome",
		"/+CSCOE+/logon.html", "/tmui/login", "/mgmt/tm/util/bash", "/telescope/requests", "/_profiler/empty/search", "/latest/meta-data/iam/",
		"/nice%20ports%2C/Tri%6Eity.txt%2ebak", "/docker-compose.yml", "/composer.lock", "/WEB-INF/web", "/x/WEB-INF/", "/web.config", "/x/id_rsa",
		"/files/etc/passwd", "/x/proc/self/environ", "/etc/passwd", "/windows/win.ini", "/struts2-showcase/index.action", "/_vti_bin/shtml.exe",
		"/goform/set_LimitClient_cfg", "/ISAPI/Security/userCheck", "/debug/pprof/heap", "/%61ctuator/env", "/%2561ctuator/env",
	},
}

func TestScannersAreRefused(t *testing.T) {
	p := policy.Default()
	p.Site = "api.example.com"
	p.App.Routes = []policy.Route{{Path: "/api/", Allow: []string{"signed-in"}}, {Path: "/{any}", Allow: []string{"anyone"}}, {Path: "/", Allow: []string{"anyone"}}}
	judge := gateJudge(t, "edge/scanners", p)
	for class, targets := range scannerTargets {
		for _, target := range targets {
			v := scannerVisit(target)
			if v == nil {
				t.Errorf("%s: net/http refuses %s itself", class, target)
				continue
			}
			switch r := judge(v); {
			case r == nil:
				t.Errorf("%s: %s passes", class, target)
			case r.Detail != class:
				t.Errorf("%s is a %s, want %s", target, r.Detail, class)
			case !r.Hangup || r.Kind != "scanner.refused" || r.Err == nil:
				t.Errorf("%s: %+v", target, r)
			}
		}
	}
}

// ordinaryPaths are what clients of APIs ask for.
func ordinaryPaths(t testing.TB) []string {
	b, err := os.ReadFile("testdata/ordinary_paths.txt")
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "/") {
			paths = append(paths, line)
		}
	}
	if len(paths) < 1500 {
		t.Fatalf("only %d paths", len(paths))
	}
	return paths
}

// scannerValues are ordinary values of a path's parameters.
var scannerValues = []string{
	"42", "0af76519-16cd-43dd-8448-eb211c80319c", "jane.doe@example.com", "main", "v1.2.3", "report.pdf", "archive.tar.gz", "data.zip", "backup.zip",
	"example.pl", "registry.example.zip", "foo.old", "a~b", "100%25", "10%25off", "M%C3%BCller", "%E6%97%A5%E6%9C%AC", "%D0%BF%D1%80%D0%B8", "%E0%A4%A8", "AC%2FDC", "index.js",
	"asp.net", "ASP.NET", ".net", "...", "..hidden", "php", "env", "git", "admin", "owa", "sql", "-", "_", "2024-02-30T12:00:00Z", "dGVzdA==", "a+b", "a,b",
	"console", "manager", "server", "status", "backup", "actuator", "solr", "environment", "passwd", "etc", "lib%40next", "@scope", "user.name", "1.0.0-rc.1", "php-fpm",
}

func TestScannersLetOrdinaryPathsPass(t *testing.T) {
	p := policy.Default()
	p.Site = "api.example.com"
	judge := gateJudge(t, "edge/scanners", p)
	see := func(target string) {
		v := scannerVisit(target)
		if v == nil {
			t.Errorf("%s is no target", target)
		} else if r := judge(v); r != nil {
			t.Errorf("%s is refused: %v", target, r.Err)
		}
	}
	for _, path := range ordinaryPaths(t) {
		if !strings.Contains(path, "{}") {
			see(path)
			continue
		}
		for _, value := range scannerValues {
			see(strings.ReplaceAll(path, "{}", value))
		}
	}
	for _, target := range []string{
		"/", "//", "/a//b", "/./a", "/a/../b", "/a/b/../c", "*", "/a;b", "/a%00", "/%ff", "/a%2fb", "/a\\b", "/a%252fb", // app/path says what is wrong with them
		"/api/auth/login", "/api/me", "/api/notes/1", "/healthz", "/readyz", "/robots.txt", "/favicon.ico", "/apple-touch-icon.png", "/sitemap.xml", "/ads.txt",
		"/.well-known/security.txt", "/.well-known/jwks.json", "/.well-known/acme-challenge/x", "/.well-known/openid-configuration", "/.well-known/caldav",
		"/.well-known/change-password", "/graphql", "/swagger/index.html", "/openapi.json", "/metrics", "/admin", "/admin/users", "/console", "/login", "/shell",
		"/config.json", "/package.json", "/manifest.json", "/appsettings.json", "/index.html", "/assets/app-1a2b.js", "/static/css/main.css.map",
		"/devices/7/actuator", "/actuators", "/manager", "/manager/7", "/remote/devices", "/server/status", "/api/solr/cores", "/integrations/jenkins/login",
		"/autodiscover/autodiscover.xml", "/autodiscover/autodiscover.json/v1.0/jane@example.com", "/org/repo.git/info/refs", "/v2/library/nginx/manifests/1.27",
		"/@scope%2fname", "/-/package/x/dist-tags", "/Products(7)/$value", "/fhir/Patient/1/_history/2", "/_matrix/client/v3/sync", "/users/jane/.profile2x"[:12],
		"/files/a/b/backup.zip", "/downloads/site.zip", "/app.zip", "/release-1.2.tar.gz", "/dns/zones/example.php.net", "/domains/my.zip", "/domains/foo.app",
		"/backup/7", "/backups/nightly", "/db/users", "/old", "/sql/queries/7", "/environment", "/.environment", "/.netlify/functions/x", "/.auth/me",
		"/search/..%20..", "/q/50%25%20off", "/a?x=../../etc/passwd", "/a?file=/.env", "/debug", "/latest", "/sdk", "/vendor/7", "/cgi-binary", "/wp", "/horde",
	} {
		see(target)
	}
}

func TestScannersAllowWhatIsTheAPIsOwn(t *testing.T) {
	p := policy.Default()
	p.Site = "api.example.com"
	p.Edge.Scanners.Allow = []string{"/report.php", "/legacy/"}
	p.App.Routes = []policy.Route{
		{Path: "/files/{name}", Allow: []string{"anyone"}}, {Path: "/actuator/", Allow: []string{"admin"}},
		{Path: "/soap/Service.aspx", Allow: []string{"anyone"}}, {Path: "/api/", Allow: []string{"anyone"}},
		{Path: "/{page}", Allow: []string{"anyone"}}, {Path: "/", Allow: []string{"anyone"}},
	}
	judge := gateJudge(t, "edge/scanners", p)
	documented := func(path string) bool { // /repos/{owner}/contents/{file} and /{slug}
		s := strings.Split(strings.Trim(path, "/"), "/")
		return len(s) == 4 && s[0] == "repos" && s[2] == "contents" || len(s) == 1
	}
	for target, passes := range map[string]bool{
		"/report.php": true, "/Report.php": false, "/legacy/x/index.php": true, "/legacy/.env": true, "/legacyx/index.php": false,
		"/files/a.php": true, "/files/.env": true, "/files/a/b.php": false, "/actuator": true, "/actuator/env": true, "/actuator/env/x.php": false,
		"/soap/Service.aspx": true, "/api/.env": false, "/api/x.php": false, "/x.php": false,
		"/repos/jane/contents/.gitignore": true, "/repos/jane/contents/x.php": true, "/repos/jane/other/x.php": false,
		"/files/..;/a.php": false, "/legacy/%2e%2e/x": false, "/files/%252eenv": false, // app/path would refuse them anyway
	} {
		v := scannerVisit(target)
		v.Documented = documented
		if r := judge(v); (r == nil) != passes {
			t.Errorf("%s passes: %v, want %v", target, r == nil, passes)
		}
	}
}

// Ordinary requests cost no allocation.
func TestScannersDoNotAllocate(t *testing.T) {
	p := policy.Default()
	p.Site = "api.example.com"
	judge := gateJudge(t, "edge/scanners", p)
	for _, target := range []string{"/", "/api/notes/0af76519-16cd-43dd-8448-eb211c80319c", "/Api/Files/Report.PDF", "/search/M%C3%BCller", "/a/b.tar.gz"} {
		v := scannerVisit(target)
		if n := testing.AllocsPerRun(100, func() { judge(v) }); n != 0 {
			t.Errorf("%s: %v allocations", target, n)
		}
	}
}

func BenchmarkScanners(b *testing.B) {
	p := policy.Default()
	p.Site = "api.example.com"
	judge := gateJudge(b, "edge/scanners", p)
	var visits []*edge.Visit
	for _, path := range ordinaryPaths(b) {
		visits = append(visits, scannerVisit(strings.ReplaceAll(path, "{}", "0af7651916cd43dd8448eb211c80319c")))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		judge(visits[i%len(visits)])
	}
}

// No path, however it is written, may break the gate; and another letter case or
// another round of encoding must not change what is refused.
func FuzzScanners(f *testing.F) {
	for _, targets := range scannerTargets {
		for _, target := range targets {
			f.Add(target)
		}
	}
	f.Add("/api/notes/1")
	p := policy.Default()
	p.Site = "api.example.com"
	judge := gateJudge(f, "edge/scanners", p)
	f.Fuzz(func(t *testing.T, target string) {
		if !strings.HasPrefix(target, "/") {
			return
		}
		v := scannerVisit(target)
		if v == nil {
			return
		}
		refused := judge(v) != nil
		upper := *v.Request.URL
		upper.Path, upper.RawPath = asciiUpper(upper.Path), asciiUpper(upper.RawPath)
		if (judge(&edge.Visit{Request: &http.Request{URL: &upper}}) != nil) != refused {
			t.Errorf("%q: refused %v, and %v in capitals", target, refused, !refused)
		}
		twice := (&url.URL{Path: v.Request.URL.EscapedPath()}).EscapedPath()
		if again := scannerVisit(twice); refused && !strings.Contains(v.Request.URL.Path, "%") && judge(again) == nil {
			t.Errorf("%q is refused, and passes when it is encoded", target)
		}
	})
}

func asciiUpper(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'a' <= c && c <= 'z' {
			b[i] = c - 'a' + 'A'
		}
	}
	return string(b)
}
