package nginx

import (
	"fmt"
	"io/fs"
	"syscall"
	"time"
	"unsafe"
)

// uptime is the time since the machine started, sleep included, as the kernel counts
// the beginnings of processes, and when that was read. What /proc/uptime says may be a
// container's own.
func uptime() (now time.Time, up time.Duration, err error) {
	const boottime = 7 // clock_gettime(2)
	var ts syscall.Timespec
	now = time.Now()
	if _, _, no := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, boottime, uintptr(unsafe.Pointer(&ts)), 0); no != 0 {
		return now, 0, fmt.Errorf("the time since the start: %w", no)
	}
	return now, time.Duration(ts.Nano()), nil
}

// changedAt is when a file's content, name or mode changed last, which nobody can set.
func changedAt(fi fs.FileInfo) (time.Time, error) {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return time.Time{}, fmt.Errorf("when %s changed cannot be seen", fi.Name())
	}
	return time.Unix(st.Ctim.Unix()), nil
}
