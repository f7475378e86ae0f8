package policy

import (
	"reflect"
	"strings"
)

// A secretField is a place for a secret, as the secret tag names it.
type secretField struct {
	name  string // identity_token_key
	path  string // identity.token_key
	index []int
}

func (s secretField) env() string { return "RINGWALL_" + strings.ToUpper(s.name) }

// secrets lists the secrets that a policy may have.
func secrets() []secretField {
	var out []secretField
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Identity]()) {
		if name := f.Tag.Get("secret"); name != "" {
			out = append(out, secretField{name: name, path: "identity." + strings.TrimPrefix(name, "identity_")})
		}
	}
	return out
}

func (l *loader) secrets() {}
