package identity

// Remembered is how many tokens v remembers.
func Remembered(v *Verifier) int {
	v.cache.CleanUp()
	return v.cache.EstimatedSize()
}
