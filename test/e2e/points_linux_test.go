package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/outside"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/identity"
	"github.com/ringwall/ringwall/policy"
)

// An afar is a site behind `ringwall serve` and a machine that checks it from
// another one.
type afar struct {
	world
	t    *testing.T
	dir  string // of the server: policy, certificate, state
	hand string // of the one who checks: policy, tokens, account
	next int    // addresses that the checker had
}

const afarSite = "api.example.com"

// newAfar starts the server with accounts, bans at a threshold and an API, and gives
// the checker a token of each role.
func newAfar(t *testing.T, threshold, signIns int) *afar {
	t.Helper()
	a := &afar{world: newWorld(t), t: t, dir: t.TempDir(), hand: t.TempDir(), next: 9}
	a.names(t, "192.0.2.1 "+afarSite)
	api, err := in(t, a.server, func() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:8000") })
	if err != nil {
		t.Fatal(err)
	}
	upstream := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if !strings.HasPrefix(r.URL.Path, "/api/") {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = io.WriteString(w, "{}")
	})}
	go func() { _ = upstream.Serve(api) }()
	t.Cleanup(func() { upstream.Close() })
	siteCertificate(t, a.dir, afarSite)
	text := fmt.Sprintf(`site: %s
upstream: http://127.0.0.1:8000
edge:
  tls: {cert: site.pem, key: site.key}
  bans: {threshold: %d}
app:
  limits:
    global: {requests: 6000, per: 15m}
    auth: {requests: %d, per: 15m, paths: [/api/auth/]}
  routes:
    - {path: /api/public/, methods: [GET], allow: [anyone]}
    - {path: /api/admin/, allow: [admin]}
    - {path: /api/notes/, methods: [GET], allow: ["notes:read"]}
    - {path: /, allow: [signed-in]}
identity:
  registration: closed
  verify_email: false
  roles: {admin: ["*"], user: ["notes:read"]}
`, afarSite, threshold, signIns)
	for _, dir := range []string{a.dir, a.hand} {
		if err := os.WriteFile(filepath.Join(dir, "ringwall.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	serveSite(t, a.dir, "ip", "netns", "exec", a.server)
	for role := range afarRoles {
		args := []string{"user", "add", "--email", role + "@example.com", "--password-stdin"}
		if role != "check" {
			args = append(args, "--role", role)
		}
		cmd := a.command(args...)
		cmd.Stdin = strings.NewReader("a password of " + role + "'s own\n")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		if err := os.WriteFile(filepath.Join(a.hand, role+".token"), []byte(a.signIn(role)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(a.hand, "password"), []byte("a password of check's own"), 0o600); err != nil {
		t.Fatal(err)
	}
	a.move()
	return a
}

// afarRoles are the accounts, with what --token calls them.
var afarRoles = map[string]string{"check": "", "user": "user=", "admin": "admin="}

// command is run on the server.
func (a *afar) command(args ...string) *exec.Cmd {
	cmd := exec.Command(binary, args...)
	cmd.Dir = a.dir
	cmd.Env = append(os.Environ(), "RINGWALL_STATE="+filepath.Join(a.dir, "state"))
	return cmd
}

func (a *afar) signIn(role string) string {
	a.t.Helper()
	pem, err := os.ReadFile(filepath.Join(a.dir, "ca.pem"))
	if err != nil {
		a.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots},
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			return in(a.t, a.outside, func() (net.Conn, error) { return net.DialTimeout("tcp", "192.0.2.1:443", 5*time.Second) })
		}}}
	body := fmt.Sprintf(`{"email":"%s@example.com","password":"a password of %s's own"}`, role, role)
	res, err := client.Post("https://"+afarSite+"/api/auth/login", "application/json", strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	defer res.Body.Close()
	var got struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&got); err != nil || got.Token == "" {
		a.t.Fatalf("%s is not signed in: %s %v", role, res.Status, err)
	}
	return got.Token
}

// move gives the checker another address, of which nothing is known, and says
// which.
func (a *afar) move() string {
	a.t.Helper()
	a.next++
	at := fmt.Sprintf("192.0.2.%d", a.next)
	ip(a.t, "-n", a.outside, "-4", "address", "flush", "dev", "cable")
	ip(a.t, "-n", a.outside, "address", "add", at+"/24", "dev", "cable")
	return at
}

// check runs one from the other machine, with what it knows of the site or without.
func (a *afar) check(known bool, args ...string) (r checkReport, said string) {
	a.t.Helper()
	args = append([]string{"netns", "exec", a.outside, binary, "check", "https://" + afarSite, "--i-own-this", "--cacert", filepath.Join(a.dir, "ca.pem"),
		"--format", "json", "--fail-on", "never", "--token", "@" + filepath.Join(a.hand, "check.token")}, args...)
	cmd := exec.Command("ip", args...)
	cmd.Dir = a.t.TempDir()
	if known {
		cmd.Dir = a.hand
		cmd.Args = append(cmd.Args, "--account", "check@example.com=@password", "--token", "user=@user.token", "--token", "admin=@admin.token")
	}
	cmd.Env = append(os.Environ(), "RINGWALL_STATE="+filepath.Join(a.hand, "state"))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		a.t.Errorf("%v: %v\n%s", args, err, errs.String())
		return r, errs.String()
	}
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		a.t.Errorf("%v: %v\n%s", args, err, out.String())
	}
	return r, errs.String()
}

// standing is what the server holds against an address.
func (a *afar) standing(at string) (s edge.Standing) {
	a.t.Helper()
	out, err := a.command("ban", "why", at, "--json").Output()
	if err == nil {
		err = json.Unmarshal(out, &s)
	}
	if err != nil {
		a.t.Fatalf("ban why %s: %v\n%s", at, err, out)
	}
	return s
}

// kept is what the checker holds against its own address.
func (a *afar) kept() float64 {
	a.t.Helper()
	var all map[string]struct{ Points float64 }
	b, err := os.ReadFile(filepath.Join(a.hand, "state", "check-points.json"))
	if err == nil {
		err = json.Unmarshal(b, &all)
	}
	if err != nil && !os.IsNotExist(err) {
		a.t.Fatal(err)
	}
	return all[afarSite].Points
}

// TestACheckFromAfarIsNotBanned runs everything from another machine, which nobody
// spares, with the policy twice, and then without what keeps it from a ban.
func TestACheckFromAfarIsNotBanned(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits so as not to be banned")
	}
	t.Parallel()              // it waits most of the time
	a := newAfar(t, 100, 200) // a used up limit of sign-ins would be waited for by the second run
	for _, known := range []bool{true, false} {
		rounds := 1
		if known {
			rounds = 2
		}
		at := a.move()
		if err := os.RemoveAll(filepath.Join(a.hand, "state")); err != nil {
			t.Fatal(err)
		}
		for round := range rounds {
			var args []string
			if !known || round > 0 {
				args = append(args, "--timeout", "2m") // it waits less
			}
			r, said := a.check(known, args...)
			if s := a.standing(at); s.Ban != nil || s.Points == 0 {
				t.Errorf("policy known %v, round %d: %+v", known, round, s)
			} else {
				t.Logf("policy known %v, round %d: %.0f points, %d requests", known, round, s.Points, r.Requests)
			}
			left := 0
			for _, res := range r.Results {
				if strings.Contains(res.Got, "ban spare") && strings.Contains(res.Got, "not made") {
					t.Logf("left out: %s: %.60s", res.ID, res.Got)
					if left++; res.Verdict != "unknown" {
						t.Errorf("%s is not made and %s", res.ID, res.Verdict)
					}
				}
				if strings.Contains(res.Got, "does not answer this address any more") {
					t.Errorf("%s: %s", res.ID, res.Got)
				}
			}
			if left == 0 || left > len(r.Results)/2 && known && round == 0 || !strings.Contains(said, "--spared") {
				t.Errorf("policy known %v, round %d: %d of %d are not made\n%s", known, round, left, len(r.Results), said)
			}
		}
	}
	at := a.move()
	a.check(true, "--spared") // which is not true
	if s := a.standing(at); s.Ban == nil {
		t.Errorf("nothing kept it from a ban, and it has none: %+v", s)
	}
}

// TestChecksEarnWhatTheySay makes every check by itself from an address of its own,
// and holds the points that the server counts to what the check says, and to what it
// counts itself by the answers.
func TestChecksEarnWhatTheySay(t *testing.T) {
	if testing.Short() {
		t.Skip("it makes every check by itself")
	}
	t.Parallel()
	a := newAfar(t, 100_000, 20)
	p, err := policy.Load(filepath.Join(a.hand, "ringwall.yaml"), policy.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := probe.New("https://"+afarSite, probe.Options{Tokens: map[string]string{"": "x", "user": "x", "admin": "x"}})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	type one struct {
		check.Meta
		known bool
	}
	var all []one
	for _, list := range [][]check.Check{app.Checks(p, c, now), edge.Checks(p, c, now), identity.Checks(p, c, now)} {
		for _, ch := range list {
			if ch.Inside == "" {
				all = append(all, one{ch.Meta, true})
			}
		}
	}
	for _, ch := range outside.Checks() {
		if ch.Manner < outside.Intrusive {
			all = append(all, one{ch.Meta, false})
		}
	}
	earned := 0
	for _, ch := range all {
		at := a.move()
		args := []string{"--only", ch.ID}
		if !ch.known {
			args = append(args, "--spared") // the threshold is not known
		}
		if err := os.RemoveAll(filepath.Join(a.hand, "state")); err != nil {
			t.Fatal(err)
		}
		r, _ := a.check(ch.known, args...)
		points := a.standing(at).Points
		kept := a.kept()
		t.Logf("%-30s %5.1f points, by its own count %5.1f, of %3d; %3d of %3d requests", ch.ID, points, kept, ch.Points, r.Requests, ch.Most)
		if ch.known && points > kept+0.1 {
			t.Errorf("%s earned %.1f points, and counts %.1f", ch.ID, points, kept)
		}
		if points > float64(ch.Points) {
			t.Errorf("%s says %d points, and earned %.1f", ch.ID, ch.Points, points)
		}
		if points > 0 {
			earned++
		}
	}
	if earned < 20 {
		t.Errorf("only %d of %d checks earned any", earned, len(all))
	}
}
