//go:build !faults

package nginx

// fault does nothing. With the build tag faults, for tests alone, an install can
// be killed at each of these places.
func fault(string) {}
