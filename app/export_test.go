package app

import (
	"net/http"
	"slices"

	"github.com/ringwall/ringwall/policy"
)

// NewWithout is New with some controls taken out of the list.
func NewWithout(p *policy.Policy, next http.Handler, deps Deps, ids ...string) (*Ring, error) {
	return build(p, next, deps, slices.DeleteFunc(Controls(), func(c Control) bool { return slices.Contains(ids, c.ID) }))
}
