package inside

import (
	"encoding/binary"
	"errors"
	"syscall"
)

// capable reports a program that has more of root's rights by capabilities(7) than
// to serve a small port, or to send a packet of its own. Those that are good only
// in a user's namespace, as containers without root have them, give him nothing.
func capable(path string) bool {
	const harmless = 1<<10 | 1<<11 | 1<<13 // CAP_NET_BIND_SERVICE, _BROADCAST, _RAW
	var b [64]byte
	n, err := syscall.Getxattr(path, "security.capability", b[:])
	if err != nil {
		return errors.Is(err, syscall.ERANGE)
	}
	// struct vfs_ns_cap_data: a version, pairs of permitted and inheritable, and from
	// version 3 on who is root in the namespace.
	word := func(i int) uint32 { return binary.LittleEndian.Uint32(b[4*i:]) }
	switch version := word(0) >> 24; {
	case version == 1 && n == 12:
		return (word(1)|word(2))&^harmless != 0
	case version == 3 && n == 24 && word(5) != 0:
		return false
	case version == 2 && n == 20, version == 3 && n == 24:
		return (word(1)|word(2))&^harmless != 0 || word(3)|word(4) != 0
	}
	return true // what cannot be read
}

// raisesNobody reports a file system on which no program changes who runs it: one
// that is mounted so, or that is another machine's.
func raisesNobody(path string) bool {
	const nosuid = 2 // ST_NOSUID, statvfs(3)
	var s syscall.Statfs_t
	if err := syscall.Statfs(path, &s); err != nil {
		return !errors.Is(err, syscall.ENAMETOOLONG) // else it went away
	}
	switch uint32(s.Type) {
	case 0x6969, 0xff534d42, 0xfe534d42, 0x517b, 0x01021997, 0x65735546, 0x73717368: // NFS, CIFS, SMB2, SMB, 9P, FUSE, squashfs
		return true
	}
	return s.Flags&nosuid != 0
}

// accessListOf is the access list of a file, or the one that files get which are
// made in a folder. A file system without such lists gives none.
func accessListOf(path string, inherited bool) (accessList, error) {
	name := "system.posix_acl_access"
	if inherited {
		name = "system.posix_acl_default"
	}
	b := make([]byte, 256)
	n, err := syscall.Getxattr(path, name, b)
	if errors.Is(err, syscall.ERANGE) {
		b = make([]byte, 1<<16) // the most that the kernel keeps
		n, err = syscall.Getxattr(path, name, b)
	}
	switch {
	case errors.Is(err, syscall.ENODATA), errors.Is(err, syscall.ENOTSUP), errors.Is(err, syscall.ENOENT):
		return accessList{}, nil
	case err != nil:
		return accessList{}, err
	}
	return parseAccessList(b[:n])
}
