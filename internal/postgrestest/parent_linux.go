package postgrestest

import "syscall"

// endWithParent has the kernel end the server with the test, however that ends.
func endWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGQUIT }
