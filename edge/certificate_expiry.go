package edge

import (
	"crypto/x509"
	"fmt"
	"time"
)

// An Expiry says when a certificate comes to its end and nobody has renewed it:
// with 30, 14, 7 and 1 days left, and at the end, each once for a certificate.
// Of those, only what lies in the last third of its life counts: until then
// nothing is late. The zero value is ready; it is not safe for concurrent use.
type Expiry struct {
	leaf *x509.Certificate
	told int // of expiryDays: those before it were said
}

var expiryDays = []int{30, 14, 7, 1, 0}

// Warning is a sentence when one is due, and otherwise "". When several are due
// at once, as after a start, it is the last of them.
func (e *Expiry) Warning(leaf *x509.Certificate, now time.Time) string {
	if e.leaf == nil || !e.leaf.Equal(leaf) {
		e.leaf, e.told = leaf, 0
	}
	left, life := leaf.NotAfter.Sub(now), leaf.NotAfter.Sub(leaf.NotBefore)
	due := e.told
	for i := e.told; i < len(expiryDays); i++ {
		if before := time.Duration(expiryDays[i]) * day; left <= before && 3*before < life {
			due = i + 1
		}
	}
	if due == e.told {
		return ""
	}
	e.told = due
	if left <= 0 {
		return fmt.Sprintf("expired on %s: clients refuse it; renew it", leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	return fmt.Sprintf("expires on %s, in %s: renew it", leaf.NotAfter.UTC().Format(time.RFC3339), days(left))
}
