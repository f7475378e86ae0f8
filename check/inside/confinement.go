package inside

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/ringwall/ringwall/check"
)

var exposure = regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+) ([A-Z]+)`)

// confinement asks systemd what it keeps from the services that are reached from
// outside. SSH's is left out: it gives shells, which need everything.
var confinement = Check{
	Meta: check.Meta{
		ID:    "inside/confinement",
		Title: "A service that is reached from outside may do little on the server",
		Why:   "Whoever breaks into a proxy that systemd keeps nothing from has what its user has, and the next hole, in the kernel, is open to him.",
		Ref:   "systemd.exec(5); ASVS 5.0 V13.2.2; CWE-250; blueprint H7, T4",
		Layer: "host",
	},
	Verify: func(ctx context.Context, m *Machine) check.Finding {
		open, err := m.listening()
		if err != nil {
			return check.Unseen("what listens: %v", err)
		}
		var units, unknown []string
		for _, l := range open {
			unit := m.unit(l.pid)
			switch {
			case strings.HasPrefix(l.program, "sshd"), l.program == "systemd": // which listens for others
			case unit == "":
				unknown = append(unknown, l.String())
			case !slices.Contains(units, unit):
				units = append(units, unit)
			}
		}
		var loose, right []string
		for _, unit := range units {
			text, err := m.Run(ctx, "systemd-analyze", "security", "--no-pager", unit)
			level := exposure.FindStringSubmatch(text)
			switch {
			case level == nil:
				return check.Unseen("systemd-analyze security %s: %v", unit, err)
			case level[2] == "UNSAFE" || level[2] == "DANGEROUS":
				loose = append(loose, fmt.Sprintf("%s %s (%s)", unit, level[1], strings.ToLower(level[2])))
			default:
				right = append(right, unit+" "+level[1])
			}
		}
		switch {
		case len(loose) > 0:
			return check.Failed("systemd-analyze security says of 10: "+some(loose), "less than 9, at which systemd calls it unsafe",
				"systemctl edit UNIT: [Service] NoNewPrivileges=yes, PrivateTmp=yes, ProtectSystem=full, ProtectHome=yes, ProtectKernelModules=yes, RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX; then restart it, and see that it works")
		case len(unknown) > 0:
			return check.Unseen("%s: no service of systemd's, or not seen", some(unknown))
		case len(right) == 0:
			return check.Moot("no service but SSH is reached from outside")
		}
		return check.Passed("systemd-analyze security says of 10: %s", some(right))
	},
}

var service = regexp.MustCompile(`/([^/\n]+\.service)`)

// unit is the service that a process belongs to, "" for none.
func (m *Machine) unit(pid string) string {
	b, err := os.ReadFile(m.path("/proc/" + pid + "/cgroup"))
	found := service.FindAllSubmatch(b, -1)
	if pid == "" || err != nil || found == nil {
		return ""
	}
	return string(found[len(found)-1][1])
}
