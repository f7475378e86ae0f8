package main

import (
	"os"
	"testing"
)

// TestColors: a terminal that nobody names gets none.
func TestColors(t *testing.T) {
	device, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	t.Setenv("NO_COLOR", "")
	for term, want := range map[string]bool{"": false, "dumb": false, "xterm": true} {
		t.Setenv("TERM", term)
		if got := colors(device); got != want {
			t.Errorf("TERM=%q: %v", term, got)
		}
	}
}
