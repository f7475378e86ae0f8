package state

import (
	"fmt"
	"os"
	"syscall"
)

const oPath = 0x200000 // O_PATH, which package syscall does not name

// ChmodSocket gives a socket a mode. When somebody who can write in its folder has
// put a link or anything else in its place, that is an error, and is left as it is.
func ChmodSocket(path string, mode os.FileMode) error {
	fd, err := syscall.Open(path, oPath|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer syscall.Close(fd)
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&syscall.S_IFMT != syscall.S_IFSOCK {
		return fmt.Errorf("%s is no socket any more: somebody has replaced it", path)
	}
	return os.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), mode)
}
