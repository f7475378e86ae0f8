package nginx

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A reload begins workers anew, and nothing else has nginx read a file again: a file
// that changed after the oldest worker began is not what nginx runs with. What is on
// the disk, which nginx -T shows, says nothing about that.

// tick is how exactly the kernel counts when a process began.
const tick = 10 * time.Millisecond

// unread are those of the files that changed after a worker of the master began that
// takes connections. An error when there is no such worker to be seen. What is younger
// than its patience is left to who reloads for it.
func unread(pid int, patience map[string]time.Duration) (names []string, err error) {
	began, err := workersBegan(pid)
	if err != nil {
		return nil, fmt.Errorf("whether nginx has read its files: %w", err)
	}
	for _, name := range sorted(patience) {
		fi, err := os.Stat(name) // a certificate may be a link
		if err != nil {
			continue // that it is missing is said elsewhere
		}
		changed, err := changedAt(fi)
		if err != nil {
			return nil, err
		}
		if changed.After(began.Add(2*tick)) && time.Since(changed) > patience[name] {
			names = append(names, name)
		}
	}
	return names, nil
}

// workersBegan is when the oldest worker began that is not on its way out.
func workersBegan(pid int) (first time.Time, err error) {
	now, up, err := uptime()
	if err != nil {
		return first, err
	}
	for worker := range workers(pid) {
		folder := filepath.Join("/proc", strconv.Itoa(worker))
		title, err := os.ReadFile(filepath.Join(folder, "cmdline"))
		stat, err2 := os.ReadFile(filepath.Join(folder, "stat"))
		if err != nil || err2 != nil || strings.Contains(string(title), "shutting down") {
			continue // it has ended, or will
		}
		// proc(5): the fields after the name, of which the 20th is when it began.
		field := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if len(field) < 20 {
			continue
		}
		ticks, err := strconv.ParseInt(field[19], 10, 64)
		if err != nil {
			return first, fmt.Errorf("when process %d began: %w", worker, err)
		}
		if began := now.Add(time.Duration(ticks)*tick - up); first.IsZero() || began.Before(first) {
			first = began
		}
	}
	if first.IsZero() {
		return first, fmt.Errorf("no worker of process %d is to be seen", pid)
	}
	return first, nil
}
