//go:build !linux

package nginx

import "syscall"

const soReusePort = syscall.SO_REUSEPORT
