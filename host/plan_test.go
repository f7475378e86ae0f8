package host

import "testing"

func TestNoFileHasTwoWriters(t *testing.T) {
	write := func(control, path string) Change { return Change{Control: control, File: &File{Path: path}} }
	command := Change{Control: "host/c", Command: &Command{Argv: []string{"true"}}}
	if err := contested([]Change{write("host/a", "/a"), command, write("host/b", "/b"), write("host/a", "/a")}); err != nil {
		t.Error(err)
	}
	const want = "host/a and host/b both write /x, and would undo each other's work: this is a mistake in Ringwall"
	if err := contested([]Change{write("host/a", "/x"), command, write("host/b", "/x")}); err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
}
