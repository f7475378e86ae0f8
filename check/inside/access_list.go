package inside

import (
	"encoding/binary"
	"errors"
)

// An accessList is what acl(5) gives beside the mode of a file. The zero value is a
// file without one.
type accessList struct {
	there     bool
	group     uint16 // what the group of the file may: its mode then says what all of the list may at most
	everybody uint16
	more      []grant
}

// A grant is what a line of it gives a user or a group.
type grant struct {
	group bool
	id    uint32
	perm  uint16
}

const mayRead, mayWrite = 4, 2

// parseAccessList reads the extended attribute, which is empty of a file without a
// list.
func parseAccessList(b []byte) (list accessList, err error) {
	const user, itsGroup, group, mask, other = 0x02, 0x04, 0x08, 0x10, 0x20
	if len(b) == 0 {
		return list, nil
	}
	if len(b) < 4 || len(b)%8 != 4 || binary.LittleEndian.Uint32(b) != 2 {
		return list, errors.New("its access list has a form that is not known")
	}
	list.there = true
	most := uint16(7)
	for e := b[4:]; len(e) > 0; e = e[8:] {
		switch tag, perm := binary.LittleEndian.Uint16(e), binary.LittleEndian.Uint16(e[2:]); tag {
		case user, group:
			list.more = append(list.more, grant{tag == group, binary.LittleEndian.Uint32(e[4:]), perm})
		case itsGroup:
			list.group = perm
		case mask:
			most = perm
		case other:
			list.everybody = perm
		}
	}
	list.group &= most
	for i := range list.more {
		list.more[i].perm &= most
	}
	return list, nil
}
