//go:build linux

package vps_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/test/vps"
)

// A guarded server has all controls, and the API's edge runs on it.
type guarded struct {
	*vps.Server
	t     *testing.T
	owner *vps.Owner

	// Addresses outside.
	home, attacker, guesser, scanner, neighbour, again string

	guessed time.Time // when the last of them guessed
}

// guard boots a server and gives it all controls, confirmed by its owner; apply is
// what he does for that.
func guard(t *testing.T, suite string, apply func(*guarded)) *guarded {
	s, o := bare(t, suite, "")
	g := &guarded{Server: s, t: t, owner: o}
	for i, a := range []*string{&g.home, &g.attacker, &g.guesser, &g.scanner, &g.neighbour, &g.again} {
		b := s.Address.As4()
		b[3] = 248 + byte(i)
		*a = netip.AddrFrom4(b).String()
	}
	s.Name("api.example.com")
	g.install()
	s.Write(policyFile, s.Read(policyFile)+"host:\n  allow: ["+g.home+"]\n  updates: {reboot: \"03:30\"}\n", 0o644)
	apply(g)
	if out, err := s.Try("systemctl", "start", "ringwall.service"); err != nil {
		t.Fatal(out, s.Run("journalctl", "-u", "ringwall", "-n", "20", "-o", "cat", "--no-pager"))
	}
	return g
}

// wholly is where what does not depend on the release is looked at, too.
func wholly(suite string) bool { return suite == "bookworm" || suite == "noble" }

// install puts the site of the policy onto the server, as a service that has no
// privilege but its two ports.
func (g *guarded) install() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		g.t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"api.example.com"}, NotAfter: time.Now().Add(24 * time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		g.t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		g.t.Fatal(err)
	}
	token := make([]byte, 32)
	_, _ = rand.Read(token)
	g.Write("/etc/ringwall/site.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})), 0o644)
	g.Write("/etc/credentials/site.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), 0o600)
	g.Write("/etc/credentials/token.key", base64.StdEncoding.EncodeToString(token)+"\n", 0o600)
	g.Write(policyFile, `site: api.example.com
upstream: http://127.0.0.1:8000
store: sqlite:/var/lib/ringwall/serve/ringwall.db
edge:
  tls: {cert: /etc/ringwall/site.pem, key: /run/credentials/ringwall.service/key}
app:
  limits: {auth: {requests: 1000, per: 15m, paths: ["/api/auth/"]}} # not what is looked at here
identity:
  registration: invite
  keys: /var/lib/ringwall/serve/identity_keys.json
  mail: {folder: /var/lib/ringwall/serve/mail}
`, 0o644)
	g.Write("/etc/systemd/system/ringwall.service", `[Service]
Type=notify
ExecStart=/usr/local/bin/ringwall serve --policy `+policyFile+`
DynamicUser=yes
StateDirectory=ringwall/serve
Environment=RINGWALL_STATE=/var/lib/ringwall/serve
LoadCredential=key:/etc/credentials/site.key
LoadCredential=token_key:/etc/credentials/token.key
Environment=RINGWALL_IDENTITY_TOKEN_KEY_FILE=/run/credentials/ringwall.service/token_key
AmbientCapabilities=CAP_NET_BIND_SERVICE
NoNewPrivileges=yes
PrivateUsers=no

[Install]
WantedBy=multi-user.target
`, 0o644)
	g.Run("mkdir", "/var/lib/ringwall") // everybody passes through it
	g.Run("systemctl", "enable", "ringwall.service")
}

// status is the report, with each finding on one line.
func (g *guarded) status() string {
	out, _ := g.RunEnv([]string{"RINGWALL_POLICY=" + policyFile}, "ringwall", "host", "status")
	return regexp.MustCompile(`\n {9,}`).ReplaceAllString(out, " ")
}

func (g *guarded) pass(controls ...string) {
	g.t.Helper()
	text := g.status()
	for _, c := range controls {
		if !regexp.MustCompile(`(?m)^PASS +` + c + `:`).MatchString(text) {
			g.t.Errorf("%s does not pass:\n%s", c, text)
		}
	}
}

// fail wants a control to fail for a reason, once something was broken.
func (g *guarded) fail(control, why string) {
	g.t.Helper()
	text := g.status()
	if !regexp.MustCompile(`(?m)^FAIL +` + control + `:.*` + regexp.QuoteMeta(why)).MatchString(text) {
		g.t.Errorf("%s does not fail for %q:\n%s", control, why, text)
	}
}

// reaches tries a port from an address outside.
func (g *guarded) reaches(from string, port int) bool {
	c, err := g.Dial(from, port, 1500*time.Millisecond)
	if err == nil {
		c.Close()
	}
	return err == nil
}

func (g *guarded) ruleset() string { return g.Run("nft", "list", "ruleset") }

func (g *guarded) inKernel(address string) bool {
	return regexp.MustCompile(`[ {]` + regexp.QuoteMeta(address) + ` timeout`).MatchString(g.ruleset())
}

func (g *guarded) ban(words ...string) string {
	out, err := g.RunEnv([]string{"RINGWALL_STATE=/var/lib/ringwall/serve"}, append([]string{"ringwall", "ban"}, words...)...)
	if err != nil {
		g.t.Errorf("ringwall ban %s: %v: %s", strings.Join(words, " "), err, out)
	}
	return out
}
