package nginx_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/edge/nginx"
)

// A sabotage takes one thing out of the rendered text, or turns it round. The
// ring's own twin of what nginx does is off, so that nginx alone is looked at.
type sabotage struct {
	what    string // in the table
	check   string // that turns red
	without string // control of the ring that is off meanwhile; "": none
	change  func([]nginx.Directive) []nginx.Directive
}

// everywhere changes all directives of a name, at any depth; keep false drops one.
func everywhere(ds []nginx.Directive, change func(server string, d *nginx.Directive) (keep bool)) []nginx.Directive {
	var walk func(server string, ds []nginx.Directive) []nginx.Directive
	walk = func(server string, ds []nginx.Directive) (out []nginx.Directive) {
		for _, d := range ds {
			in := server
			if d.Name == "server" && d.IsBlock {
				tls, name := false, ""
				for _, x := range d.Block {
					tls = tls || x.Name == "ssl_protocols"
					if x.Name == "server_name" {
						name = x.Args[0]
					}
				}
				in = fmt.Sprintf("%s tls=%v", name, tls)
			}
			if !change(in, &d) {
				continue
			}
			d.Block = walk(in, d.Block)
			out = append(out, d)
		}
		return out
	}
	return walk("", ds)
}

const (
	theSite  = "localhost tls=true"
	stranger = "_ tls=true"
	plain    = "localhost tls=false"
	plainest = "_ tls=false"
)

// without drops directives of a name and first arguments, from every server.
func without(name string, args ...string) func([]nginx.Directive) []nginx.Directive {
	return func(ds []nginx.Directive) []nginx.Directive {
		return everywhere(ds, func(_ string, d *nginx.Directive) bool {
			return d.Name != name || len(d.Args) < len(args) || !slices.Equal(d.Args[:len(args)], args)
		})
	}
}

func sabotages(t *testing.T) []sabotage {
	s := newSite(t, "")
	out := []sabotage{
		{"`limit_req`", "edge/rate", "edge/rate", without("limit_req")},
		{"`limit_req_status`", "edge/rate", "edge/rate", without("limit_req_status")},
		{"`add_header Retry-After`", "edge/rate", "edge/rate", without("add_header", "Retry-After")},
		{"`limit_conn`", "edge/connections", "", without("limit_conn")},
		{"`if ($ringwall_scanner)`", "edge/scanners", "edge/scanners", without("if", "($ringwall_scanner)")},
		{"`if ($ringwall_broken)`", "edge/scanners", "edge/scanners", without("if", "($ringwall_broken)")},
		{"`location @ringwall_hangup`", "edge/scanners", "", func(ds []nginx.Directive) []nginx.Directive {
			return without("location", "@ringwall_hangup")(without("if", "($ringwall_scanner)")(ds))
		}},
		{"`include .../events.conf` and what is told by it", "edge/bans", "app/authentication", without("access_log", "syslog:server="+s.policy.Edge.Nginx.Listen+",tag=ringwall,nohostname")},
		{"`client_body_timeout`", "edge/slow-clients", "edge/slow-clients", without("client_body_timeout")},
		{"`client_max_body_size`", "app/body", "app/body", without("client_max_body_size")},
		{"`ssl_protocols`, without TLSv1.3", "edge/tls", "", func(ds []nginx.Directive) []nginx.Directive {
			return everywhere(ds, func(_ string, d *nginx.Directive) bool {
				if d.Name == "ssl_protocols" {
					d.Args = []string{"TLSv1.2"}
				}
				return true
			})
		}},
		{"`ssl_ciphers`", "edge/tls", "", without("ssl_ciphers")},
		{"`ssl_reject_handshake`", "edge/certificate", "", func(ds []nginx.Directive) []nginx.Directive {
			var pair []nginx.Directive
			everywhere(ds, func(in string, d *nginx.Directive) bool {
				if in == theSite && (d.Name == "ssl_certificate" || d.Name == "ssl_certificate_key") {
					pair = append(pair, *d)
				}
				return true
			})
			return everywhere(ds, func(in string, d *nginx.Directive) bool {
				if in == stranger && d.Name == "server" {
					d.Block = append(append([]nginx.Directive(nil), d.Block...), pair...)
				}
				return in != stranger || d.Name != "ssl_reject_handshake" && (d.Name != "ssl_certificate" && d.Name != "ssl_certificate_key" || !strings.Contains(d.Args[0], "nobody"))
			})
		}},
		{"the server of other names", "app/host", "", func(ds []nginx.Directive) []nginx.Directive {
			return everywhere(ds, func(in string, d *nginx.Directive) bool { return in != stranger })
		}},
		{"the server of other names on port 80, served", "edge/redirect", "", func(ds []nginx.Directive) []nginx.Directive {
			return everywhere(ds, func(in string, d *nginx.Directive) bool {
				if in == plainest && d.Name == "return" {
					d.Args = []string{"200", "served"}
				}
				return true
			})
		}},
		{"`return 308`, as 301", "edge/redirect", "", func(ds []nginx.Directive) []nginx.Directive {
			return everywhere(ds, func(in string, d *nginx.Directive) bool {
				if in == plain && d.Name == "return" && d.Args[0] == "308" {
					d.Args = append([]string{"301"}, d.Args[1:]...)
				}
				return true
			})
		}},
		{"`server_tokens off`", "app/disclosure", "", without("server_tokens")},
		{"`add_header Allow`", "app/method", "", without("add_header", "Allow")},
		{"`proxy_set_header Host`", "app/content-type", "", without("proxy_set_header", "Host")},
		{"`proxy_set_header X-Real-IP`", "app/path", "", without("proxy_set_header", "X-Real-IP")},
		{"`proxy_set_header X-Forwarded-For`", "app/path", "", without("proxy_set_header", "X-Forwarded-For")},
		{"`proxy_set_header X-Real-IP` and `X-Forwarded-For`, as the client says", "app/client-address", "", func(ds []nginx.Directive) []nginx.Directive {
			return changedHeader("X-Forwarded-For", "$http_x_real_ip")(changedHeader("X-Real-IP", "$http_x_real_ip")(ds))
		}},
		{"`proxy_set_header X-Forwarded-Proto`", "app/path", "", without("proxy_set_header", "X-Forwarded-Proto")},
		{"`include .../proof.conf`", "app/path", "", without("include", s.policy.Edge.Nginx.Folder+"/proof.conf")},
		{"`proxy_pass`, with the path as nginx decoded it", "app/path", "", func(ds []nginx.Directive) []nginx.Directive {
			return everywhere(ds, func(in string, d *nginx.Directive) bool {
				if d.Name == "proxy_pass" {
					d.Args = []string{"http://ringwall/"}
				}
				return true
			})
		}},
	}
	for name := range headers(s.policy, true) {
		for _, c := range app.Controls() {
			if slices.Contains(c.Owns, name) || slices.ContainsFunc(c.Owns, func(own string) bool { return strings.EqualFold(own, name) }) {
				out = append(out, sabotage{"`add_header " + name + "`", c.ID, "", without("add_header", name)})
			}
		}
	}
	slices.SortFunc(out, func(a, b sabotage) int { return strings.Compare(a.check+a.what, b.check+b.what) })
	return out
}

func changedHeader(name, value string) func([]nginx.Directive) []nginx.Directive {
	return func(ds []nginx.Directive) []nginx.Directive {
		return everywhere(ds, func(_ string, d *nginx.Directive) bool {
			if d.Name == "proxy_set_header" && d.Args[0] == name {
				d.Args = []string{name, value}
			}
			return true
		})
	}
}

// Each directive, taken out, turns a check red: what the suite says of nginx is
// about this text.
func TestEverySabotageTurnsACheckRed(t *testing.T) {
	nginxBinary(t)
	all := sabotages(t)
	seen := make([]string, len(all))
	t.Run("all", func(t *testing.T) {
		slots := make(chan struct{}, 4)
		for i, tt := range all {
			t.Run(fmt.Sprintf("%02d-%s", i, strings.ReplaceAll(tt.check, "/", "-")), func(t *testing.T) {
				t.Parallel()
				slots <- struct{}{}
				defer func() { <-slots }()
				s := newSite(t, "app: {limits: {global: {requests: 600, per: 15m}}, routes: [{path: /, allow: [anyone]}]}\n")
				s.write(t, func(ds []nginx.Directive) []nginx.Directive {
					// The sites differ by their folders and ports.
					was := nginx.Print(ds)
					ds = sabotageFor(t, s, tt)(ds)
					if nginx.Print(ds) == was {
						t.Fatal("nothing was taken out")
					}
					return ds
				})
				var off []string
				if tt.without != "" {
					off = []string{tt.without}
				}
				s.startRing(t, echo, off...)
				s.startNginx(t)
				f := s.find(t, tt.check)
				if f.Verdict != check.Fail {
					t.Errorf("%v: %s", f.Verdict, f.Got)
				}
				seen[i] = fmt.Sprintf("| %s | %s |\n", tt.what, tt.check)
			})
		}
	})
	compareTable(t, "sabotage", "| taken out of the text | check that turns red |\n|---|---|\n"+strings.Join(seen, ""))
}

// sabotageFor makes the sabotage again with the names of this site.
func sabotageFor(t *testing.T, s *site, tt sabotage) func([]nginx.Directive) []nginx.Directive {
	switch {
	case strings.Contains(tt.what, "proof.conf"):
		return without("include", s.policy.Edge.Nginx.Folder+"/proof.conf")
	case strings.Contains(tt.what, "events.conf"):
		return without("access_log", "syslog:server="+s.policy.Edge.Nginx.Listen+",tag=ringwall,nohostname")
	}
	return tt.change
}

// takenOut names a directive that is left out of every text that the tests write.
const takenOut = "RINGWALL_TEST_TAKEN_OUT"

// elsewhere are directives that no check sees from outside, and the test that turns
// red without them. A few are held by the golden texts alone: what they say is what
// nginx does without them, or is about time and memory.
var elsewhere = map[string]string{
	"access_log": "TestLog", "log_format": "TestLog", "include": "TestThroughNginx", "geo": "TestBansReachNginx", "map": "TestThroughNginx",
	"upstream": "TestThroughNginx", "server": "TestThroughNginx", "listen": "TestThroughNginx", "location": "TestThroughNginx", "http2": "TestThroughNginx",
	"server_name": "TestThroughNginx", "ssl_certificate": "TestThroughNginx", "ssl_certificate_key": "TestThroughNginx",
	"internal": "TestTrapPathsThroughNginx", "default_type": "TestNginxsOwnAnswers", "error_page": "TestNginxsOwnAnswers",
	"client_header_buffer_size": "TestNginxsOwnAnswers", "large_client_header_buffers": "TestNginxsOwnAnswers",
	"limit_req_zone": "TestTrapIPv6IsCountedBySlash64", "limit_conn_zone": "TestTrapIPv6IsCountedBySlash64",
	"limit_conn_status": "TestMoreAtOnceAreClosed", "client_header_timeout": "TestTrapSlowClients", "send_timeout": "TestAnswersThatNobodyReads", "reset_timedout_connection": "TestAnswersThatNobodyReads",
	"ssl_prefer_server_ciphers": "TestHandshakes", "ssl_ecdh_curve": "TestHandshakes", "ssl_session_tickets": "TestHandshakes", "http2_max_concurrent_streams": "TestHandshakes",
	"underscores_in_headers": "TestRequestsPassOn", "ignore_invalid_headers": "TestRequestsPassOn",
	"proxy_set_header Forwarded": "TestRequestsPassOn", "proxy_set_header X-Forwarded-Host": "TestRequestsPassOn", "proxy_set_header X-Forwarded-Port": "TestRequestsPassOn",
	"proxy_set_header X-Forwarded-Server": "TestRequestsPassOn", "proxy_set_header Proxy": "TestRequestsPassOn",
	"proxy_set_header Upgrade": "TestTrapStreaming", "proxy_set_header Connection": "TestAnswersPassOn", "if ($ringwall_banned)": "TestBansReachNginx",
	"keepalive": "TestAnswersPassOn", "keepalive_timeout": "TestAnswersPassOn", "gzip": "TestAnswersPassOn", "proxy_hide_header": "TestAnswersPassOn",
	"proxy_http_version": "TestAnswersPassOn", "proxy_buffering": "TestAnswersPassOn", "proxy_request_buffering": "TestAnswersPassOn", "proxy_buffer_size": "TestAnswersPassOn", "proxy_buffers": "TestAnswersPassOn",
	"proxy_read_timeout": "TestAnswersPassOn", "proxy_send_timeout": "TestAnswersPassOn", "proxy_next_upstream": "TestAnswersPassOn", "proxy_redirect": "TestAnswersPassOn", "proxy_intercept_errors": "TestAnswersPassOn",

	"merge_slashes": "TestGoldens", "ssl_session_cache": "TestGoldens", "ssl_session_timeout": "TestGoldens", "proxy_connect_timeout": "TestGoldens",
	"proxy_max_temp_file_size": "TestGoldens", "root": "TestGoldens", "try_files": "TestGoldens",
}

// TestWhatIsTestedElsewhere takes each of these out of the texts that its test
// writes, and wants that test to fail.
func TestWhatIsTestedElsewhere(t *testing.T) {
	nginxBinary(t)
	if os.Getenv(takenOut) != "" {
		t.Skip("it is taken out already")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ds, err := nginx.Directives(newSite(t, "").policy, newSite(t, "").options(t))
	if err != nil {
		t.Fatal(err)
	}
	whole := nginx.Print(ds)
	slots := make(chan struct{}, 4)
	for gone, test := range elsewhere {
		name, args, _ := strings.Cut(gone, " ")
		if test == "TestGoldens" || nginx.Print(without(name, strings.Fields(args)...)(ds)) == whole { // another nginx has it
			continue
		}
		t.Run(strings.ReplaceAll(gone, " ", "-"), func(t *testing.T) {
			t.Parallel()
			slots <- struct{}{}
			defer func() { <-slots }()
			cmd := exec.Command(self, "-test.run=^"+test+"$", "-test.count=1", "-test.timeout=3m")
			cmd.Env = append(os.Environ(), takenOut+"="+gone)
			if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "--- FAIL: "+test) {
				t.Errorf("%s does not miss it: %v\n%s", test, err, out)
			}
		})
	}
}

// Every directive of the text is taken out in the table, or tested elsewhere.
func TestEveryDirectiveIsTested(t *testing.T) {
	ds, err := nginx.Directives(nginxPolicy(t), nginx.Options{Version: nginx.Version{Major: 1, Minor: 26, Patch: 3}, Headers: headers})
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	for _, s := range sabotages(t) {
		text += s.what
	}
	tests := map[string]bool{}
	files, _ := filepath.Glob("*_test.go")
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for name := range f.Scope.Objects {
			tests[name] = true
		}
	}
	everywhere(ds, func(_ string, d *nginx.Directive) bool {
		if d.Name == "map" || d.Name == "geo" {
			d.Block = nil // its lines are values
		}
		if where := elsewhere[d.Name]; !strings.Contains(text, "`"+d.Name) && !tests[where] && d.Name != "" && d.Name != "server" {
			t.Errorf("%s is not taken out, and %q does not test it", d.Name, where)
		}
		return true
	})
}
