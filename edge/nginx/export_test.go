package nginx

import "testing"

// MachineAt has the machine's own files go below dir until the test ends, with systemd or
// without.
func MachineAt(t *testing.T, dir string, systemd bool) {
	was := []string{logrotateFolder, systemdFolder, systemdRuns}
	logrotateFolder, systemdFolder, systemdRuns = dir, dir, dir+"/none"
	if systemd {
		systemdRuns = dir
	}
	t.Cleanup(func() { logrotateFolder, systemdFolder, systemdRuns = was[0], was[1], was[2] })
}
