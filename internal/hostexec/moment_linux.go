package hostexec

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Now is the time since this machine started, sleep included, as the start
// times of processes are counted.
func Now() (Moment, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return Moment{}, err
	}
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return Moment{Boot: strings.TrimSpace(string(id)), Since: time.Duration(ts.Nano())}, err
}
