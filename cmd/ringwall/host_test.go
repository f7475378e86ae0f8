package main

import (
	"path/filepath"
	"testing"
)

func TestStartedBySystemd(t *testing.T) {
	folder := t.TempDir()
	if err := startedBySystemd(folder); err != nil {
		t.Error(err)
	}
	if startedBySystemd(filepath.Join(folder, "none")) == nil {
		t.Error("a plan is made where nobody answers")
	}
}
