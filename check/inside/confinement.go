package inside

import (
	"context"
	"errors"
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
			served, err := m.serving(ctx, l)
			if err != nil {
				unknown = append(unknown, fmt.Sprintf("%s: %v", l, err))
			}
			for _, unit := range served {
				if !slices.Contains(shells, unit) && !slices.Contains(units, unit) {
					units = append(units, unit)
				}
			}
		}
		var loose, right []string
		for _, unit := range units {
			text, err := m.Run(ctx, "systemd-analyze", "security", "--no-pager", unit)
			level := exposure.FindStringSubmatch(text)
			switch {
			case level == nil:
				unknown = append(unknown, fmt.Sprintf("systemd-analyze security %s: %v", unit, err))
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
			return check.Unseen("%s", some(unknown))
		case len(right) == 0:
			return check.Moot("no service but SSH is reached from outside")
		}
		return check.Passed("systemd-analyze security says of 10: %s", some(right))
	},
}

// shells are the services that give them.
var shells = []string{"ssh.service", "sshd.service", "ssh@.service", "sshd@.service"}

// serving are the services behind a listener: those of its processes, or the one
// that systemd starts when somebody comes.
func (m *Machine) serving(ctx context.Context, l listener) (units []string, err error) {
	for _, pid := range l.pids {
		unit := m.unit(pid)
		switch {
		case pid == "1": // which holds it for others
		case unit == "":
			return units, errors.New("no service of systemd's, or not seen")
		case !slices.Contains(units, unit):
			units = append(units, unit)
		}
	}
	if len(units) > 0 {
		return units, nil
	}
	if !slices.Contains(l.pids, "1") {
		return nil, errors.New("no service of systemd's, or not seen")
	}
	text, err := m.Run(ctx, "systemctl", "list-sockets", "--no-legend", "--no-pager", "--plain")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(text) { // address, socket, what it starts
		word := strings.Fields(line)
		if len(word) == 3 && strings.HasSuffix(word[0], fmt.Sprintf(":%d", l.port)) {
			unit := word[2]
			if template, instance, _ := strings.Cut(unit, "@"); instance != "" { // one for each who comes
				unit = template + "@.service"
			}
			units = append(units, unit)
		}
	}
	if len(units) == 0 {
		err = errors.New("systemd holds it, and does not say for whom")
	}
	return units, err
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
