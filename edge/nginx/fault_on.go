//go:build faults

package nginx

import (
	"os"
	"syscall"
)

// fault kills this process where $NGINX_FAULT says, such as written.
func fault(place string) {
	if os.Getenv("NGINX_FAULT") == place {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}
