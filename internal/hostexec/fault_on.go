//go:build faults

package hostexec

import (
	"fmt"
	"os"
	"syscall"
)

// fault kills this process where $HOSTEXEC_FAULT says, such as 3:begun; or runs
// the command of $HOSTEXEC_FAULT_RUN there.
func fault(step int, place string) {
	if os.Getenv("HOSTEXEC_FAULT") == fmt.Sprintf("%d:%s", step, place) {
		if command := os.Getenv("HOSTEXEC_FAULT_RUN"); command != "" {
			_, _ = run("sh", "-c", command)
			return
		}
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}
