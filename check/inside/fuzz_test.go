package inside

import "testing"

// FuzzIndexed: a repository is anybody's, and its index whatever they like.
func FuzzIndexed(f *testing.F) {
	f.Add([]byte("DIRC\x00\x00\x00\x02\x00\x00\x00\x01"))
	f.Add([]byte("DIRC\x00\x00\x00\x04\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		names, err := indexed(b)
		if err == nil && len(b) < 12+62*len(names) {
			t.Errorf("%d names in %d bytes", len(names), len(b))
		}
	})
}
