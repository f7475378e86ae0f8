//go:build linux

package vps_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/test/vps"
)

// TestSystem applies once and looks at what a server is made of: settings of
// the kernel, mounts, limits, banner. Each is then broken by hand, which status
// must say.
func TestSystem(t *testing.T) {
	t.Parallel()
	for _, suite := range []string{"bookworm", "trixie", "jammy", "noble"} {
		t.Run(suite, func(t *testing.T) {
			inTurn(t)
			s, o := bare(t, suite, "")
			// systemd-nspawn closes all of /proc/sys; the network's part is the server's own.
			s.Run("sh", "-c", "mkdir /run/p && mount -t proc proc /run/p && mount --bind /run/p/sys/net /proc/sys/net && umount /run/p")
			site(s)
			api := ownAPI(s)
			before := s.Run("sysctl", "-n", "net.ipv4.conf.all.accept_redirects", "net.ipv4.conf.all.send_redirects")
			j := newJudges(t, s)
			// An API that is stopped stands in nobody's way.
			s.Run("systemctl", "stop", api)
			contains(t, "the plan", o.MustSSH("root", ringwall+"plan 2>&1"), "left out: host/api: the unit "+api+" of host.api.unit is inactive: start it", "host/ssh")
			s.Run("systemctl", "start", api)
			t.Log(apply(t, o))
			if out := o.MustSSH("deploy", "sudo env "+ringwall+"plan"); !strings.Contains(out, "nothing to do") {
				t.Fatalf("a second plan: %s", out)
			}
			after := inForce(t, s, o)
			serves(t, s)
			j.compare(after)
			reachesNobody(t, s, api)
			opensAgain(t, s)
			sabotage(t, s, api)
			o.MustSSH("deploy", "sudo env "+ringwall+"rollback 2>&1")
			if after := s.Run("sysctl", "-n", "net.ipv4.conf.all.accept_redirects", "net.ipv4.conf.all.send_redirects"); after != before {
				t.Errorf("rolled back, the kernel has %q, and had %q", after, before)
			}
			if out := s.Run("findmnt", "-no", "OPTIONS", "/dev/shm"); strings.Contains(out, "noexec") {
				t.Errorf("rolled back, /dev/shm has %s", out)
			}
			if out := s.Run("systemctl", "show", "--property=ActiveState,IPAddressDeny,NoNewPrivileges", api); strings.Contains(out, "::/0") || !strings.Contains(out, "ActiveState=active") || !strings.Contains(out, "NoNewPrivileges=no") {
				t.Errorf("rolled back, the API's service has %s", out)
			}
		})
	}
}

// inForce looks by other means than Ringwall's own.
func inForce(t *testing.T, s *vps.Server, o *vps.Owner) check.Report {
	for name, want := range map[string]string{
		"net.ipv4.conf.all.rp_filter": "1", "net.ipv4.conf.all.accept_redirects": "0", "net.ipv4.conf.all.send_redirects": "0",
		"net.ipv6.conf.all.accept_redirects": "0", "net.ipv4.conf.default.log_martians": "1", "net.ipv4.tcp_syncookies": "1",
	} {
		if got := strings.TrimSpace(s.Run("sysctl", "-n", name)); got != want {
			t.Errorf("%s is %s", name, got)
		}
	}
	for _, dir := range []string{"/tmp", "/dev/shm"} {
		if out, err := s.Try("sh", "-c", "cp /bin/true "+dir+"/run && "+dir+"/run"); err == nil {
			t.Errorf("a program runs from %s: %s", dir, out)
		}
	}
	if out, err := o.SSH("deploy", "bash -lc 'umask; ulimit -H -c'"); err != nil || strings.TrimSpace(out) != "0027\n0" {
		t.Errorf("a login has %q, %v", out, err)
	}
	if out, err := s.Try("modprobe", "-v", "dccp"); err == nil || !strings.Contains(out, "/bin/false") {
		t.Errorf("modprobe dccp: %v: %s", err, out)
	}
	args := append(o.Args("deploy"), "true")
	args[slices.Index(args, "LogLevel=ERROR")] = "LogLevel=INFO" // at which ssh shows it
	out, err := s.Outside(args...)
	if err != nil || !strings.Contains(out, "private system") {
		t.Errorf("the SSH server does not say that it is private: %v %s", err, out)
	}
	firstLook(s)
	if out := s.Run("sh", "-c", ringwall+"status; true"); strings.Contains(out, "FAIL") {
		t.Errorf("status:\n%s", out)
	} else {
		t.Log(out)
	}
	r := inside(t, s, policyFile)
	for _, res := range r.Results {
		// The base is as old as its last update, and no policy makes backups.
		if res.Verdict == check.Fail && res.ID != "inside/updates" && res.ID != "inside/backups" || res.Verdict == check.Unknown {
			t.Errorf("after an apply %s is %v: %s", res.ID, res.Verdict, res.Got)
		}
		t.Logf("%-8v %-24s %s", res.Verdict, res.ID, res.Got)
	}
	return r
}

// firstLook does not wait for the timer of host/packages. What it says is for status.
func firstLook(s *vps.Server) {
	_, _ = s.Try("systemctl", "start", "ringwall-packages.service")
}

func sabotage(t *testing.T, s *vps.Server, api string) {
	lines := map[string]string{
		"host/deploy-user": `usermod -p "$(openssl passwd -6 guessed)" root`,
		"host/ssh":         `printf 'Match User deploy\nPasswordAuthentication yes\n' >/etc/ssh/sshd_config.d/00-a.conf`, // before the block of ours
		"host/firewall":    "iptables -I INPUT -p tcp --dport 5432 -j ACCEPT",
		"host/sysctl":      "sysctl -w net.ipv4.conf.all.accept_redirects=1",
		"host/mounts":      "mount -o remount,bind,nosuid,nodev,exec /dev/shm",
		"host/idle-shell":  "rm /etc/profile.d/ringwall-idle.sh",
		"host/passwords":   "pam-auth-update --remove pwquality",
		"host/packages":    "echo >>/usr/bin/ldd; systemctl start ringwall-packages.service; true",
		"host/jobs":        "rm /etc/cron.allow",
		"host/umask":       "echo umask 022 >/etc/profile.d/zz.sh",
		"host/core-dumps":  "echo '* hard core unlimited' >/etc/security/limits.d/zz.conf",
		"host/protocols":   "sed -i /sctp/d /etc/modprobe.d/ringwall.conf",
		"host/service":     "systemctl stop ringwall.service",
		"host/api":         "rm -r /etc/systemd/system/" + api + ".d && systemctl daemon-reload",
		"host/banner":      "cp /etc/os-release /etc/issue.net",
	}
	for _, line := range lines {
		s.Run("sh", "-c", line)
	}
	out := s.Run("sh", "-c", ringwall+"status; true")
	for control, line := range lines {
		if !failed(out, control) {
			t.Errorf("after %q status does not say that %s fails:\n%s", line, control, out)
		}
	}
}

// failed reports whether a report says so of a control.
func failed(report, control string) bool {
	for line := range strings.Lines(report) {
		if strings.Contains(line, "FAIL") && strings.Contains(line, control) {
			return true
		}
	}
	return false
}

// site gives the server a policy that can be served, with its secrets.
func site(s *vps.Server) {
	s.Run("sh", "-c", `mkdir -p /etc/ringwall/secrets /root/new && cd /root/new && ringwall init && cp secrets/identity_token_key /etc/ringwall/secrets/ && rm -r /root/new &&
		openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /etc/ringwall/secrets/site_key -out /etc/ringwall/site.pem -days 2 -subj /CN=api.example.com -addext subjectAltName=DNS:api.example.com &&
		chmod 644 /etc/ringwall/site.pem && chmod 600 /etc/ringwall/secrets/*`)
	// As a root whose umask is 027 writes it.
	s.Write(policyFile, s.Read(policyFile)+"edge:\n  tls: {cert: /etc/ringwall/site.pem, key: /run/credentials/ringwall.service/site_key}\n", 0o640)
}

// ownAPI is a service of the API's own, as its author wrote it. Who asks it is told
// whether it reaches the machine outside. Its name is no other server's of this
// test: on some machines these share the cgroups, and what the kernel filters there.
func ownAPI(s *vps.Server) string {
	name := "api-" + s.Suite + ".service"
	s.Write("/usr/local/lib/api.pl", `use IO::Socket::INET;
$s = IO::Socket::INET->new(LocalAddr => "127.0.0.1:8000", Listen => 5, ReuseAddr => 1) or die;
while ($c = $s->accept) {
	print $c IO::Socket::INET->new(PeerAddr => "`+s.Gate()+`:3142", Timeout => 3) ? "it got out\n" : "it was kept\n";
	close $c;
}
`, 0o644)
	s.Write("/etc/systemd/system/"+name, "[Service]\nExecStart=perl /usr/local/lib/api.pl\n[Install]\nWantedBy=multi-user.target\n", 0o644)
	s.Run("systemctl", "enable", "--now", name)
	s.Write(policyFile, s.Read(policyFile)+"host:\n  api: {unit: "+name+"}\n", 0o640)
	return name
}

// reachesNobody asks the API itself, shut in and not; and what is judged of it then.
func reachesNobody(t *testing.T, s *vps.Server, api string) {
	dropIn := "/etc/systemd/system/" + api + ".d/ringwall.conf"
	sandbox := s.Read(dropIn)
	for _, tt := range []struct {
		line, reach string
		verdict     check.Verdict
		why         string
	}{
		{"true", "it was kept", check.Pass, "what it sends to other machines is kept"},
		{"touch -d +1min " + dropIn, "it was kept", check.Fail, "has not read what was changed"},
		{"rm " + dropIn + "; systemctl daemon-reload; systemctl restart " + api, "it got out", check.Fail, "NoNewPrivileges=no"},
		// systemd knows all of it; 252 filters the network at once, 257 at a restart. The
		// process has nothing else.
		{"cp /root/sandbox " + dropIn + "; systemctl daemon-reload", "it ", check.Fail, "runs as it was started"},
		{"systemctl restart " + api, "it was kept", check.Pass, "what it sends to other machines is kept"},
	} {
		s.Write("/root/sandbox", sandbox, 0o644)
		s.Run("sh", "-c", tt.line)
		ask := func() string {
			out, _ := s.Try("bash", "-c", "cat </dev/tcp/127.0.0.1/8000")
			return strings.TrimSpace(out)
		}
		got := ask() // systemd's filter, and the API itself, take a moment
		for end := time.Now().Add(30 * time.Second); !strings.HasPrefix(got, tt.reach) && time.Now().Before(end); got = ask() {
			time.Sleep(200 * time.Millisecond)
		}
		if !strings.HasPrefix(got, tt.reach) {
			t.Errorf("after %q the API says %q", tt.line, got)
		}
		report := inside(t, s, policyFile)
		if got := find(report, "host/api"); got.Verdict != tt.verdict || !strings.Contains(got.Got, tt.why) {
			t.Errorf("after %q host/api is %v: %s; want %v, %q", tt.line, got.Verdict, got.Got, tt.verdict, tt.why)
		}
	}
}

// serves looks at the service from outside, through the firewall, and at what
// its process may do.
func serves(t *testing.T, s *vps.Server) {
	ask := func() string {
		out, _ := s.Outside("curl", "-sk", "--max-time", "20", "-o", "/dev/null", "-w", "%{http_code} %{content_type}", "--resolve", "api.example.com:443:"+s.Address.String(), "https://api.example.com/")
		return out
	}
	if got := ask(); got != "401 application/problem+json" {
		t.Errorf("the service answers %q", got)
	}
	s.Run("systemctl", "stop", "ringwall.service")
	if got := ask(); got != "401 application/problem+json" { // its socket starts it
		t.Errorf("stopped, and asked, the service answers %q", got)
	}
	out := s.Run("systemd-analyze", "security", "--no-pager", "ringwall.service")
	_, rest, _ := strings.Cut(out, "Overall exposure level for ringwall.service: ")
	word, _, _ := strings.Cut(rest, " ")
	if level, err := strconv.ParseFloat(word, 64); err != nil || level > 1.5 {
		t.Errorf("systemd-analyze security says %q\n%s", word, out)
	} else {
		t.Logf("systemd-analyze security says %s", word)
	}
	pid := strings.TrimSpace(s.Run("systemctl", "show", "--value", "--property=MainPID", "ringwall.service"))
	status := s.Run("cat", "/proc/"+pid+"/status")
	contains(t, "its process", status, "NoNewPrivs:\t1", "CapBnd:\t0000000000000000", "Seccomp:\t2")
	if strings.Contains(status, "Uid:\t0") {
		t.Error("the service runs as root")
	}
	if out, err := s.Try("ringwall", "policy", "reload"); err != nil {
		t.Errorf("policy reload finds no server: %v %s", err, out)
	}
}
