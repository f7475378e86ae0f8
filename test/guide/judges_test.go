package guide_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/check"
)

// differs are the verdicts that are known to differ. The Observatory looks at one
// answer, ours at errors too; it asks for CORS without caring for the status; and
// it passes a site without cookies.
var differs = map[string]bool{"outside/hsts": true, "outside/frames": true, "outside/referrer-policy": true, "outside/cors": true, "outside/cookies": true}

// observed are tests of the Observatory, and which of our checks are about the same.
var observed = map[string]string{
	"strictTransportSecurityTest": "outside/hsts", "xContentTypeOptionsTest": "outside/nosniff", "xFrameOptionsTest": "outside/frames", "referrerPolicyTest": "outside/referrer-policy",
	"contentSecurityPolicyTest": "outside/csp", "redirectionTest": "outside/redirect", "crossOriginResourceSharingTest": "outside/cors", "cookiesTest": "outside/cookies",
}

// TestJudges holds our verdicts on the guide's server to those of others on the
// same one: testssl.sh on TLS, MDN's HTTP Observatory on headers, nmap on ports.
// docs/check.md has the table, and says why where they differ.
func TestJudges(t *testing.T) {
	dir := install(t, ".")
	testssl, nmap := tool(t, "testssl"), tool(t, "nmap")
	observatory := install(t, "observatory")
	// The list of preloaded sites, which it fetches otherwise: ours is on none.
	if err := os.WriteFile(filepath.Join(observatory, "node_modules/@mdn/mdn-http-observatory/conf/hsts-preload.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	api := serve(t, dir, "JWT_SECRET=a secret of the test's", "NODE_ENV=production")
	site, plain, roots := front(t, api)
	u, err := url.Parse(site)
	if err != nil {
		t.Fatal(err)
	}
	ours := map[string]check.Verdict{}
	for _, r := range look(t, site, plain, roots, append(slices.Collect(maps.Values(observed)), "outside/tls")...).Results {
		ours[r.ID] = r.Verdict
	}
	ctx, cancel := context.WithTimeout(t.Context(), 7*time.Minute)
	defer cancel()
	var rows []string
	row := func(judge, what, said string, good bool, id string) {
		agree := "agree"
		if good != (ours[id] == check.Pass) {
			if agree = "differ, as docs/check.md says"; !differs[id] {
				agree = "DIFFER"
				t.Errorf("%s says %s of %s, and %s is %v", judge, said, what, id, ours[id])
			}
		}
		rows = append(rows, fmt.Sprintf("%-12s %-34s %-44.44s %-28s %-8v %s", judge, what, said, id, ours[id], agree))
	}

	// testssl.sh: protocols and categories of ciphers.
	report := filepath.Join(t.TempDir(), "testssl.json")
	out, err := exec.CommandContext(ctx, testssl, "--quiet", "--color", "0", "--warnings", "off", "--nodns", "none", "--ip", "127.0.0.1", "-p", "-s", "--jsonfile", report, site).CombinedOutput()
	b, rerr := os.ReadFile(report)
	var findings []struct{ ID, Severity, Finding string }
	if rerr != nil || json.Unmarshal(b, &findings) != nil {
		t.Fatalf("testssl.sh: %v, %v\n%s", err, rerr, out)
	}
	weak := 0
	for _, f := range findings {
		switch f.ID {
		case "SSLv2", "SSLv3", "TLS1", "TLS1_1", "cipherlist_NULL", "cipherlist_aNULL", "cipherlist_EXPORT", "cipherlist_LOW", "cipherlist_3DES_IDEA", "cipherlist_AVERAGE", "cipherlist_OBSOLETED":
			if strings.HasPrefix(f.Finding, "offered") {
				weak++
				row("testssl.sh", f.ID, f.Finding, false, "outside/tls")
			}
		}
	}
	if weak == 0 {
		row("testssl.sh", "protocols and ciphers", "nothing weak is offered", true, "outside/tls")
	}

	// The Observatory: header by header.
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority}), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, "node", "scan.js", "localhost", u.Port(), plain)
	cmd.Dir = observatory
	cmd.Env = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+ca)
	out, err = cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("observatory: %v\n%s", err, out)
	}
	var tests map[string]struct {
		Pass   bool
		Result string
	}
	if err := json.Unmarshal(out, &tests); err != nil {
		t.Fatalf("observatory: %v\n%s", err, out)
	}
	var names []string
	for name := range tests {
		names = append(names, name)
	}
	sort.Strings(names)
	seen := 0
	for _, name := range names {
		if id := observed[name]; id != "" {
			seen++
			row("Observatory", name, tests[name].Result, tests[name].Pass, id)
		}
	}
	if seen < len(observed) {
		t.Errorf("the Observatory has judged %d of %d headers: %s", seen, len(observed), out)
	}

	// nmap: what is open, on loopback, of the ports that ours looks at.
	out, err = exec.CommandContext(ctx, nmap, "-Pn", "-n", "-sT", "-p", plain+","+u.Port()+","+api, "127.0.0.1").CombinedOutput()
	if err != nil {
		t.Fatalf("nmap: %v\n%s", err, out)
	}
	for _, port := range []string{plain, u.Port(), api} {
		if !regexp.MustCompile(`(?m)^` + port + `/tcp +open`).Match(out) {
			t.Errorf("nmap does not see port %s open\n%s", port, out)
		}
	}

	for _, r := range rows {
		t.Log(r)
	}
}
