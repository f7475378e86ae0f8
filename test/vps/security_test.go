//go:build linux

package vps_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/test/vps"
)

// TestSecurityServices looks at what guards the server while nobody does: who
// attacks is shut out, updates come, logs stay, containers are closed. All on
// one server, as each costs its start. Each control is broken by hand, too.
func TestSecurityServices(t *testing.T) {
	t.Parallel()
	for _, suite := range []string{"bookworm", "trixie", "jammy", "noble"} {
		t.Run(suite, func(t *testing.T) {
			inTurn(t)
			securityServices(t, suite)
		})
	}
}

// A guarded server has all controls, and the API's edge runs on it.
type guarded struct {
	*vps.Server
	t     *testing.T
	owner *vps.Owner

	// Addresses outside.
	home, attacker, guesser, scanner, neighbour, again string

	guessed time.Time // when the last of them guessed
}

func securityServices(t *testing.T, suite string) {
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
	g.apply()
	if out := o.MustSSH("deploy", "sudo env "+ringwall+"plan"); !strings.Contains(out, "nothing to do") {
		t.Errorf("a second plan: %s", out)
	}
	if out, err := s.Try("systemctl", "start", "ringwall.service"); err != nil {
		t.Fatal(out, s.Run("journalctl", "-u", "ringwall", "-n", "20", "-o", "cat", "--no-pager"))
	}
	g.pass("host/fail2ban", "host/bans", "host/updates", "host/logs")
	if text := g.status(); !regexp.MustCompile(`(?m)^LOOK +host/containers:`).MatchString(text) {
		t.Errorf("without an engine host/containers says more than it knows:\n%s", text)
	}
	g.open()

	g.guessOverSSH()
	whole := slices.Contains([]string{"bookworm", "noble"}, suite)
	if whole { // what does not depend on the release
		g.attackTheAPI()
		g.breakBans()
	}
	g.breakUpdates()
	g.breakLogs()
	g.unbanOverSSH()
	g.breakFail2ban()
	g.dryRun()
	if whole {
		g.publish()
		g.restart()
	}
}

// apply fails to sign in while it can be confirmed, from where the owner came: he is
// not banned then, and counts like anybody after.
func (g *guarded) apply() {
	g.t.Helper()
	out := g.owner.MustSSH("root", ringwall+"apply --yes 2>&1")
	from := regexp.MustCompile(`you come from ([0-9.]+), which`).FindStringSubmatch(out)
	if from == nil {
		g.t.Fatalf("apply does not say where its owner comes from:\n%s", out)
	}
	for range 6 { // of which the firewall takes five
		g.sshFails(from[1], "root")
	}
	g.Await("fail2ban counts nothing of the owner's", 30*time.Second, func() bool {
		return strings.Count(g.Read("/var/log/fail2ban.log"), "Ignore "+from[1]+" ") >= 4
	})
	if g.banned("sshd", from[1]) {
		g.t.Error("the owner is banned before he confirms")
	}
	g.pass("host/fail2ban")
	g.owner.MustSSH("deploy", "sudo env "+ringwall+"confirm 2>&1")
	for _, jail := range []string{"sshd", "recidive"} {
		if out := g.Run("fail2ban-client", "get", jail, "ignoreip"); strings.Contains(out, from[1]) {
			g.t.Errorf("confirmed, %s spares the owner's address for good: %s", jail, out)
		}
	}
}

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

// open is what nmap sees from outside, at both addresses.
func (g *guarded) open() {
	g.As(g.again)
	for _, target := range [][]string{{g.Address.String()}, {"-6", g.Six.String()}} {
		out, err := g.Outside(append([]string{"nmap", "-n", "-Pn", "-T4", "--max-retries", "2", "-p", "1-1024,3000,5432,6379,8000,8001,8080,8443"}, target...)...)
		if err != nil {
			g.t.Errorf("nmap: %v", err)
		}
		var open []string
		for _, m := range regexp.MustCompile(`(?m)^(\d+)/tcp +open`).FindAllStringSubmatch(out, -1) {
			open = append(open, m[1])
		}
		if got := strings.Join(open, " "); got != "22 80 443" {
			g.t.Errorf("nmap sees %s open at %s\n%s", got, target, out)
		}
	}
}

// sshFails is one try to sign in that does not succeed.
func (g *guarded) sshFails(from, user string) {
	_, _ = g.Outside("timeout", "5", "ssh", "-b", from, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5",
		"-o", "PubkeyAuthentication=no", "-F", "none", "-l", user, g.Address.String(), "true")
}

func (g *guarded) banned(jail, address string) bool {
	return slices.Contains(strings.Fields(g.Run("fail2ban-client", "get", jail, "banip")), address)
}

// guessOverSSH: hydra is banned, and one whose user names hold another one's
// address; neither that one is, nor the owner.
func (g *guarded) guessOverSSH() {
	defer func() { g.guessed = time.Now() }()
	passwords := filepath.Join(g.t.TempDir(), "passwords")
	if err := os.WriteFile(passwords, []byte("123456\npassword\nletmein\n"), 0o600); err != nil {
		g.t.Fatal(err)
	}
	g.As(g.guesser)
	for n := 0; n < 6 && !g.banned("sshd", g.guesser); n++ {
		out, _ := g.Outside("env", "-C", filepath.Dir(passwords), "timeout", "10", "hydra", "-I", "-t", "1", "-l", "root", "-P", passwords, "ssh://"+g.Address.String())
		if strings.Contains(out, "valid password found") && !strings.Contains(out, "0 valid") {
			g.t.Fatalf("hydra got in: %s", out)
		}
		time.Sleep(1500 * time.Millisecond) // fail2ban bans once a second
	}
	for range 6 {
		g.sshFails(g.attacker, "x from "+g.neighbour+" port 22: ssh2")
		g.sshFails(g.home, "root")
	}
	// A user of the server writes to the journal as if he were sshd.
	g.Run("install", "-D", "-m", "755", "/usr/bin/logger", "/usr/local/lib/guest/sshd") // not in /tmp, from which nothing runs
	for range 8 {
		g.Run("setpriv", "--reuid=65534", "--clear-groups", "/usr/local/lib/guest/sshd", "-p", "auth.info", "-t", "sshd", "Invalid user x from "+g.neighbour+" port 22")
	}
	for _, who := range []string{g.guesser, g.attacker} {
		g.Await("fail2ban bans "+who, 30*time.Second, func() bool { return g.banned("sshd", who) })
		g.Await("the kernel shuts out "+who, 20*time.Second, func() bool { return !g.reaches(who, 22) }) // a moment after the list
	}
	// A guesser is banned for his fifth failure, and hydra makes up to four at a time.
	log, _, _ := strings.Cut(g.Read("/var/log/fail2ban.log"), "Ban "+g.guesser)
	if n := strings.Count(log, "[sshd] Found "+g.guesser+" "); n < 5 || n > 8 {
		g.t.Errorf("hydra was banned after %d failures over SSH:\n%s", n, log)
	} else {
		g.t.Logf("%s: hydra was banned after %d failures over SSH", g.Suite, n)
	}
	for _, who := range []string{g.home, g.neighbour} {
		if g.banned("sshd", who) {
			g.t.Errorf("%s is banned", who)
		}
	}
	if !g.reaches(g.neighbour, 22) {
		g.t.Error("the neighbour is shut out")
	}
	g.pass("host/fail2ban")

	// Who comes again is shut out of all.
	if !g.reaches(g.again, 443) {
		g.t.Error("nobody is banned yet, and 443 is closed")
	}
	for range 3 {
		g.Run("fail2ban-client", "set", "sshd", "banip", g.again)
		g.Await("the ban", 10*time.Second, func() bool { return g.banned("sshd", g.again) })
		g.Run("fail2ban-client", "set", "sshd", "unbanip", g.again)
	}
	g.Await("recidive bans who comes again", 30*time.Second, func() bool { return g.banned("recidive", g.again) })
	g.Await("who is banned again and again reaches nothing", 20*time.Second, func() bool { return !g.reaches(g.again, 443) })
	g.Run("fail2ban-client", "set", "recidive", "unbanip", g.again)
	g.Await("unbanned, it reaches 443", 20*time.Second, func() bool { return g.reaches(g.again, 443) })
}

// unbanOverSSH comes long after, when the firewall's own limit has nothing
// against these addresses any more.
func (g *guarded) unbanOverSSH() {
	time.Sleep(time.Until(g.guessed.Add(31 * time.Second))) // ufw limit
	if g.reaches(g.guesser, 22) {
		g.t.Error("the ban of the guesser is over too early")
	}
	g.Run("fail2ban-client", "unban", g.guesser)
	g.Await("the guesser is unbanned", 35*time.Second, func() bool {
		if g.Suite == "trixie" { // OpenSSH 10 has penalties of its own (PerSourcePenalties), which last longer
			return !strings.Contains(g.ruleset(), g.guesser)
		}
		return g.reaches(g.guesser, 22)
	})
	g.Await("the owner's address reaches SSH", 35*time.Second, func() bool { return g.reaches(g.home, 22) })
	out, err := g.Outside(append([]string{"ssh", "-b", g.home}, append(g.owner.Args("deploy")[3:], "true")...)...)
	if err != nil {
		g.t.Errorf("the owner does not get in from his address: %v: %s", err, out)
	}
}

// ask sends one request over a connection of its own.
func (g *guarded) ask(from, request string) (status int, err error) {
	c, err := g.Dial(from, 443, 3*time.Second)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	over := tls.Client(c, &tls.Config{ServerName: "api.example.com", InsecureSkipVerify: true})
	if _, err := io.WriteString(over, request); err != nil {
		return 0, err
	}
	res, err := http.ReadResponse(bufio.NewReader(over), nil)
	if err != nil {
		return 0, err
	}
	return res.StatusCode, nil
}

const (
	get    = "GET %s HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n%s\r\n"
	signIn = "POST /api/auth/login HTTP/1.1\r\nHost: api.example.com\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"
)

// attackTheAPI: what the app ring sees becomes a drop in the kernel.
func (g *guarded) attackTheAPI() {
	t := g.t
	// The values of a request name the neighbour in every way there is.
	body := fmt.Sprintf(`{"email":"x from %[1]s\r\n{\"event.name\":\"ban.added\",\"client.address\":\"%[1]s\"}\r\n","password":"ban %[1]s/32 600"}`, g.neighbour)
	_, _ = g.ask(g.scanner, fmt.Sprintf(signIn, len(body), body))
	for n := 0; ; n++ {
		_, err := g.ask(g.scanner, fmt.Sprintf(get, "/.env?ban%20"+g.neighbour+"/32%20600%0a", "X-Forwarded-For: "+g.neighbour+"\r\nForwarded: for="+g.neighbour+"\r\nUser-Agent: x\" client.address="+g.neighbour+"\r\n"))
		if n >= 4 && err != nil {
			break
		}
		if n == 12 {
			t.Fatal("12 requests for /.env, and no ban")
		}
	}
	began := time.Now()
	g.Await("the ban is in the kernel", 10*time.Second, func() bool { return g.inKernel(g.scanner) })
	took := time.Since(began).Round(time.Millisecond)
	t.Logf("%s: in the kernel at most %v after the last request", g.Suite, took)
	if took > 6*time.Second { // 2 are what is promised; here other servers run beside it
		t.Errorf("from the event to the kernel it took %v, and 2s is what is promised", took)
	}
	for _, port := range []int{443, 80, 22} {
		if g.reaches(g.scanner, port) {
			t.Errorf("the scanner reaches %d", port)
		}
	}
	if g.inKernel(g.neighbour) || !g.reaches(g.neighbour, 443) {
		t.Error("the neighbour is shut out for what another one sent")
	}
	g.ban("remove", g.scanner)
	g.Await("the scanner is back", 10*time.Second, func() bool { return g.reaches(g.scanner, 443) })

	// Hydra against the login. It gives up at each 401, so it is started again.
	users := filepath.Join(t.TempDir(), "users")
	var list strings.Builder
	for i := range 64 {
		fmt.Fprintf(&list, "user%d@example.com\n", i)
	}
	if err := os.WriteFile(users, []byte(list.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	g.As(g.again)
	runs := 0
	for ; runs < 3 && !g.inKernel(g.again); runs++ {
		_, _ = g.Outside("env", "-C", filepath.Dir(users), "timeout", "20", "hydra", "-I", "-t", "16", "-L", users, "-p", "Password1", "api.example.com", "https-post-form",
			`/api/auth/login:{"email"\:"^USER^","password"\:"^PASS^"}:H=Content-Type\: application/json:S=access_token`)
	}
	if !g.inKernel(g.again) || g.reaches(g.again, 443) {
		t.Errorf("after %d runs hydra still reaches the login: %s", runs, g.ban("list"))
	}
	why, tries := g.ban("why", g.again), 0
	for _, m := range regexp.MustCompile(`(\d+) (auth\.failed|attempt\.delayed|rate\.blocked)`).FindAllStringSubmatch(why, -1) {
		n, _ := strconv.Atoi(m[1])
		tries += n
	}
	t.Logf("hydra was banned in its run %d, after %d tries: %s", runs, tries, why)
	if tries < 10 || tries > 40 { // docs/bans.md: some 30
		t.Errorf("it took %d tries until hydra was banned", tries)
	}
	g.ban("remove", g.again)
	g.Await("hydra's address is back", 10*time.Second, func() bool { return g.reaches(g.again, 443) })

	// What is under way goes on: a session of SSH, such as the owner's.
	c, err := g.Dial(g.neighbour, 22, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	in := bufio.NewReader(c)
	if line, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(line, "SSH-2.0") {
		t.Errorf("SSH says %q, %v", line, err)
	}
	// A prefix, and one in it that is spared; and the owner, who is in host.allow.
	prefix := netip.PrefixFrom(netip.MustParseAddr(g.neighbour), 29).Masked().String()
	g.ban("add", prefix, "--for", "1h")
	g.Await("a prefix", 20*time.Second, func() bool {
		return g.inKernel(strings.TrimSuffix(prefix, "/29")) && !g.reaches(g.neighbour, 443)
	})
	if _, err := fmt.Fprint(c, "SSH-2.0-test\r\n"); err != nil {
		t.Error(err)
	}
	if _, err := in.ReadByte(); err != nil {
		t.Errorf("a ban ends what is under way: %v", err)
	}
	g.Await("the owner's address is not dropped", 10*time.Second, func() bool { return g.reaches(g.home, 80) })
	g.ban("spare", g.neighbour, "--for", "1m")
	g.Await("one that is spared", 10*time.Second, func() bool { return g.reaches(g.neighbour, 443) })
	if g.reaches(g.attacker, 443) {
		t.Errorf("another one of the prefix is let in:\n%s", g.ruleset())
	}
	g.ban("remove", prefix)
	g.Await("the prefix is back", 10*time.Second, func() bool { return g.reaches(g.attacker, 443) })

	// IPv6: the whole /64, which here holds the server itself and its gateway.
	six := strings.TrimSuffix(g.Six.String(), "2") + "1"
	if !g.reaches(six, 443) {
		t.Error("IPv6 does not work at all")
	}
	g.ban("add", six, "--for", "1h")
	g.Await("an IPv6 /64", 10*time.Second, func() bool { return !g.reaches(six, 443) })
	g.ban("remove", six)
	g.Await("IPv6 is back", 10*time.Second, func() bool { return g.reaches(six, 443) })
}

func (g *guarded) breakBans() {
	g.ban("add", g.scanner, "--for", "1h")
	held := func() bool { return g.inKernel(g.scanner) }
	g.Await("a ban", 10*time.Second, held)
	g.Run("ufw", "reload")
	if !held() {
		g.t.Error("ufw took the table away")
	}
	// Who would put the table back at once stands still while it is looked at.
	keeper := strings.TrimSpace(g.Run("systemctl", "show", "--value", "--property=MainPID", "ringwall-bans.service"))
	g.Run("kill", "-STOP", keeper)
	g.Run("nft", "flush", "ruleset")
	g.fail("host/bans", "the kernel has no table")
	g.Run("kill", "-CONT", keeper)
	g.Await("the table is there again by itself", 30*time.Second, held)
	g.Run("ufw", "reload")
	g.Run("systemctl", "restart", "fail2ban")

	g.Run("kill", "-9", strings.TrimSpace(g.Run("systemctl", "show", "--value", "--property=MainPID", "ringwall-bans.service")))
	g.Await("another one takes its place", 40*time.Second, func() bool {
		out, _ := g.Try("systemctl", "is-active", "ringwall-bans.service") // the table outlives who was killed
		return strings.TrimSpace(out) == "active" && held()
	})
	g.Run("systemctl", "restart", "ringwall.service")
	g.Await("the server has told it again", 30*time.Second, held)
	g.pass("host/bans")
	g.Run("nft", "flush", "set", "inet", "ringwall", "banned4_32")
	time.Sleep(11 * time.Second) // the file's last seconds are not judged
	g.fail("host/bans", "the kernel lets it in")
	g.Run("systemctl", "stop", "ringwall-bans.socket", "ringwall-bans.service")
	g.fail("host/bans", "ringwall-bans.service is inactive")
	g.Await("the table goes with its service", time.Minute, func() bool { return !strings.Contains(g.ruleset(), "table inet ringwall {") })
	g.Run("systemctl", "start", "ringwall-bans.service")
	g.Await("after a stop", 30*time.Second, held)
	g.ban("remove", g.scanner)
	g.pass("host/bans")
	security, err := g.Try("systemd-analyze", "security", "--no-pager", "--threshold=30", "ringwall-bans.service")
	if err != nil {
		g.t.Errorf("systemd-analyze security: %v\n%s", err, security)
	}
	g.t.Log(strings.TrimSpace(security[strings.LastIndex(strings.TrimSpace(security), "\n")+1:]))
}

func (g *guarded) breakFail2ban() {
	g.Run("fail2ban-client", "set", "sshd", "banip", g.scanner)
	g.Await("a ban", 10*time.Second, func() bool { return g.banned("sshd", g.scanner) && strings.Contains(g.ruleset(), g.scanner) })
	g.Run("nft", "delete", "table", "inet", "f2b-table")
	g.fail("host/fail2ban", "the kernel lets it in")
	g.fail2ban("restart")
	g.Await("it is banned over a restart", 20*time.Second, func() bool { return strings.Contains(g.ruleset(), g.scanner) })
	g.Run("fail2ban-client", "unban", g.scanner)

	// Active, and banning nobody.
	for _, writer := range []string{"sshd", "sshd-session"} {
		g.Run("fail2ban-client", "set", "sshd", "deljournalmatch", "_UID=0", "_COMM="+writer)
	}
	g.Run("fail2ban-client", "set", "sshd", "addjournalmatch", "_SYSTEMD_UNIT=no-such.service")
	g.fail("host/fail2ban", "where nothing is written")
	g.Run("fail2ban-client", "stop", "recidive")
	g.fail2ban("restart")
	g.Run("fail2ban-client", "set", "sshd", "delignoreip", g.home)
	g.fail("host/fail2ban", "would ban addresses of host.allow")
	g.Run("fail2ban-client", "stop", "recidive")
	g.fail("host/fail2ban", "host.allow")
	g.Run("systemctl", "stop", "fail2ban")
	g.fail("host/fail2ban", "does not answer")
	g.fail2ban("start")
	g.pass("host/fail2ban")
}

// fail2ban starts it and waits until both jails are there.
func (g *guarded) fail2ban(how string) {
	g.Run("systemctl", how, "fail2ban")
	g.Await("fail2ban runs", 20*time.Second, func() bool {
		_, err := g.Try("sh", "-c", "fail2ban-client status sshd && fail2ban-client status recidive")
		return err == nil
	})
}

func (g *guarded) breakUpdates() {
	if out := g.Run("apt-config", "dump"); !strings.Contains(out, `Automatic-Reboot-Time "03:30"`) || !strings.Contains(out, `Automatic-Reboot "true"`) {
		g.t.Error("the time of a restart is not in force")
	}
	g.Run("systemctl", "disable", "--now", "apt-daily-upgrade.timer")
	g.fail("host/updates", "apt-daily-upgrade.timer is inactive")
	g.Run("systemctl", "enable", "--now", "apt-daily-upgrade.timer")
	g.Write("/etc/apt/apt.conf.d/99off", "APT::Periodic::Unattended-Upgrade \"0\";\n", 0o644)
	g.fail("host/updates", "Unattended-Upgrade is off")
	g.Write("/etc/apt/apt.conf.d/99off", "Unattended-Upgrade::Automatic-Reboot \"false\";\n", 0o644)
	g.fail("host/updates", "a restart by itself is false")
	g.Write("/etc/apt/apt.conf.d/99off", "#clear Unattended-Upgrade::Origins-Pattern;\n#clear Unattended-Upgrade::Allowed-Origins;\n", 0o644)
	g.fail("host/updates", "no security archive is among the origins")
	g.Run("rm", "/etc/apt/apt.conf.d/99off")
	g.Run("sh", "-c", "mkdir /root/lists && mv /var/lib/apt/lists/*security* /root/lists/")
	g.fail("host/updates", "apt knows no security archive")
	g.Run("sh", "-c", "mv /root/lists/* /var/lib/apt/lists/")
	g.pass("host/updates")
}

// dryRun has unattended-upgrades do all but install.
func (g *guarded) dryRun() {
	out, err := g.Try("unattended-upgrade", "--dry-run", "-v")
	if err != nil || !regexp.MustCompile(`Allowed origins are:.*`+g.Suite+`-security,label=(Debian-Security|Ubuntu)`).MatchString(out) {
		g.t.Errorf("a dry run: %v\n%.3000s", err, out)
	}
}

func (g *guarded) breakLogs() {
	for _, broken := range []struct{ text, why string }{
		{"Storage=volatile", "in memory"},
		{"SystemMaxUse=8G", "may take 8192 MB"},
	} {
		g.Write("/etc/systemd/journald.conf.d/zz.conf", "[Journal]\n"+broken.text+"\n", 0o644)
		g.Run("systemctl", "restart", "systemd-journald")
		if broken.text != "Storage=volatile" {
			g.Run("journalctl", "--flush")
		}
		g.Run("logger", "hello")
		g.fail("host/logs", broken.why)
	}
	g.Run("rm", "/etc/systemd/journald.conf.d/zz.conf")
	g.Run("systemctl", "restart", "systemd-journald")
	g.Run("journalctl", "--flush") // as at the next start
	g.Run("logger", "hello")
	g.Write("/etc/logrotate.d/bad", "/var/log/bad {\n rotate many\n}\n", 0o644)
	g.fail("host/logs", "logrotate refuses")
	g.Run("rm", "/etc/logrotate.d/bad")
	g.Run("systemctl", "stop", "logrotate.timer")
	g.fail("host/logs", "logrotate.timer is inactive")
	g.Run("systemctl", "start", "logrotate.timer")
	g.pass("host/logs")
}

// publish does what docker run -p 5432:80 does: the chains and rules are those
// of an engine, the container is a namespace.
func (g *guarded) publish() {
	// systemd-nspawn closes all of /proc/sys; the network's part is the server's own.
	g.Run("sh", "-c", "mkdir -p /run/p && mount -t proc proc /run/p && mount --bind /run/p/sys/net /proc/sys/net && umount /run/p")
	for _, line := range []string{
		"sysctl -qw net.ipv4.ip_forward=1", "ip netns add box", "ip link add docker0 type veth peer name eth0 netns box",
		"ip addr add 172.30.0.1/24 dev docker0", "ip link set docker0 up", "ip -n box addr add 172.30.0.2/24 dev eth0", "ip -n box link set eth0 up", "ip -n box route add default via 172.30.0.1",
		"systemd-run -q --unit=box ip netns exec box python3 -m http.server 80",
		"iptables -N DOCKER", "iptables -N DOCKER-USER", "iptables -A DOCKER-USER -j RETURN", "iptables -A DOCKER -d 172.30.0.2/32 ! -i docker0 -o docker0 -p tcp --dport 80 -j ACCEPT",
		"iptables -I FORWARD -i docker0 -j ACCEPT", "iptables -I FORWARD -o docker0 -j DOCKER", "iptables -I FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "iptables -I FORWARD -j DOCKER-USER",
		"iptables -t nat -N DOCKER", "iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER",
		"iptables -t nat -A DOCKER ! -i docker0 -p tcp --dport 5432 -j DNAT --to-destination 172.30.0.2:80",
		"iptables -t nat -A DOCKER ! -i docker0 -p tcp --dport 80 -j DNAT --to-destination 172.30.0.2:80",
	} {
		g.Run(strings.Fields(line)...)
	}
	g.Await("a published port is reached past ufw", 20*time.Second, func() bool { return g.reaches(g.neighbour, 5432) })
	g.fail("host/containers", "published past ufw")
	out := g.owner.MustSSH("deploy", "sudo env "+ringwall+"apply --yes 2>&1")
	g.owner.MustSSH("deploy", "sudo env "+ringwall+"confirm 2>&1")
	contains(g.t, "the apply", out, "close what the chain DOCKER-USER publishes")
	if g.reaches(g.neighbour, 5432) {
		g.t.Error("the published port is still reached")
	}
	if !g.reaches(g.neighbour, 80) {
		g.t.Error("a published port that the policy opens is closed")
	}
	g.Run("ufw", "reload")
	if g.reaches(g.neighbour, 5432) {
		g.t.Error("after a reload of ufw the published port is reached")
	}
	// A hand's rule in the engine's chain opens nothing; one before our drop does.
	g.Run("iptables", "-I", "DOCKER-USER", "-j", "ACCEPT")
	if g.reaches(g.neighbour, 5432) {
		g.t.Error("a rule in DOCKER-USER opens the published port")
	}
	g.pass("host/containers")
	g.Run("nft", "insert", "rule", "inet", "ringwall_published", "forward", "ip", "daddr", "172.30.0.2", "accept")
	if !g.reaches(g.neighbour, 5432) {
		g.t.Error("a rule before the drop opens nothing: what is it that is judged?")
	}
	g.fail("host/containers", "stands before the drop")
	g.Run("systemctl", "reload", "ringwall-published.service")
	if g.reaches(g.neighbour, 5432) {
		g.t.Error("a reload leaves a hand's rule in force")
	}
	g.pass("host/containers")
	g.Run("systemctl", "stop", "ringwall-published.service")
	g.fail("host/containers", "published past ufw")
	if !g.reaches(g.neighbour, 5432) {
		g.t.Error("the rules were not what closed it")
	}
	g.Run("systemctl", "start", "ringwall-published.service")
}

// restart: all is in force again, and the journal has both starts.
func (g *guarded) restart() {
	g.PowerCut()
	g.Boot()
	g.Await("the services run again", 60*time.Second, func() bool {
		_, err := g.Try("systemctl", "is-active", "fail2ban", "ringwall-bans", "ringwall", "ringwall-published")
		return err == nil
	})
	g.pass("host/fail2ban", "host/bans", "host/updates", "host/logs")
	if !strings.Contains(g.ruleset(), "table inet ringwall_published {") { // what an engine published is not there yet
		g.t.Error("after a restart what an engine will publish is open")
	}
	if out := g.Run("journalctl", "--list-boots", "--no-pager"); !strings.Contains(out, "-1 ") {
		g.t.Errorf("the journal has only this start: %s", out)
	}
}
