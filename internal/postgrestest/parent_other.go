//go:build !linux

package postgrestest

import "syscall"

// endWithParent does nothing: a test that is killed leaves its server behind.
func endWithParent(*syscall.SysProcAttr) {}
