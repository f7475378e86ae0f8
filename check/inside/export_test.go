package inside

import "time"

// Bounds are those of the look at a disk.
func Bounds() (files int, while time.Duration) { return enough, awhile }

// Hurry bounds the look at a disk as on a large one, until done is called.
func Hurry(files int, while time.Duration) (done func()) {
	e, a := enough, awhile
	enough, awhile = files, while
	return func() { enough, awhile = e, a }
}
