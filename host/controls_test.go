package host_test

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/host"
	"github.com/ringwall/ringwall/policy"
)

// texts is a Source made of texts. What it does not have cannot be seen.
type texts struct {
	files map[string]host.FileState
	said  map[string]string // by command line
	dark  bool              // no other file can be read
}

var errDark = errors.New("it is dark")

func (m texts) ReadFile(path string) (host.FileState, error) {
	if _, ok := m.files[path]; m.dark && !ok {
		return host.FileState{}, errDark
	}
	return m.files[path], nil
}

func (m texts) Glob(pattern string) (names []string, err error) {
	for name := range m.files {
		if ok, _ := filepath.Match(pattern, name); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

func (m texts) Ask(q host.Query, args ...string) (string, error) {
	line := strings.Join(q.Argv(args...), " ")
	if said, ok := m.said[line]; ok {
		if no, ok := strings.CutPrefix(said, "no: "); ok { // with what it printed
			return no, &host.Refusal{Argv: q.Argv(args...), Code: 1}
		}
		if said == "no" {
			return "", &host.Refusal{Argv: q.Argv(args...), Code: map[bool]int{true: 2, false: 1}[strings.HasPrefix(line, "getent")]}
		}
		return said, nil
	}
	return "", errDark
}

func (m texts) Offer(string, string, ssh.PublicKey) (host.Offer, error) {
	return host.Offer{}, errDark
}

func (m texts) Caller() string { return "" }

func file(content string) host.FileState {
	return host.FileState{Exists: true, Content: content, Mode: 0o644, Owner: "root:root"}
}

var debian = file("ID=debian\nVERSION_ID=\"12\"\n")

func TestEveryControlIsDescribed(t *testing.T) {
	listed := map[string]bool{}
	id, claim := regexp.MustCompile(`^host/[a-z0-9]+(-[a-z0-9]+)*$`), regexp.MustCompile(`^[A-Z]`)
	for _, c := range host.Controls() {
		if listed[c.ID] || !id.MatchString(c.ID) || !claim.MatchString(c.Title) || c.Why == "" || c.Ref == "" || c.Plan == nil || c.Verify == nil {
			t.Errorf("%s: it needs an ID of its own, a claim, a reason, a reference, a plan and a proof", c.ID)
		}
		listed[c.ID] = true
	}
}

func eachFile(t *testing.T, look func(name string, f *ast.File)) {
	t.Helper()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		look(name, f)
	}
}

// TestEveryFindingHasEvidence: the commands that were run and the files that were
// read for it, and each control its own, though they are read once.
func TestEveryFindingHasEvidence(t *testing.T) {
	m := rightMachine()
	m.said["systemctl show, of systemd itself"] = "DefaultLimitCORE=0\nEnvironment=JWT_SECRET=correct" + "horse\n"
	for _, c := range host.Checks(&policy.Policy{}, host.NewFacts(m), time.Now()) {
		f := c.Verify(t.Context())
		if len(f.Evidence) == 0 {
			t.Errorf("%s: %v without evidence: %s", c.ID, f.Verdict, f.Got)
		}
		for _, e := range f.Evidence {
			if !strings.HasPrefix(e.Sent, "$ ") && !strings.HasPrefix(e.Sent, "[") || e.Received == "" || strings.Contains(e.Received, "correct"+"horse") {
				t.Errorf("%s: %q: %q", c.ID, e.Sent, e.Received)
			}
		}
	}
}

// TestPlanningCannotWrite: one file runs commands, those of a closed list; and
// no file knows a function that changes anything.
func TestPlanningCannotWrite(t *testing.T) {
	writers := regexp.MustCompile(`^(os|syscall|unix|ioutil|renameio)\.(Write|Create|Remove|Rename|Mk|Ch(own|mod|times|root|dir)|Link|Symlink|Truncate|OpenFile|Mount|Unmount|Kill|StartProcess|Exec|Setenv|CopyFS)`)
	eachFile(t, func(name string, f *ast.File) {
		for _, imp := range f.Imports {
			if p := strings.Trim(imp.Path.Value, `"`); name != "live.go" && slices.Contains([]string{"os/exec", "net/http", "os"}, p) {
				t.Errorf("%s imports %s: only live.go looks at the machine", name, p)
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok {
				if pkg, ok := sel.X.(*ast.Ident); ok && writers.MatchString(pkg.Name+"."+sel.Sel.Name) {
					t.Errorf("%s calls %s.%s", name, pkg.Name, sel.Sel.Name)
				}
			}
			return true
		})
	})
}

// TestWhatCannotBeSeenIsUnknown: no control passes, or fails, in the dark; and
// none makes a plan.
func TestWhatCannotBeSeenIsUnknown(t *testing.T) {
	m := texts{dark: true, files: map[string]host.FileState{"/etc/os-release": debian}}
	p := policy.Default()
	p.Host.API.Unit = "myapi.service" // else there is nothing to plan for it, nor
	p.Edge.Engine = "nginx"           // without this one
	for _, c := range host.Controls() {
		if f := c.Verify(p, host.NewFacts(m)); f.Verdict != check.Unknown || f.Got == "" {
			t.Errorf("%s: %s %q", c.ID, f.Verdict, f.Got)
		}
		if changes, err := c.Plan(p, host.NewFacts(m)); err == nil {
			t.Errorf("%s plans in the dark: %v", c.ID, changes)
		}
	}
	for _, c := range host.Checks(policy.Default(), host.NewFacts(texts{dark: true}), time.Now()) {
		if f := c.Verify(t.Context()); f.Verdict != check.Unknown {
			t.Errorf("%s: %s %q", c.ID, f.Verdict, f.Got)
		}
	}
}

func TestUnsupportedMachines(t *testing.T) {
	for release, want := range map[string]string{
		"ID=arch\n":                               "it is arch,",
		"ID=debian\nVERSION_ID=\"11\"\n":          "it is debian 11,",
		"ID=ubuntu\nVERSION_ID=\"20.04\"\n":       "it is ubuntu 20.04,",
		"PRETTY_NAME=\"Debian GNU/Linux sid\"\n":  "without a name",
		"ID=debian\nVERSION_ID='12'\n":            "",
		"ID=ubuntu\nVERSION_ID=\"24.04\"\nX=\"\"": "",
	} {
		err := host.NewFacts(texts{files: map[string]host.FileState{"/etc/os-release": file(release)}}).Supported()
		switch {
		case want == "" && err != nil:
			t.Errorf("%q: %v", release, err)
		case want != "" && (!errors.Is(err, host.ErrUnsupported) || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: %v, want %q", release, err, want)
		}
	}
	if changes, _, err := host.Plan(policy.Default(), host.NewFacts(texts{}), time.Now()); !errors.Is(err, host.ErrUnsupported) || changes != nil {
		t.Errorf("planned for a machine without a name: %v, %v", changes, err)
	}
}

// TestNoIPv6: where the kernel has none, ufw must not try.
func TestNoIPv6(t *testing.T) {
	m := texts{
		files: map[string]host.FileState{"/etc/os-release": debian, "/etc/default/ufw": file("# x\nIPV6=yes\nDEFAULT_INPUT_POLICY=\"DROP\"\n")},
		said: map[string]string{
			"dpkg-query -W -f ${db:Status-Status} ${Version}\n -- ufw":                                      "installed 0.36\n",
			"systemctl show --no-pager --property=LoadState,ActiveState,UnitFileState -- firewalld.service": "LoadState=not-found\nActiveState=inactive\nUnitFileState=\n",
			"systemctl show --no-pager --property=LoadState,ActiveState,UnitFileState -- nftables.service":  "LoadState=loaded\nActiveState=inactive\nUnitFileState=disabled\n",
			"systemctl show --no-pager --property=LoadState,ActiveState,UnitFileState -- ufw.service":       "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\n",
			"systemctl show --no-pager --property=LoadState,ActiveState,UnitFileState -- ssh.socket":        "LoadState=loaded\nActiveState=inactive\nUnitFileState=disabled\n",
			isInstalled + "iptables":        "no",
			"ip -j -4 route show table all": routes,
			"ss -Hlntup":                    "tcp   LISTEN 0      128     0.0.0.0:2222   0.0.0.0:*    users:((\"sshd\",pid=1,fd=3))\ntcp LISTEN 0 128 127.0.0.1:22 0.0.0.0:* users:((\"sshd\",pid=9,fd=3))\n",
			"ufw show added":                "Added user rules (see 'ufw status' for running firewall):\nufw allow 80/tcp comment 'the web'\nufw allow from 10.0.0.1 to any port 5432\n",
			"ufw status verbose":            "Status: inactive\n",
		},
	}
	i := slices.IndexFunc(host.Controls(), func(c host.Control) bool { return c.ID == "host/firewall" })
	changes, err := host.Controls()[i].Plan(policy.Default(), host.NewFacts(m))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range changes {
		if c.File != nil {
			got = append(got, c.File.Content)
		} else {
			got = append(got, strings.Join(c.Command.Argv, " "))
		}
	}
	want := []string{"ufw limit 2222/tcp", "ufw allow 443/tcp", "# x\nIPV6=no\nDEFAULT_INPUT_POLICY=\"DROP\"\n", "ufw default deny incoming", "ufw --force enable"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestShow(t *testing.T) {
	m := texts{files: map[string]host.FileState{"/etc/x": {Exists: true, Content: "1\n2\n3\n4\n5\n6\n", Mode: 0o600, Owner: "www:www"}}}
	c := host.Change{File: &host.File{Path: "/etc/x", Mode: 0o644, Content: "1\n2\n3\nfour\n5\n6\n7\n"}}
	want := "+++ /etc/x (-rw------- www:www becomes -rw-r--r-- root:root)\n 2\n 3\n-4\n+four\n 5\n 6\n+7"
	if got := c.Show(host.NewFacts(m)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	c = host.Change{File: &host.File{Path: "/etc/new", Mode: 0o600, Content: "a\n"}}
	if got := c.Show(host.NewFacts(m)); got != "+++ /etc/new (new, -rw------- root:root)\n+a" {
		t.Errorf("got %q", got)
	}
}
