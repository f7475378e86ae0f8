package policy

import (
	"fmt"
	"log/slog"
)

// A Secret is a value that no print, log, JSON or YAML of it ever shows. Only
// Reveal gives it away. The zero value is no secret at all.
type Secret struct {
	value *string // a pointer, so that not even a print of a struct around it follows
}

const redacted = "[redacted]"

// NewSecret wraps a value, for programs that get their secrets elsewhere. It
// is not judged.
func NewSecret(value string) Secret { return Secret{&value} }

// Reveal returns the value, "" when there is none. Grep for it to see every
// place that handles secrets in the clear.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// Bytes decodes a base64 secret, in the standard or the URL alphabet, padded or
// not; nil when it is none. Those that Load found for a field with a bytes tag
// have that length.
func (s Secret) Bytes() []byte {
	b, _ := decodeBase64(s.Reveal())
	return b
}

// Set reports whether there is a value.
func (s Secret) Set() bool { return s.Reveal() != "" }

func (s Secret) String() string               { return redacted }
func (s Secret) GoString() string             { return redacted }
func (s Secret) Format(f fmt.State, _ rune)   { _, _ = f.Write([]byte(redacted)) }
func (s Secret) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
func (s Secret) MarshalYAML() (any, error)    { return redacted, nil }
