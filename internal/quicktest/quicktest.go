// Package quicktest keeps make quick quick.
package quicktest

import (
	"testing"

	"github.com/ringwall/ringwall/internal/race"
)

// Skip leaves a test out of make quick, for what it does that takes long: starting
// processes, or waiting for seconds. The run with the race detector, which is
// short as well, has it.
func Skip(t testing.TB, why string) {
	t.Helper()
	if testing.Short() && !race.Enabled {
		t.Skip("make quick leaves it out: it " + why)
	}
}
