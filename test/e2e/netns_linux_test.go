package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A world is two machines with one cable: network namespaces that only the test
// uses. What is of ours listens in server; outside sees it at 192.0.2.1
// and at 2001:db8::1.
type world struct{ server, outside string }

var worlds atomic.Int32 // that were made

func newWorld(t *testing.T) world {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("network namespaces are root's: run the tests as root")
		}
		t.Skip("network namespaces are root's")
	}
	tool(t, "ip")
	own := fmt.Sprintf("%d-%d", os.Getpid(), worlds.Add(1))
	w := world{"ringwall-in-" + own, "ringwall-out-" + own}
	for _, name := range []string{w.server, w.outside} {
		ip(t, "netns", "add", name)
		t.Cleanup(func() { ip(t, "netns", "delete", name) })
	}
	ip(t, "link", "add", "cable", "netns", w.server, "type", "veth", "peer", "name", "cable", "netns", w.outside)
	for name, address := range map[string]string{w.server: "192.0.2.1/24", w.outside: "192.0.2.2/24"} {
		ip(t, "-n", name, "address", "add", address, "dev", "cable")
		ip(t, "-n", name, "address", "add", strings.NewReplacer("192.0.2.", "2001:db8::", "/24", "/64").Replace(address), "dev", "cable", "nodad")
		ip(t, "-n", name, "link", "set", "cable", "up")
		ip(t, "-n", name, "link", "set", "lo", "up")
	}
	return w
}

// names are what outside knows of names: lines of hosts(5).
func (w world) names(t *testing.T, lines ...string) {
	t.Helper()
	dir := filepath.Join("/etc/netns", w.outside)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.WriteFile(filepath.Join(dir, "hosts"), []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// in runs f on a thread of a namespace: sockets that it makes belong there.
func in[T any](t *testing.T, namespace string, f func() (T, error)) (T, error) {
	t.Helper()
	type result struct {
		v   T
		err error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		var r result
		file, err := os.Open("/run/netns/" + namespace)
		if err == nil {
			err = unix.Setns(int(file.Fd()), unix.CLONE_NEWNET)
			file.Close()
		}
		if r.err = err; err == nil {
			r.v, r.err = f()
		}
		done <- r
	}()
	r := <-done
	return r.v, r.err
}

// scan has nmap look at ports of the server from outside.
func (w world) scan(t *testing.T, ports string) (open []string) {
	t.Helper()
	return w.scanAt(t, ports, "192.0.2.1")
}

// scanAt does so at an address of the server's; -6 stands before one of IPv6.
func (w world) scanAt(t *testing.T, ports string, at ...string) (open []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", w.outside, tool(t, "nmap"), "-n", "-Pn", "-sS", "-T5", "--open", "-p", ports, "-oX", "-"}, at...)...)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	var report struct {
		Ports []struct {
			ID string `xml:"portid,attr"`
		} `xml:"host>ports>port"`
		Finished struct {
			Exit string `xml:"exit,attr"`
		} `xml:"runstats>finished"`
	}
	if xerr := xml.Unmarshal(out, &report); err != nil || xerr != nil || report.Finished.Exit != "success" {
		t.Fatalf("nmap: %v %v %s\n%s", err, xerr, complaint.String(), out)
	}
	for _, p := range report.Ports {
		open = append(open, p.ID)
	}
	return open
}

// TestNmapSeesTwoPorts: from another machine nothing is there but 80 and 443; the
// API and the metrics page are not, and who does not know the site's name learns
// nothing of it.
func TestNmapSeesTwoPorts(t *testing.T) {
	tool(t, "nmap")
	w := newWorld(t)
	api, err := in(t, w.server, func() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:8000") })
	if err != nil {
		t.Fatal(err)
	}
	upstream := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "the API") })}
	go func() { _ = upstream.Serve(api) }()
	t.Cleanup(func() { upstream.Close() })
	dir := t.TempDir()
	siteCertificate(t, dir, "api.example.com")
	policy := "site: api.example.com\nupstream: http://127.0.0.1:8000\nadmin: 127.0.0.1:9464\nedge: {tls: {cert: site.pem, key: site.key}}\napp: {routes: [{path: /, allow: [anyone]}]}\n"
	if err := os.WriteFile(filepath.Join(dir, "ringwall.yaml"), []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	serveSite(t, dir, "ip", "netns", "exec", w.server)

	if open := w.scan(t, "1-65535"); !slices.Equal(open, []string{"80", "443"}) {
		t.Errorf("open from outside: %v, want 80 and 443", open)
	}
	// The scan would have seen an API that listens everywhere.
	careless, err := in(t, w.server, func() (net.Listener, error) { return net.Listen("tcp", "0.0.0.0:8001") })
	if err != nil {
		t.Fatal(err)
	}
	if open := w.scan(t, "8000-8001"); !slices.Equal(open, []string{"8001"}) {
		t.Errorf("of 8000, on loopback, and 8001, on every address, the scan sees %v", open)
	}
	careless.Close()

	dial := func(address string) (net.Conn, error) {
		return in(t, w.outside, func() (net.Conn, error) { return net.DialTimeout("tcp", address, 5*time.Second) })
	}
	for _, address := range []string{"192.0.2.1:8000", "192.0.2.1:9464"} {
		if c, err := dial(address); err == nil {
			c.Close()
			t.Errorf("%s takes connections from outside", address)
		}
	}
	for _, name := range []string{"", "192.0.2.1", "other.example", "www.api.example.com", "example.com"} {
		c, err := dial("192.0.2.1:443")
		if err != nil {
			t.Fatal(err)
		}
		hello := tls.Client(c, &tls.Config{ServerName: name, InsecureSkipVerify: true}) // whatever certificate there is
		err = hello.HandshakeContext(t.Context())
		if got := hello.ConnectionState().PeerCertificates; err == nil || len(got) > 0 {
			t.Errorf("asked for %q the server shows a certificate of %v", name, got[0].DNSNames)
		}
		c.Close()
	}
	ask := func(port, host string) *http.Response {
		client := &http.Client{
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport: &http.Transport{
				DisableKeepAlives: true, TLSClientConfig: &tls.Config{ServerName: "api.example.com", InsecureSkipVerify: true}, // its CA is judged elsewhere
				DialContext: func(context.Context, string, string) (net.Conn, error) { return dial("192.0.2.1:" + port) },
			}}
		scheme := map[string]string{"80": "http://", "443": "https://"}[port]
		r, err := http.NewRequestWithContext(t.Context(), "GET", scheme+"192.0.2.1/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { res.Body.Close() })
		return res
	}
	for _, host := range []string{"192.0.2.1", "other.example"} {
		if res := ask("443", host); res.StatusCode != http.StatusMisdirectedRequest {
			t.Errorf("https, Host %s: %s", host, res.Status)
		}
		if res := ask("80", host); res.StatusCode != http.StatusPermanentRedirect || res.Header.Get("Location") != "https://api.example.com/" {
			t.Errorf("http, Host %s: %s to %q", host, res.Status, res.Header.Get("Location"))
		}
	}
	if res := ask("443", "api.example.com"); res.StatusCode != 200 {
		t.Errorf("the site itself: %s", res.Status)
	}
}

// TestCheckFindsAPortOfIPv6: an API that listens on IPv6 alone is found by the
// server's bare address, as nmap finds it, and IPv4 stays clean.
func TestCheckFindsAPortOfIPv6(t *testing.T) {
	tool(t, "nmap")
	w := newWorld(t)
	l, err := in(t, w.server, func() (net.Listener, error) { return net.Listen("tcp6", "[2001:db8::1]:8001") })
	if err != nil {
		t.Fatal(err)
	}
	api := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "the API") })}
	go func() { _ = api.Serve(l) }()
	t.Cleanup(func() { api.Close() })
	if open := w.scanAt(t, "8000-8001", "-6", "2001:db8::1"); !slices.Equal(open, []string{"8001"}) {
		t.Errorf("nmap sees %v on IPv6", open)
	}
	if open := w.scan(t, "8000-8001"); len(open) > 0 {
		t.Errorf("nmap sees %v on IPv4", open)
	}
	for url, want := range map[string]string{
		"https://[2001:db8::1]": "open: [2001:db8::1]:8001 (HTTP, 200)",
		"https://192.0.2.1":     "ports are closed at 192.0.2.1",
	} {
		cmd := exec.Command("ip", "netns", "exec", w.outside, binary, "check", url, "--i-own-this", "--only", "outside/ports", "--fail-on", "never", "--format", "json")
		cmd.Dir = t.TempDir()
		cmd.Env = append(os.Environ(), "RINGWALL_STATE="+cmd.Dir)
		if out, err := cmd.Output(); err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v, want %q\n%s", url, err, want, out)
		}
	}
}

// TestCheckLooksAtBothAddresses: of a name with an address of IPv4 and one of IPv6
// ports and SSH are looked at on both, and each result says at which it was seen.
func TestCheckLooksAtBothAddresses(t *testing.T) {
	w := newWorld(t)
	w.names(t, "192.0.2.1 both.example.com", "2001:db8::1 both.example.com", "192.0.2.1 four.example.com")
	listen := func(network, address string) net.Listener {
		l, err := in(t, w.server, func() (net.Listener, error) { return net.Listen(network, address) })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return l
	}
	serve := func(l net.Listener) {
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "the API") })}
		go func() { _ = s.Serve(l) }()
		t.Cleanup(func() { s.Close() })
	}
	serve(listen("tcp4", "192.0.2.1:80"))
	serve(listen("tcp6", "[2001:db8::1]:80"))
	look := func(name string) (text string, at map[string][]string, got map[string]string) {
		cmd := exec.Command("ip", "netns", "exec", w.outside, binary, "check", "http://"+name, "--i-own-this", "--only", "outside/ports", "--only", "outside/ssh", "--only", "outside/nosniff",
			"--fail-on", "never", "--out", "r.txt", "--out", "r.json")
		cmd.Dir = t.TempDir()
		cmd.Env = append(os.Environ(), "RINGWALL_STATE="+cmd.Dir)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		var r struct {
			Results []struct {
				ID, Got   string
				Addresses []string
			}
		}
		b, err := os.ReadFile(filepath.Join(cmd.Dir, "r.json"))
		if err == nil {
			err = json.Unmarshal(b, &r)
		}
		if err != nil {
			t.Fatal(err)
		}
		at, got = map[string][]string{}, map[string]string{}
		for _, res := range r.Results {
			at[res.ID], got[res.ID] = res.Addresses, res.Got
		}
		b, err = os.ReadFile(filepath.Join(cmd.Dir, "r.txt"))
		if err != nil {
			t.Fatal(err)
		}
		return string(b), at, got
	}
	four, six := "192.0.2.1", "2001:db8::1"
	text, at, got := look("both.example.com")
	for _, id := range []string{"outside/ports", "outside/ssh"} {
		if !slices.Contains(at[id], four) || !slices.Contains(at[id], six) {
			t.Errorf("%s was looked at on %v, want both", id, at[id])
		}
	}
	if len(at["outside/nosniff"]) != 1 {
		t.Errorf("outside/nosniff says %v", at["outside/nosniff"])
	}
	if want := "closed at 192.0.2.1 and 2001:db8::1"; !strings.Contains(got["outside/ports"], want) && !strings.Contains(got["outside/ports"], "closed at 2001:db8::1 and 192.0.2.1") {
		t.Errorf("ports: %q, want %q", got["outside/ports"], want)
	}
	if g := got["outside/ssh"]; !strings.Contains(g, "192.0.2.1:22") || !strings.Contains(g, "[2001:db8::1]:22") {
		t.Errorf("ssh: %q", g)
	}
	if head, _, _ := strings.Cut(text, "\n"); !strings.Contains(head, four) || !strings.Contains(head, six) || strings.Count(text, " at    ") != 3 {
		t.Errorf("the text does not say at which address each was seen:\n%s", text)
	}

	// An API that is open on one of them alone, either way.
	for address, network := range map[string]string{"192.0.2.1:8000": "tcp4", "[2001:db8::1]:8000": "tcp6"} {
		l := listen(network, address)
		serve(l)
		if _, _, got := look("both.example.com"); !strings.Contains(got["outside/ports"], "open: "+address+" (HTTP, 200)") {
			t.Errorf("open at %s: %q", address, got["outside/ports"])
		}
		l.Close()
	}
	if _, at, got := look("four.example.com"); !strings.Contains(got["outside/ports"], "closed at 192.0.2.1") || strings.Contains(got["outside/ports"], " and ") || !slices.Equal(at["outside/ports"], []string{four}) {
		t.Errorf("a name with one address: %q at %v", got["outside/ports"], at["outside/ports"])
	}
}

// TestCheckOfADeadHost: what drops or rejects all that comes, on one of its addresses
// or on both, has no closed ports, as far as anybody knows. Where its own port answers,
// those that a firewall rejects are closed.
func TestCheckOfADeadHost(t *testing.T) {
	w := newWorld(t)
	w.names(t, "192.0.2.1 both.example.com", "2001:db8::1 both.example.com", "192.0.2.1 four.example.com")
	for _, network := range []string{"tcp4", "tcp6"} {
		l, err := in(t, w.server, func() (net.Listener, error) { return net.Listen(network, ":443") })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
	}
	for _, limit := range []string{"net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0"} { // else most rejections are silent, and waited for
		ip(t, "netns", "exec", w.server, "sysctl", "-q", "-w", limit)
	}
	drop := func(rule ...string) {
		for _, args := range [][]string{{"flush", "ruleset"}, {"add", "table", "inet", "dead"}, {"add", "chain", "inet", "dead", "in", "{ type filter hook input priority 0; }"}, append([]string{"add", "rule", "inet", "dead", "in"}, rule...)} {
			ip(t, append([]string{"netns", "exec", w.server, tool(t, "nft")}, args...)...)
		}
	}
	for _, tt := range []struct {
		name, rule    string
		verdict, said string
	}{
		{"four", "tcp dport != 443 drop", "pass", "ports are closed at 192.0.2.1"},
		{"both", "meta nfproto ipv6 meta l4proto tcp drop", "unknown", "nobody answers at 2001:db8::1 at all"},
		{"four", "meta l4proto tcp drop", "unknown", "nobody answers at 192.0.2.1 at all"},
		{"both", "tcp dport != 443 reject with icmpx admin-prohibited", "pass", "ports are closed at "},
		{"both", "tcp dport != 443 reject with icmpx no-route", "pass", "ports are closed at "},
		{"both", "meta nfproto ipv6 meta l4proto tcp reject with icmpv6 admin-prohibited", "unknown", "2001:db8::1"},
		{"four", "meta l4proto tcp reject with icmpx admin-prohibited", "unknown", "192.0.2.1"},
	} {
		drop(strings.Fields(tt.rule)...)
		cmd := exec.Command("ip", "netns", "exec", w.outside, binary, "check", "https://"+tt.name+".example.com", "--i-own-this", "--spared", "--only", "outside/ports", "--fail-on", "never", "--format", "json")
		cmd.Dir = t.TempDir()
		cmd.Env = append(os.Environ(), "RINGWALL_STATE="+cmd.Dir)
		var r struct {
			Results []struct{ Verdict, Got string }
		}
		out, err := cmd.Output()
		if err == nil {
			err = json.Unmarshal(out, &r)
		}
		if err != nil || len(r.Results) != 1 || r.Results[0].Verdict != tt.verdict || !strings.Contains(r.Results[0].Got, tt.said) {
			t.Errorf("%s: %v, want %s, %q\n%s", tt.rule, err, tt.verdict, tt.said, out)
		}
	}
}
