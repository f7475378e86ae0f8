//go:build linux

package vps_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/internal/reporttest"
	"github.com/ringwall/ringwall/test/vps"
)

// inside is `ringwall check --inside` on a server, as root. With a policy it is
// held to that, without one to what every server owes.
func inside(t *testing.T, s *vps.Server, policy string, flags ...string) check.Report {
	t.Helper()
	argv := append([]string{"ringwall", "check", "--inside", "--out", "/run/inside.json"}, flags...)
	if policy != "" {
		argv = append(argv, "--policy", policy)
	}
	began := time.Now()
	out, err := s.Try(argv...)
	took := time.Since(began)
	var r check.Report
	if jerr := json.Unmarshal([]byte(s.Run("cat", "/run/inside.json")), &r); jerr != nil {
		t.Fatalf("check --inside: %v, %v\n%s", err, jerr, out)
	}
	t.Logf("check --inside: %d results in %v", len(r.Results), took.Round(10*time.Millisecond))
	for _, res := range r.Results {
		if len(res.Evidence) == 0 && res.Verdict != check.Waived {
			t.Errorf("%s says %v without evidence", res.ID, res.Verdict)
		}
	}
	return r
}

func find(r check.Report, id string) check.Result {
	for _, res := range r.Results {
		if res.ID == id {
			return res
		}
	}
	return check.Result{}
}

// guide sets a server up by hand as the usual guide has it: nothing of this is
// Ringwall's.
func guide(s *vps.Server) {
	s.Write("/etc/ssh/sshd_config.d/50-cloud-init.conf", "PasswordAuthentication yes\n", 0o600) // every cloud's image has it
	s.Write("/etc/nginx/sites-available/api", `limit_req_zone $binary_remote_addr zone=api_limit:10m rate=10r/s;
server {
	listen 80;
	listen 443 ssl;
	server_name api.example.com;
	ssl_certificate /etc/letsencrypt/live/api.example.com/fullchain.pem;
	ssl_certificate_key /etc/letsencrypt/live/api.example.com/privkey.pem;
	location / {
		limit_req zone=api_limit burst=20 nodelay;
		proxy_pass http://127.0.0.1:8000;
	}
}
`, 0o644)
	s.Write("/etc/systemd/system/api.service", `[Service]
User=deploy
WorkingDirectory=/home/deploy/api
Environment=JWT_SECRET=a-secret-of-the-tests PORT=8000
ExecStart=python3 -m http.server 8000 --bind 127.0.0.1

[Install]
WantedBy=multi-user.target
`, 0o600)
	for _, line := range []string{
		"apt-get install -y -q --no-install-recommends nginx-light openssl certbot",
		"adduser -q --disabled-password --gecos '' deploy && echo deploy:a-password-of-the-tests | chpasswd && usermod -aG sudo deploy",
		"install -d -m 700 -o deploy -g deploy /home/deploy/.ssh && install -m 600 -o deploy -g deploy /root/.ssh/authorized_keys /home/deploy/.ssh/",
		"sed -i -E 's/^#?(PermitRootLogin) .*/\\1 no/; s/^#?(PasswordAuthentication) .*/\\1 no/; s/^#?(PubkeyAuthentication) .*/\\1 yes/' /etc/ssh/sshd_config && systemctl restart ssh",
		"ufw allow OpenSSH && ufw allow 80 && ufw allow 443 && ufw --force enable",
		"systemctl enable --now fail2ban unattended-upgrades; true",
		"install -d -o deploy /home/deploy/api && umask 077 && echo JWT_SECRET=a-secret-of-the-tests >/home/deploy/api/.env && chown deploy: /home/deploy/api/.env",
		"mkdir -p /etc/letsencrypt/live/api.example.com && cd /etc/letsencrypt/live/api.example.com && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout privkey.pem -out fullchain.pem -days 90 -subj /CN=api.example.com",
		"ln -s /etc/nginx/sites-available/api /etc/nginx/sites-enabled/ && systemctl restart nginx",
		"systemctl enable --now api",
	} {
		s.Run("sh", "-c", line)
	}
}

// left is what the guide leaves open on the server, by the check that must find
// it, and what that must say.
var left = map[string][]string{
	// sshd takes what it reads first; and its algorithms are as it ships.
	"host/ssh": {"passwordauthentication is yes", "any account may sign in", "kexalgorithms has ecdh-sha2-nistp256", "macs has umac-64"},
	// Debian 12 has no auth.log.
	"host/fail2ban": {"does not answer"},
	// nginx as it ships.
	"inside/confinement": {"nginx.service 9.6"},
	// No ring tells another.
	"host/bans": {"ringwall-bans.service is inactive"},
	// What Lynis misses, too, and the guide has no line about.
	"host/protocols":  {"modprobe would load dccp"},
	"host/core-dumps": {"DefaultLimitCORE"},
	"host/umask":      {"umask 0022"},
	"host/idle-shell": {"TMOUT"},
	"host/passwords":  {"PAM takes any new password"},
	"host/packages":   {"debsums is not installed"},
	"host/jobs":       {"cron would take a job"},
	"host/mounts":     {"without noexec"},
	"host/banner":     {"no banner"},
	"inside/backups":  {"no timer and no cron job"},
}

// TestInsideOfTheGuidesServer: all that the guide leaves open is found, and
// nothing of what it does right is blamed. Then each of its own lines is broken,
// and mended.
func TestInsideOfTheGuidesServer(t *testing.T) {
	t.Parallel()
	s, _ := bare(t, vps.Full, "")
	guide(s)
	r := inside(t, s, "")
	for id := range left {
		if find(r, id).ID == "" {
			t.Errorf("%s was not looked at", id)
		}
	}
	for _, res := range r.Results {
		t.Logf("%-8v %-24s %s", res.Verdict, res.ID, res.Got)
		want := left[res.ID]
		switch {
		case res.ID == "inside/updates": // as old as the base of this test
		case want == nil && res.Verdict != check.Pass:
			t.Errorf("%s blames what is right: %v, %s", res.ID, res.Verdict, res.Got)
		case want != nil && res.Verdict != check.Fail:
			t.Errorf("%s does not find %q: %v, %s", res.ID, want, res.Verdict, res.Got)
		}
		contains(t, res.ID, res.Got, want...)
	}
	if *update {
		var b strings.Builder
		r.Target = "the guide's server, from inside"
		if err := r.WriteText(&b, check.Text{}); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("../../docs/check-guide-inside.txt", []byte(timeless(b.String())), 0o644); err != nil {
			t.Fatal(err)
		}
	} else {
		reporttest.Same(t, "../../docs/check-guide-inside.txt", r, "inside/updates")
	}

	// What is mended by hand is not blamed any more.
	s.Run("rm", "/etc/ssh/sshd_config.d/50-cloud-init.conf")
	s.Write("/etc/fail2ban/jail.local", "[sshd]\nbackend = systemd\n", 0o644)
	s.Run("systemctl", "restart", "ssh", "fail2ban")
	s.Write("/etc/systemd/system/nginx.service.d/confined.conf", "[Service]\nNoNewPrivileges=yes\nPrivateTmp=yes\nProtectSystem=full\nProtectHome=yes\nProtectKernelModules=yes\nRestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX\n", 0o644)
	// A timer makes backups once it has, and its service ended well.
	s.Write("/etc/systemd/system/api-backup.service", "[Service]\nType=oneshot\nExecStart=cp -a /home/deploy/api /run/saved\n", 0o644)
	s.Write("/etc/systemd/system/api-backup.timer", "[Timer]\nOnCalendar=daily\n[Install]\nWantedBy=timers.target\n", 0o644)
	for _, step := range []struct {
		line string
		want check.Verdict
	}{
		{"systemctl daemon-reload && systemctl enable --now api-backup.timer", check.Unknown},
		{"systemctl start api-backup.service", check.Pass},
		{"sed -i 's/cp -a/false/' /etc/systemd/system/api-backup.service && systemctl daemon-reload; ! systemctl start api-backup.service", check.Fail},
		{"systemctl stop api-backup.timer", check.Fail},
		{"rm /etc/systemd/system/api-backup.* && systemctl daemon-reload; printf '0 3 * * * root rm -rf /var/backups/old\\n' >/etc/cron.d/clean", check.Fail},
		{"printf '0 3 * * * root tar czf /mnt/backup.tgz /srv\\n' >/etc/cron.d/saves", check.Pass},
		{"systemctl stop cron", check.Fail},
	} {
		s.Run("sh", "-c", step.line)
		if got := find(inside(t, s, "", "--only", "inside/backups"), "inside/backups"); got.Verdict != step.want {
			t.Errorf("after %s, inside/backups is %v: %s", step.line, got.Verdict, got.Got)
		} else {
			t.Log(got.Got)
		}
	}
	// And what is broken is: the API's port, the sudo of its user, the way of the certificate.
	s.Run("sed", "-i", "s/127.0.0.1/0.0.0.0/", "/etc/systemd/system/api.service")
	s.Run("systemctl", "daemon-reload")
	s.Run("systemctl", "restart", "api", "nginx")
	s.Run("ufw", "allow", "8000")
	s.Run("chmod", "644", "/home/deploy/api/.env")
	s.Run("chmod", "755", "/home/deploy", "/home/deploy/api")
	s.Run("deluser", "deploy", "sudo")
	s.Run("systemctl", "stop", "certbot.timer")
	s.Await("the API and fail2ban answer", 20*time.Second, func() bool {
		_, err := s.Try("sh", "-c", "curl -s -o /dev/null http://127.0.0.1:8000/ && fail2ban-client status sshd")
		return err == nil
	})
	r = inside(t, s, "")
	if got := find(r, "host/ssh").Got; strings.Contains(got, "passwordauthentication") {
		t.Errorf("host/ssh: %s", got)
	}
	if got := find(r, "inside/confinement").Got; !strings.Contains(got, "api.service") || strings.Contains(got, "nginx") {
		t.Errorf("inside/confinement: %s", got)
	}
	for id, want := range map[string]check.Verdict{
		"host/fail2ban":    check.Pass,
		"inside/listeners": check.Fail, "host/firewall": check.Fail, "inside/key-files": check.Fail, "host/deploy-user": check.Fail, "inside/renewal": check.Fail,
	} {
		if got := find(r, id); got.Verdict != want {
			t.Errorf("%s is %v, not %v: %s", id, got.Verdict, want, got.Got)
		}
	}
}
