package nginx

import "testing"

// MachineAt has the machine's own files go below dir until the test ends.
func MachineAt(t *testing.T, dir string) {
	was := []string{logrotateFolder, systemdFolder, systemdRuns}
	logrotateFolder, systemdFolder, systemdRuns = dir, dir, dir
	t.Cleanup(func() { logrotateFolder, systemdFolder, systemdRuns = was[0], was[1], was[2] })
}
