package arch_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/ringwall/ringwall"

// mayImport is the picture of the house: for each package, the others of this
// module that it may import. A package that is not here is an error, so that
// each new one gets its place on purpose. Arrows point inward only: app and
// edge do not know each other, and the leaves import nothing of ours.
var mayImport = map[string][]string{
	// Leaves: nouns that every ring shares.
	"audit":          {},
	"bearer":         {},
	"check":          {},
	"check/probe":    {},
	"check/inside":   {"check", "check/loopback"},
	"check/loopback": {},
	"check/outside":  {"check", "check/probe"},
	"check/report":   {"check"},
	"limit":          {},
	"policy":         {},
	"store":          {},
	"internal/state": {},

	// What outlives a process. Only programs import the drivers.
	"store/internal/sqlstore": {"store"},
	"store/pgstore":           {"store/internal/sqlstore"},
	"store/sqlitestore":       {"store/internal/sqlstore"},
	"store/storetest":         {"store"},
	"audit/chain":             {"audit", "store"},

	// Passwords need nothing of a ring; whoever has accounts can import them.
	"identity/password":                       {"identity/internal/cost", "identity/password/internal/wordlist"},
	"identity/internal/cost":                  {},
	"identity/password/internal/wordlist":     {},
	"identity/password/internal/wordlist/gen": {"identity/password/internal/wordlist"},

	// Framing of HTTP/1 needs nothing of the edge.
	"edge/internal/framing": {},

	// Serving HTTP/1 needs no more.
	"edge/internal/http1": {},

	// The rings, and what fills their seams.
	"app":             {"audit", "bearer", "check", "check/probe", "limit", "policy"},
	"app/openapi":     {"app"},
	"edge":            {"audit", "check", "check/loopback", "check/probe", "edge/internal/framing", "edge/internal/http1", "internal/state", "limit", "policy"},
	"identity":        {"app", "audit", "bearer", "check", "check/probe", "identity/password", "internal/state", "limit", "policy", "store"},
	"edge/acme":       {"audit", "edge", "internal/state", "policy"},
	"edge/http3":      {"edge"},
	"edge/nftables":   {"edge"},
	"edge/nginx":      {"audit", "edge", "internal/state", "limit", "policy"},
	"identity/mail":   {"identity", "policy"},
	"metrics":         {"app"},
	"watch":           {"app", "audit", "check", "policy"},
	"limit/limittest": {"limit"},

	// The server: what it should be, and the only code that changes one.
	"packaging/systemd": {},
	"host":              {"check", "packaging/systemd", "policy"},
	"internal/hostexec": {"check", "host", "internal/state", "policy"},

	// The front door, and who stands before it.
	".":                  {"app", "app/openapi", "audit", "bearer", "edge", "identity", "limit", "policy"},
	"cmd/ringwall":       {".", "app", "audit", "audit/chain", "bearer", "check", "check/inside", "check/outside", "check/probe", "check/report", "edge", "edge/acme", "edge/http3", "edge/nftables", "edge/nginx", "examples/notes/api", "host", "identity", "identity/mail", "internal/hostexec", "internal/state", "metrics", "policy", "store", "store/pgstore", "store/sqlitestore", "watch"},
	"examples/notes":     {".", "app", "audit", "examples/notes/api", "identity", "store/sqlitestore"},
	"examples/notes/api": {"app"},

	// Programs and tests of our own.
	"bench":                 {".", "audit", "identity", "policy"},
	"internal/arch":         {},
	"internal/disktest":     {},
	"internal/pebbletest":   {"internal/porttest"},
	"internal/porttest":     {},
	"internal/quicktest":    {"internal/race"},
	"internal/race":         {},
	"internal/reporttest":   {"check"},
	"internal/postgrestest": {},
	"test/vps":              {},
	"test/e2e":              {},
	"test/guide":            {},
}

// mayLink is what a program that imports one of these packages links besides
// the standard library: who imports app pays for no database, no metrics and no
// schema compiler. It is exact, so that a new dependency is a decision.
var mayLink = map[string][]string{
	"audit":          {},
	"audit/chain":    {},
	"bearer":         {},
	"check":          {},
	"check/probe":    {},
	"check/report":   {},
	"check/inside":   {},
	"check/loopback": {},
	"check/outside":  {"golang.org/x/crypto"},
	"limit":          {},
	"policy":         yaml,
	"store":          {},
	"edge":           slices.Concat(yaml, []string{"github.com/google/renameio/v2"}),
	"edge/acme":      slices.Concat(yaml, []string{"github.com/google/renameio/v2"}, authority),
	"edge/nginx":     slices.Concat(yaml, []string{"github.com/google/renameio/v2"}),
	"edge/nftables":  slices.Concat(yaml, []string{"github.com/google/renameio/v2"}),
	"edge/http3": slices.Concat(yaml, []string{
		"github.com/google/renameio/v2", "github.com/quic-go/qpack", "github.com/quic-go/quic-go", "golang.org/x/crypto", "golang.org/x/net", "golang.org/x/sys", "golang.org/x/text",
	}),
	"identity":          slices.Concat(yaml, ring, accounts),
	"identity/mail":     slices.Concat(yaml, ring, accounts, []string{"github.com/wneessen/go-mail"}),
	"identity/password": passwords,
	"app":               slices.Concat(yaml, ring),
	"app/openapi":       slices.Concat(yaml, ring, schema),
	"metrics": slices.Concat(yaml, ring, []string{
		"github.com/beorn7/perks", "github.com/cespare/xxhash/v2", "github.com/munnerz/goautoneg", "github.com/prometheus/client_golang",
		"github.com/prometheus/client_model", "github.com/prometheus/common", "github.com/prometheus/procfs", "golang.org/x/sys",
		"google.golang.org/protobuf",
	}),
	"watch":             slices.Concat(yaml, ring),
	"host":              slices.Concat(yaml, []string{"golang.org/x/crypto"}),
	"packaging/systemd": {},
	".":                 slices.Concat(yaml, ring, accounts, []string{"github.com/santhosh-tekuri/jsonschema/v6"}),

	"store/pgstore": slices.Concat(migrations, []string{
		"github.com/jackc/pgpassfile", "github.com/jackc/pgservicefile", "github.com/jackc/pgx/v5", "github.com/jackc/puddle/v2", "golang.org/x/text",
	}),
	"store/sqlitestore": slices.Concat(migrations, []string{
		"github.com/dustin/go-humanize", "github.com/google/uuid", "github.com/remyoudompheng/bigfft", "golang.org/x/sys",
		"modernc.org/libc", "modernc.org/mathutil", "modernc.org/memory", "modernc.org/sqlite",
	}),

	// Conformance suites: they are for tests.
	"limit/limittest": {"pgregory.net/rapid"},
	"store/storetest": {},
}

var (
	yaml   = []string{"github.com/goccy/go-yaml", "github.com/joho/godotenv"}
	ring   = []string{"github.com/dunglas/httpsfv", "github.com/klauspost/compress", "golang.org/x/text"}
	schema = []string{"github.com/santhosh-tekuri/jsonschema/v6"}

	accounts = slices.Concat(passwords, []string{"github.com/golang-jwt/jwt/v5", "github.com/google/renameio/v2", "github.com/maypok86/otter/v2", "golang.org/x/net"})

	authority = []string{
		"github.com/caddyserver/certmagic", "github.com/caddyserver/zerossl", "github.com/klauspost/cpuid/v2", "github.com/libdns/libdns",
		"github.com/mholt/acmez/v3", "github.com/miekg/dns", "github.com/zeebo/blake3", "go.uber.org/multierr", "go.uber.org/zap", "go.uber.org/zap/exp",
		"golang.org/x/crypto", "golang.org/x/net", "golang.org/x/sys", "golang.org/x/text",
	}

	passwords  = []string{"golang.org/x/crypto", "golang.org/x/sys", "golang.org/x/text"}
	migrations = []string{"github.com/mfridman/interpolate", "github.com/pressly/goose/v3", "github.com/sethvargo/go-retry", "go.uber.org/multierr", "golang.org/x/sync"}
)

type pkg struct {
	ImportPath, Name, Doc, Dir         string
	Standard, DepOnly                  bool
	GoFiles, TestGoFiles, XTestGoFiles []string
	Imports, Deps                      []string
	Module                             *struct{ Path, Version string }
}

func (p pkg) short() string {
	if p.ImportPath == module {
		return "."
	}
	return strings.TrimPrefix(p.ImportPath, module+"/")
}

// list asks the go command for every package that the module builds from, and
// returns ours; all holds every one by import path.
var list = sync.OnceValues(func() (ours []pkg, err error) {
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Name,Doc,Dir,Standard,DepOnly,GoFiles,TestGoFiles,XTestGoFiles,Imports,Deps,Module", module+"/...")
	cmd.Dir = filepath.Join("..", "..")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, errors.New(err.Error() + ": " + stderr.String())
	}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); err == io.EOF {
			return ours, nil
		} else if err != nil {
			return nil, err
		}
		if !p.DepOnly {
			ours = append(ours, p)
		}
		all[p.ImportPath] = p
	}
})

var all = map[string]pkg{}

func packages(t *testing.T) []pkg {
	t.Helper()
	ours, err := list()
	if err != nil {
		t.Fatal(err)
	}
	if len(ours) < len(mayImport)/2 {
		t.Fatalf("go list found only %d packages", len(ours))
	}
	return ours
}

func TestArrowsPointInward(t *testing.T) {
	there := map[string]bool{}
	for _, p := range packages(t) {
		there[p.short()] = true
		may, known := mayImport[p.short()]
		if !known {
			t.Errorf("%s has no place in mayImport: say what it may import", p.short())
			continue
		}
		for _, path := range p.Imports {
			if q, ok := all[path]; ok && !q.DepOnly && !slices.Contains(may, q.short()) {
				t.Errorf("%s imports %s, which mayImport does not allow", p.short(), q.short())
			}
		}
	}
	for name, may := range mayImport {
		if !there[name] {
			t.Errorf("mayImport speaks of %s, which is not there", name)
		}
		for _, other := range may {
			if !there[other] {
				t.Errorf("mayImport lets %s import %s, which is not there", name, other)
			}
		}
	}
}

// TestRingsAreApart follows imports all the way, not only the direct ones.
func TestRingsAreApart(t *testing.T) {
	for _, rule := range []struct{ from, never string }{
		{"app", "edge"}, {"app", "host"}, {"app", "identity"}, {"app", "cmd"},
		{"edge", "app"}, {"edge", "host"},
		{"host", "app"}, {"host", "edge"}, {"host", "identity"},
	} {
		for _, p := range packages(t) {
			if !within(p.short(), rule.from) {
				continue
			}
			for _, path := range p.Deps {
				if q := all[path]; !q.DepOnly && within(q.short(), rule.never) {
					t.Errorf("%s reaches %s", p.short(), q.short())
				}
			}
		}
	}
}

func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// TestImportersPayForWhatTheyUse compares the table with what the linker gets.
func TestImportersPayForWhatTheyUse(t *testing.T) {
	for _, p := range packages(t) {
		public := p.Name != "main" && !strings.Contains("/"+p.short()+"/", "/internal/") && !within(p.short(), "examples") && !within(p.short(), "test")
		want, known := mayLink[p.short()]
		if public != known {
			t.Errorf("%s: public is %v, in mayLink is %v; they must agree", p.short(), public, known)
			continue
		}
		if !public {
			continue
		}
		var got []string
		for _, path := range p.Deps {
			if m := all[path].Module; m != nil && m.Path != module && !slices.Contains(got, m.Path) {
				got = append(got, m.Path)
			}
		}
		slices.Sort(got)
		want = slices.Compact(slices.Sorted(slices.Values(want)))
		if !slices.Equal(got, want) {
			t.Errorf("%s links\n\t%s\nand mayLink says\n\t%s", p.short(), strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
		}
	}
}

func TestPackagesAreNamedAndDescribed(t *testing.T) {
	vague := []string{"util", "utils", "common", "helper", "helpers", "types", "pkg", "misc", "shared", "lib", "base"}
	for _, p := range packages(t) {
		for elem := range strings.SplitSeq(p.short(), "/") {
			if slices.Contains(vague, elem) {
				t.Errorf("%s: %q says nothing; name it after what it holds", p.short(), elem)
			}
		}
		start := "Package " + p.Name + " "
		if p.Name == "main" {
			start = "Command "
		}
		if len(p.GoFiles) > 0 && !strings.HasPrefix(p.Doc, start) {
			t.Errorf("%s: its doc comment does not begin with %q", p.short(), start)
		}
	}
}

// TestNothingRegistersItself: a closed list in a literal, not init functions.
func TestNothingRegistersItself(t *testing.T) {
	for _, p := range packages(t) {
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, 0)
			if err != nil {
				t.Error(err)
				continue
			}
			for _, d := range f.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
					t.Errorf("%s/%s has an init function", p.short(), name)
				}
			}
		}
	}
}

// TestFilesAreShort lets tests be longer, as tables of cases are.
func TestFilesAreShort(t *testing.T) {
	const note, most, mostOfTests = 300, 600, 800
	for _, p := range packages(t) {
		for _, name := range slices.Concat(p.GoFiles, p.TestGoFiles, p.XTestGoFiles) {
			b, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				t.Error(err)
				continue
			}
			test := strings.HasSuffix(name, "_test.go")
			switch n := bytes.Count(b, []byte("\n")); {
			case n > mostOfTests, n > most && !test:
				t.Errorf("%s/%s has %d lines: split it by what it is about", p.short(), name, n)
			case n > note && !test:
				t.Logf("%s/%s has %d lines", p.short(), name, n)
			}
		}
	}
}

// leastVersion is where the last serious advisory of a module was fixed.
var leastVersion = map[string]string{
	"github.com/jackc/pgx/v5":          "v5.12.0",
	"github.com/quic-go/quic-go":       "v0.59.1",
	"github.com/go-jose/go-jose/v4":    "v4.1.4",
	"github.com/golang-jwt/jwt/v5":     "v5.2.2",
	"github.com/corazawaf/coraza/v3":   "v3.3.3",
	"modernc.org/sqlite":               "v1.61.1",
	"github.com/caddyserver/certmagic": "v0.25.6",
}

func TestModulesAreNewEnough(t *testing.T) {
	out, err := exec.Command("go", "mod", "edit", "-json", filepath.Join("..", "..", "go.mod")).Output()
	if err != nil {
		t.Fatal(err)
	}
	var mod struct {
		Go      string
		Require []struct{ Path, Version string }
		Replace []struct{ Old, New struct{ Path string } }
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	if !atLeast("v"+mod.Go, "v1.26.0") {
		t.Errorf("go.mod asks for Go %s, want 1.26 or newer: older ones lack fixes in net/http", mod.Go)
	}
	if len(mod.Replace) > 0 {
		t.Errorf("go.mod replaces modules, which an importer does not get: %v", mod.Replace)
	}
	for _, r := range mod.Require {
		if least, ok := leastVersion[r.Path]; ok && !atLeast(r.Version, least) {
			t.Errorf("%s %s has a known hole; take %s or newer", r.Path, r.Version, least)
		}
	}
}

// atLeast compares versions vMAJOR.MINOR.PATCH; a pre-release counts as older.
func atLeast(version, least string) bool {
	v, pre, _ := strings.Cut(strings.TrimPrefix(version, "v"), "-")
	c := slices.Compare(numbers(v), numbers(strings.TrimPrefix(least, "v")))
	return c > 0 || c == 0 && pre == ""
}

func numbers(s string) (n []int) {
	for part := range strings.SplitSeq(s, ".") {
		i, err := strconv.Atoi(part)
		if err != nil {
			return nil
		}
		n = append(n, i)
	}
	return n
}

func TestAtLeast(t *testing.T) {
	for _, tt := range []struct {
		version, least string
		want           bool
	}{
		{"v1.2.3", "v1.2.3", true}, {"v1.10.0", "v1.9.9", true}, {"v1.2.2", "v1.2.3", false},
		{"v1.2.3-rc.1", "v1.2.3", false}, {"v2.0.0-rc.1", "v1.2.3", true}, {"nonsense", "v0.0.1", false},
	} {
		if got := atLeast(tt.version, tt.least); got != tt.want {
			t.Errorf("atLeast(%s, %s) = %v", tt.version, tt.least, got)
		}
	}
}
