//go:build !faults

package hostexec

// fault does nothing. With the build tag faults, for tests alone, the process
// can be killed at each of these places.
func fault(int, string) {}
