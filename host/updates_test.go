package host_test

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/host"
	"github.com/ringwall/ringwall/policy"
)

// TestWhatKeepsUpdatesAway: settings of apt's with which security updates do not come,
// or come from anybody; and none of what the distributions bring is taken for that.
func TestWhatKeepsUpdatesAway(t *testing.T) {
	const (
		installed = "dpkg-query -W -f ${db:Status-Status} ${Version}\n -- "
		unit      = "systemctl show --no-pager --property=LoadState,ActiveState,UnitFileState -- "
		runs      = "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\n"
		archives  = "apt-cache policy"
		packages  = "apt-cache policy openssh-server openssl libssl3 libssl3t64 libc6 sudo systemd nginx linux-image-amd64 linux-image-generic"
		settings  = "apt-config dump"
		list      = "/etc/apt/sources.list"
		more      = "/etc/apt/sources.list.d/x.list"
		stanzas   = "/etc/apt/sources.list.d/x.sources"

		stock = `APT::Periodic::Update-Package-Lists "1";
APT::Periodic::Unattended-Upgrade "1";
Acquire::AllowInsecureRepositories "0";
Acquire::AllowWeakRepositories "0";
Acquire::AllowDowngradeToInsecureRepositories "0";
Unattended-Upgrade::Package-Blacklist "";
Unattended-Upgrade::Origins-Pattern:: "origin=Debian,codename=${distro_codename}-security,label=Debian-Security";
`
		debian12 = `Package files:
 100 /var/lib/dpkg/status
     release a=now
 500 http://deb.debian.org/debian-security bookworm-security/main amd64 Packages
     release v=12,o=Debian,a=oldstable-security,n=bookworm-security,l=Debian-Security,c=main,b=amd64
     origin deb.debian.org
 100 http://deb.debian.org/debian bookworm-backports/main amd64 Packages
     release v=12,o=Debian Backports,a=oldstable-backports,n=bookworm-backports,l=Debian Backports,c=main,b=amd64
     origin deb.debian.org
 500 http://deb.debian.org/debian bookworm/main amd64 Packages
     release v=12.15,o=Debian,a=oldstable,n=bookworm,l=Debian,c=main,b=amd64
     origin deb.debian.org
Pinned packages:
`
		ubuntu24 = `Package files:
 100 /var/lib/dpkg/status
     release a=now
1000 https://packages.mozilla.org/apt mozilla/main amd64 Packages
     release o=namespaces/moz-fx-productdelivery-pr-38b5/repositories/mozilla,a=mozilla,n=mozilla,l=namespaces,c=main,b=amd64
     origin packages.mozilla.org
 500 http://security.ubuntu.com/ubuntu noble-security/universe amd64 Packages
     release v=24.04,o=Ubuntu,a=noble-security,n=noble,l=Ubuntu,c=universe,b=amd64
     origin security.ubuntu.com
 100 http://archive.ubuntu.com/ubuntu noble-backports/universe amd64 Packages
     release v=24.04,o=Ubuntu,a=noble-backports,n=noble,l=Ubuntu,c=universe,b=amd64
     origin archive.ubuntu.com
 500 http://archive.ubuntu.com/ubuntu noble-updates/main amd64 Packages
     release v=24.04,o=Ubuntu,a=noble-updates,n=noble,l=Ubuntu,c=main,b=amd64
     origin archive.ubuntu.com
 510 https://esm.ubuntu.com/apps/ubuntu noble-apps-security/main amd64 Packages
     release v=24.04,o=UbuntuESMApps,a=noble-apps-security,n=noble,l=UbuntuESMApps,c=main,b=amd64
     origin esm.ubuntu.com
Pinned packages:
`
		waits = `openssl:
  Installed: 3.0.19-1~deb12u2
  Candidate: 3.0.22-1~deb12u2
  Version table:
     3.0.22-1~deb12u2 500
        500 http://deb.debian.org/debian-security bookworm-security/main amd64 Packages
     3.0.20-1~deb12u2 500
        500 http://deb.debian.org/debian bookworm/main amd64 Packages
 *** 3.0.19-1~deb12u2 100
        100 /var/lib/dpkg/status
libc6:
  Installed: 2.36-9+deb12u14
  Candidate: 2.36-9+deb12u14
  Version table:
     2.40-1 100
        100 http://deb.debian.org/debian bookworm-backports/main amd64 Packages
 *** 2.36-9+deb12u14 500
        500 http://deb.debian.org/debian bookworm/main amd64 Packages
        100 /var/lib/dpkg/status
     2.36-9+deb12u7 500
        500 http://deb.debian.org/debian-security bookworm-security/main amd64 Packages
nginx:
  Installed: (none)
  Candidate: 1.22.1-9
  Version table:
     1.22.1-9+deb12u3 -1
        500 http://deb.debian.org/debian-security bookworm-security/main amd64 Packages
     1.22.1-9 500
        500 http://deb.debian.org/debian bookworm/main amd64 Packages
`
		phased = `openssl:
  Installed: 3.0.13-0ubuntu3.5
  Candidate: 3.0.13-0ubuntu3.6
  Version table:
     3.0.13-0ubuntu3.9 -32768
       -32768 https://esm.ubuntu.com/infra/ubuntu noble-infra-security/main amd64 Packages
     3.0.13-0ubuntu3.7 1 (phased 10%)
        500 http://archive.ubuntu.com/ubuntu noble-updates/main amd64 Packages
     3.0.13-0ubuntu3.6 500
        500 http://security.ubuntu.com/ubuntu noble-security/main amd64 Packages
 *** 3.0.13-0ubuntu3.5 100
        100 /var/lib/dpkg/status
`
		pinned = `openssl:
  Installed: 3.0.19-1~deb12u2
  Candidate: 3.0.19-1~deb12u2
  Version table:
     3.0.22-1~deb12u2 500
        500 http://deb.debian.org/debian-security bookworm-security/main amd64 Packages
 *** 3.0.19-1~deb12u2 1001
        100 /var/lib/dpkg/status
`
	)
	said := map[string]string{
		installed + "unattended-upgrades": "installed 2.9\n", installed + "needrestart": "installed 3.6\n", "apt-mark showhold": "",
		settings: stock, archives: debian12, packages: waits,
		unit + "apt-daily.timer": runs, unit + "apt-daily-upgrade.timer": runs,
		"systemctl show --no-pager --property=ExecStart -- apt-daily.service":         "ExecStart={ path=/usr/lib/apt/apt.systemd.daily ; argv[]=/usr/lib/apt/apt.systemd.daily update ; ignore_errors=no }\n",
		"systemctl show --no-pager --property=ExecStart -- apt-daily-upgrade.service": "ExecStart={ path=/usr/lib/apt/apt.systemd.daily ; argv[]=/usr/lib/apt/apt.systemd.daily install ; ignore_errors=no }\n",
		"systemctl show --no-pager --property=Result -- apt-daily-upgrade.service":    "Result=success\n",
	}
	daily(said, "apt-daily.timer")
	daily(said, "apt-daily-upgrade.timer")
	for _, tt := range []struct {
		name        string
		asked, text string // a query or a file, and what it has
		want        check.Verdict
		got         string
	}{
		{"Debian", list, "deb http://deb.debian.org/debian bookworm main\n# deb [trusted=yes] http://x.example.com ./\ndeb-src [trusted=yes] http://x.example.com ./\n", check.Pass, "both timers run"},
		{"Debian's installer", list, "deb cdrom:[Debian GNU/Linux 12.5.0 _Bookworm_ - Official amd64 NETINST]/ bookworm main\n", check.Pass, "both timers run"},
		{"Ubuntu", archives, ubuntu24, check.Pass, "both timers run"},
		{"Ubuntu's sources", stanzas, "Types: deb\nURIs: http://archive.ubuntu.com/ubuntu/\nSuites: noble noble-updates\nComponents: main\nSigned-By: /usr/share/keyrings/ubuntu-archive-keyring.gpg\n\nTypes: deb\nURIs: http://security.ubuntu.com/ubuntu/\nSuites: noble-security\n", check.Pass, "both timers run"},
		{"an update in phases", packages, phased, check.Pass, "both timers run"},
		{"a key of its own", more, "deb [arch=amd64 signed-by=/etc/apt/keyrings/docker.asc trusted=no] https://download.docker.com/linux/debian bookworm stable\n", check.Pass, "both timers run"},
		{"a folder of root's", more, "deb [trusted=yes] file:/srv/packages ./\n", check.Pass, "both timers run"},
		{"all but itself", settings, stock + `Unattended-Upgrade::Package-Whitelist:: ".*";` + "\n", check.Pass, "both timers run"},
		{"switched off", stanzas, "Types: deb\nEnabled: no\nURIs: https://x.example.com\nTrusted: yes\n", check.Pass, "both timers run"},
		{"a commented line", stanzas, "Types: deb\nURIs: https://x.example.com\n# Trusted: yes\n", check.Pass, "both timers run"},

		{"a timer of this run alone", unit + "apt-daily.timer", strings.Replace(runs, "=enabled", "=enabled-runtime", 1), check.Fail, "enabled-runtime"},
		{"once a year", askTimes + "*-*-* 06,18:00:00", times(24*time.Hour, 365*24*time.Hour, 20), check.Fail, "apt-daily.timer lets more than 3 days pass"},
		{"a timer of something else", showTimer + "apt-daily-upgrade.timer", strings.Replace(said[showTimer+"apt-daily-upgrade.timer"], "Unit=apt-daily-upgrade.service", "Unit=x.service", 1), check.Fail, "starts x.service"},
		{"a condition", showDropIn + "apt-daily.service", "DropInPaths=/etc/x.conf\n", check.Unknown, "ConditionPathExists"},
		{"nothing is installed", "systemctl show --no-pager --property=ExecStart -- apt-daily-upgrade.service", "ExecStart={ path=/bin/true ; argv[]=/bin/true ; ignore_errors=no }\n", check.Fail, "apt-daily-upgrade.service does not run"},
		{"nothing is fetched", "systemctl show --no-pager --property=ExecStart -- apt-daily.service", "ExecStart=\n", check.Fail, "apt-daily.service does not run"},
		{"trusted", more, "deb [arch=amd64 trusted=yes] https://x.example.com ./\n", check.Fail, "nobody signed: /etc/apt/sources.list.d/x.list: deb [arch=amd64 trusted=yes]"},
		{"trusted, spaced", list, "deb\t[ trusted=Yes ] https://x.example.com ./\n", check.Fail, "nobody signed: /etc/apt/sources.list"},
		{"insecure", more, "deb [allow-insecure=1] https://x.example.com ./\n", check.Fail, "allow-insecure"},
		{"trusted, in a stanza", stanzas, "Types: deb\nURIs: https://a.example.com\nSuites: ./\n\nTypes: deb\nURIs: https://x.example.com file:/srv\nSuites: ./\nTrusted:  yes\n", check.Fail, "nobody signed: /etc/apt/sources.list.d/x.sources: Trusted:  yes"},
		{"insecure archives", settings, stock + `Acquire::AllowInsecureRepositories "true";` + "\n", check.Fail, "AllowInsecureRepositories"},
		{"a list of few", settings, stock + `Unattended-Upgrade::Package-Whitelist:: "openssl";` + "\n" + `Unattended-Upgrade::Package-Whitelist:: "lib";` + "\n", check.Fail, `Package-Whitelist has only "openssl": what it does not name, such as zlib1g,`},
		{"a list of none", settings, stock + `Unattended-Upgrade::Package-Blacklist:: "openssh-";` + "\n", check.Fail, `has "openssh-": openssh-server is never updated`},
		{"a pattern of Python's", settings, stock + `Unattended-Upgrade::Package-Whitelist:: "(?!nginx).*";` + "\n", check.Unknown, "Package-Whitelist"},
		{"every month", settings, strings.Replace(stock, `Unattended-Upgrade "1"`, `Unattended-Upgrade "30"`, 1), check.Fail, "is 30 days"},
		{"a pin that forbids", archives, strings.Replace(debian12, " 500 http://deb.debian.org/debian-security", "  -1 http://deb.debian.org/debian-security", 1), check.Fail, "has the priority -1, and what is installed has 100"},
		{"a release that is preferred", archives, strings.Replace(debian12, " 500 http://deb.debian.org/debian bookworm/main", " 990 http://deb.debian.org/debian bookworm/main", 1), check.Fail, "has the priority 500, and v=12.15,o=Debian,"},
		{"Ubuntu's, pinned", archives, strings.Replace(ubuntu24, " 500 http://security", "  50 http://security", 1), check.Fail, "has the priority 50"},
		{"one package", packages, pinned, check.Fail, "the security archive has openssl 3.0.22-1~deb12u2, and 3.0.19-1~deb12u2 stays"},
		{"no such archive", archives, strings.ReplaceAll(debian12, "Debian-Security", "Debian"), check.Fail, "no security archive"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := texts{files: map[string]host.FileState{"/etc/os-release": debian, "/etc/x.conf": file("[Unit]\nConditionPathExists=/x\n")}, said: maps.Clone(said)}
			if strings.HasPrefix(tt.asked, "/") {
				m.files[tt.asked] = file(tt.text)
			} else {
				m.said[tt.asked] = tt.text
			}
			f, _ := host.Verify("host/updates", policy.Default(), host.NewFacts(m), time.Now())
			if f.Verdict != tt.want || !strings.Contains(f.Got, tt.got) {
				t.Errorf("%v: %s; want %v: %s", f.Verdict, f.Got, tt.want, tt.got)
			}
			if f.Verdict == check.Fail && f.Fix == "" {
				t.Error("it does not say what to do")
			}
		})
	}
}
