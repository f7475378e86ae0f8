package identity

import (
	"github.com/ringwall/ringwall/check"
)

// passwordStorage: nothing of how passwords are kept goes over the wire.
var passwordStorage = Control{
	Meta: check.Meta{
		ID:    "identity/password-storage",
		Title: "Passwords are kept as argon2id hashes",
		Why:   "A stolen database gives away every password that was not hashed slowly.",
		Ref:   "RFC 9106; OWASP Password Storage; ASVS 5.0 V11.4.2; OWASP API2 2023; blueprint A3, T3",
	},
	Inside: "each hash begins with $argon2id$: sqlite3 ringwall.db 'SELECT substr(password_hash, 1, 31) FROM accounts'",
}
