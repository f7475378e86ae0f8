// Package hostexec changes a machine, and is the only code of Ringwall's that
// does. It makes no plans: it carries out the changes of package host, one after
// the other, so that each can be undone whatever happens in between.
//
// Before a change, what was there is copied and the journal says that the change
// begins, both on the disk; only then it is made. A timer of systemd, which
// needs neither this process nor the session that started it, undoes all that
// the journal names unless the owner confirms. After a restart of the machine
// it does so at once.
package hostexec
