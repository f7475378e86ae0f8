package chain

import "github.com/ringwall/ringwall/audit"

// Of the inside, for tests.
var Document = document

func HasShare(k audit.Kind) bool {
	_, ok := shares[k]
	return ok
}
