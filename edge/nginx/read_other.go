//go:build !linux

package nginx

import (
	"errors"
	"io/fs"
	"time"
)

var errNotLinux = errors.New("only Linux shows that")

func uptime() (time.Time, time.Duration, error) { return time.Time{}, 0, errNotLinux }
func changedAt(fs.FileInfo) (time.Time, error)  { return time.Time{}, errNotLinux }
