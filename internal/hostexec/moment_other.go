//go:build !linux

package hostexec

import "errors"

// Now is for Linux only, as all of this package is.
func Now() (Moment, error) { return Moment{}, errors.New("this is not Linux") }
