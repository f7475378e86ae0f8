package nginx_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringwall/ringwall/edge/nginx"
	"github.com/ringwall/ringwall/policy"
)

// FuzzPrint: whatever an argument is, the printed text reads as the same tree, so
// that no argument ends a directive.
func FuzzPrint(f *testing.F) {
	for _, s := range []string{"x", "", `a"b`, `a'b`, "a;b", "a}b", "{", "# no", "a\\", `\"`, "a\nb", "\r\n\t", `a"'b`, "${x}", "é", "a b", "~*\\.php$", "//", "'", `\n`} {
		f.Add(s, s, s)
	}
	f.Fuzz(func(t *testing.T, name, arg, comment string) {
		if strings.ContainsAny(name+arg, "\x00") {
			return // no policy holds one
		}
		ds := []nginx.Directive{
			{Name: "a" + name, Args: []string{arg, "x" + arg}},
			{Name: "b", Args: []string{arg}, IsBlock: true, Block: []nginx.Directive{{Name: "c", Args: []string{arg}, Comment: strings.ReplaceAll(comment, "\r", "")}}},
			{Name: "d"},
		}
		text := nginx.Print(ds)
		got, err := nginx.Parse("x", text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if again := nginx.Print(got); again != nginx.Print(uncommented(ds)) {
			t.Errorf("%q\nreads as\n%q", text, again)
		}
	})
}

func uncommented(ds []nginx.Directive) (out []nginx.Directive) {
	for _, d := range ds {
		d.Comment = ""
		d.Block = uncommented(d.Block)
		out = append(out, d)
	}
	return out
}

// FuzzParse: a text of somebody else's ends in a tree or in an error with its line.
func FuzzParse(f *testing.F) {
	f.Add("server { listen 80; }")
	f.Add("a 'b\\'c' \"d\";\nif ($x ~ \"{2}\") { return 1; } # e")
	f.Add(strings.Repeat("a{", 100))
	f.Fuzz(func(t *testing.T, text string) {
		ds, err := nginx.Parse("x", text)
		var wrong *nginx.SyntaxError
		if err != nil && (!errors.As(err, &wrong) || wrong.Line < 1) {
			t.Error(err)
		}
		if err == nil {
			if again, err := nginx.Parse("x", nginx.Print(ds)); err != nil || nginx.Print(again) != nginx.Print(ds) {
				t.Errorf("%v: %q", err, nginx.Print(ds))
			}
		}
	})
}

// FuzzPolicy: no value of a policy changes the shape of the text. What package
// policy lets through is a value of an argument, and no more.
func FuzzPolicy(f *testing.F) {
	for _, s := range []string{"default-src 'self'", `";} return 200 x; {`, "$host", "${", "a'b\"c", `x\`, "é;", "/a/{b}", "\\\"", "#", "x;y"} {
		f.Add(s)
	}
	shape := func(ds []nginx.Directive) string {
		var b strings.Builder
		everywhere(ds, func(_ string, d *nginx.Directive) bool {
			fmt.Fprintf(&b, "%s/%d ", strings.Split(d.Name, "~")[0], len(d.Args))
			return true
		})
		return b.String()
	}
	o := nginx.Options{Version: nginx.Version{Major: 1, Minor: 22, Patch: 1}, Headers: headers, Now: func() time.Time { return day }}
	render := func(t testing.TB, value string) ([]nginx.Directive, string) {
		p := nginxPolicy(t)
		p.App.Headers.CSP = value
		p.App.Headers.Permissions = value
		p.Edge.TLS.Cert = "/" + value
		p.App.Routes = []policy.Route{{Path: "/a/{b}/" + value, Allow: []string{"anyone"}}}
		p.Edge.Scanners.Allow = []string{"/x/" + value}
		ds, err := nginx.Directives(p, o)
		if err != nil {
			return nil, ""
		}
		return ds, nginx.Print(ds)
	}
	_, plain := render(f, "x")
	read, err := nginx.Parse("x", plain)
	if err != nil {
		f.Fatal(err)
	}
	want := shape(read)
	f.Fuzz(func(t *testing.T, value string) {
		if value == "" || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return // package policy refuses these
		}
		ds, text := render(t, value)
		if ds == nil {
			return // refused
		}
		got, err := nginx.Parse("x", text)
		if err != nil {
			t.Fatalf("%v", err)
		}
		if shape(got) != want {
			t.Errorf("%q: another shape:\n%s\nwant\n%s", value, shape(got), want)
		}
		everywhere(got, func(_ string, d *nginx.Directive) bool {
			for _, a := range d.Args {
				if d.Name == "add_header" && len(d.Args) == 3 && strings.Contains(value, "$") && (d.Args[0] == "Content-Security-Policy") && strings.Contains(strings.ReplaceAll(a, "${ringwall_dollar}", ""), "$") {
					t.Errorf("a variable: %q", a)
				}
			}
			return true
		})
	})
}

// What the real nginx says of the values that a fuzzer would try first.
func TestNginxReadsHostileValues(t *testing.T) {
	bin := nginxBinary(t)
	for _, value := range []string{`";} return 200 x; {`, "$host", "${", "'a\"b", `x\`, "# x", "default-src $uri;", strings.Repeat("x", 3000)} {
		s := newSite(t, "")
		s.policy.App.Headers.CSP = value
		s.write(t, nil)
		if out, err := exec.Command(bin, "-p", s.dir, "-c", s.dir+"/nginx.conf", "-t").CombinedOutput(); err != nil {
			t.Fatalf("%q: %s", value, out)
		}
		s.startRing(t, echo, "app/csp")
		s.startNginx(t)
		_, h, _, err := s.raw(t, 1, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if got := h.Get("Content-Security-Policy"); err != nil || got != strings.TrimSpace(value) {
			t.Errorf("%q: %v %q", value, err, got)
		}
	}
}

// A thousand routes render and load in a second of work; and an odd policy cannot
// make nginx slow at each request.
func TestAThousandRoutes(t *testing.T) {
	bin := nginxBinary(t)
	s := newSite(t, "")
	s.policy.App.Routes = nil
	for i := range 1000 {
		s.policy.App.Routes = append(s.policy.App.Routes, policy.Route{Path: fmt.Sprintf("/api/v%d/{id}/things/", i), Allow: []string{"anyone"}})
	}
	worked := func(who int) time.Duration { // what else the machine does is not what is looked at
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err != nil {
			t.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := worked(syscall.RUSAGE_SELF)
	s.write(t, nil)
	render := worked(syscall.RUSAGE_SELF) - before
	cmd := exec.Command(bin, "-p", s.dir, "-c", s.dir+"/nginx.conf", "-t")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s", out)
	}
	load := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if t.Logf("rendered in %v, read by nginx -t in %v", render, load); render+load > time.Second {
		t.Errorf("rendered and loaded with %v of work", render+load)
	}
}

// The rules of the gixy linter, https://github.com/yandex/gixy, and what else is
// known to go wrong in nginx, on the text of every policy of the goldens.
func TestGixysRules(t *testing.T) {
	folded := regexp.MustCompile(`\$(?:uri|document_uri)\b|\$\{(?:uri|document_uri)\}`)
	host := regexp.MustCompile(`\$(?:http_host|arg_|cookie_)`)
	for name := range goldens {
		b, err := os.ReadFile(filepath.Join("testdata", name+".conf"))
		if err != nil {
			t.Fatal(err)
		}
		ds, err := nginx.Parse(name, string(b))
		if err != nil {
			t.Fatal(err)
		}
		bad := func(rule string, d *nginx.Directive) { t.Errorf("%s: %s: %s %q", name, rule, d.Name, d.Args) }
		var judge func(ds []nginx.Directive, within []string)
		judge = func(ds []nginx.Directive, within []string) {
			own := map[string]bool{}
			for i := range ds {
				d := &ds[i]
				own[d.Name] = true
				args := strings.Join(d.Args, " ")
				switch d.Name {
				case "return", "rewrite", "add_header", "proxy_set_header", "proxy_pass":
					if folded.MatchString(args) {
						bad("http_splitting", d)
					}
					if host.MatchString(args) {
						bad("host_spoofing", d)
					}
				}
				switch {
				case d.Name == "proxy_pass" && (strings.Contains(args, "$") || strings.Count(args, "/") > 2):
					bad("ssrf, or a path that nginx rewrites", d)
				case d.Name == "alias", d.Name == "rewrite", d.Name == "set", d.Name == "resolver", d.Name == "satisfy", d.Name == "add_trailer", d.Name == "error_log", d.Name == "allow", d.Name == "valid_referers":
					bad("a directive that is never written", d) // alias_traversal, unanchored rewrites, off-host resolvers
				case d.Name == "if" && (len(d.Block) != 1 || d.Block[0].Name != "return"):
					bad("if_is_evil", d)
				case d.Name == "add_header" && !slices.Contains(d.Args, "always"):
					bad("add_header without always", d)
				case d.Name == "add_header" && strings.ContainsAny(args, "\r\n"):
					bad("add_header_multiline", d)
				case (d.Name == "add_header" || d.Name == "proxy_set_header" || d.Name == "proxy_hide_header") && slices.Contains(within, "location"):
					bad("add_header_redefinition: it takes all others of the server away", d)
				case d.Name == "location" && strings.HasPrefix(d.Args[0], "~"):
					bad("a location by regular expression", d)
				case d.Name == "server_name" && strings.ContainsAny(args, "*~ "):
					bad("a pattern for a name", d)
				case d.Name == "server_tokens" && args != "off", d.Name == "underscores_in_headers" && args != "off", d.Name == "merge_slashes" && args != "off", d.Name == "autoindex":
					bad("version_disclosure, ambiguous headers and paths", d)
				case d.Name == "ssl_protocols" && args != "TLSv1.2 TLSv1.3":
					bad("weak_ssl_tls", d)
				case d.Name == "ssl_ciphers" && regexp.MustCompile(`CBC|AES128-SHA|RC4|(?:^|:)AES`).MatchString(args):
					bad("weak_ssl_tls", d)
				case d.Name == "proxy_set_header" && strings.Contains(args, "$proxy_add_x_forwarded_for"):
					bad("an address that the client can write", d)
				}
				if d.IsBlock {
					judge(d.Block, append(slices.Clone(within), d.Name))
				}
			}
			if slices.Equal(within, []string{"server"}) && (!own["add_header"] || !own["server_tokens"] || !own["client_header_timeout"] || !own["error_page"]) {
				t.Errorf("%s: a server without headers or bounds of its own", name)
			}
		}
		judge(ds, nil)
		if strings.Contains(string(b), testProof) {
			t.Errorf("%s holds the secret", name)
		}
	}
}
