package host

import (
	"slices"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/policy"
)

// A Control is one thing about the server: what is changed for it, and how the
// server itself shows that it is in force. The list of all is in controls.go.
type Control struct {
	check.Meta

	// Plan returns the changes that are missing, in order, and none when the
	// server is right already. An error says what stands in the way and what to
	// do about it; nothing at all is then applied, of no control, unless it is a Hint.
	Plan func(*policy.Policy, *Facts) ([]Change, error)

	// Ready is asked once all that is early is done, before anything is closed.
	// Its error puts everything back. Nil: there is nothing to ask.
	Ready func(*policy.Policy, *Facts) error

	// Verify judges the effective state (sshd -T, the live ruleset, the unit as
	// systemd has it), never the files that Plan writes and never Plan itself.
	// What it could not see is Unknown, with the reason.
	Verify func(*policy.Policy, *Facts) check.Finding

	// Door marks a control that can lock the owner out. After its changes
	// anything but a pass puts everything back at once; after those of another
	// control only a failure does.
	Door bool
}

// A Change is one step, as data. Exactly one of the five kinds is set. Each is
// such that it can be undone knowing only what was there before, that doing it
// twice is doing it once, and that it can be undone when it was half done.
type Change struct {
	Control string `json:"control"`         // filled in by Plan
	Title   string `json:"title"`           // what it does, such as "allow 22/tcp in the firewall"
	Early   bool   `json:"early,omitempty"` // it only opens or adds: it comes before every change that closes anything

	File    *File    `json:"file,omitempty"`
	Package *Package `json:"package,omitempty"`
	Unit    *Unit    `json:"unit,omitempty"`
	User    *User    `json:"user,omitempty"`
	Command *Command `json:"command,omitempty"`
}

// A File is a file or a folder as it should be. It is replaced in one step, so
// that nobody sees half of it. Undone, what was there before is there again.
type File struct {
	Path    string `json:"path"`
	Content string `json:"content,omitempty"`
	Mode    uint32 `json:"mode"`            // permission bits, such as 0644
	Owner   string `json:"owner,omitempty"` // user:group; "": root:root
	Folder  bool   `json:"folder,omitempty"`
	Absent  bool   `json:"absent,omitempty"` // it should not be there

	// Check is a command that judges the file once it is in place, before
	// anything reads it: sshd -t. When it fails the file goes back, and all else.
	Check []string `json:"check,omitempty"`

	// Reader is who reads the file, and does so again once it is back, also when
	// nobody told it that the file came: it may have started in between, with the
	// machine.
	Reader *Unit `json:"reader,omitempty"`
}

// A Package is what should be installed, without what is only recommended.
// Undone, what came with it is removed again, and nothing else.
type Package struct {
	Names []string `json:"names"`
}

// A Unit is a unit of systemd. Undone, it is as it was: enabled, running or
// masked. One that is read again is read once more when its files are back.
type Unit struct {
	Name string `json:"name"`
	Do   UnitDo `json:"do"`
}

// UnitDo is what is done to a unit.
type UnitDo string

const (
	Enable  UnitDo = "enable"  // enabled, and started now
	Disable UnitDo = "disable" // stopped and disabled
	Mask    UnitDo = "mask"    // stopped, and cannot be started
	Reload  UnitDo = "reload"  // reads its files again, when it runs
	Restart UnitDo = "restart" // starts again, when it runs
)

// A User is an account, with a home and without a password, that is made when
// it is missing, and groups that it is in, made when missing. Undone, what was
// made is removed, with its home.
type User struct {
	Name   string   `json:"name"`
	Groups []string `json:"groups,omitempty"`
}

// A Command is for what has no file of its own to write: a firewall's rules, a
// locked password. Undone, Files are put back and Undo runs, which must do no
// harm when the command never ran; and what it leaves is gone.
type Command struct {
	Argv  []string `json:"argv"`
	Files []string `json:"files,omitempty"` // what it changes
	Undo  []string `json:"undo,omitempty"`

	// Leaves are files and folders that are not there yet, a folder first, and that
	// others write once they are: no drift, whatever is in them.
	Leaves []string `json:"leaves,omitempty"`
}

// Controls is the ring, in the order in which it is applied. A new control is
// one new file in this package and one line there.
func Controls() []Control { return slices.Clone(controls) }
