// Package cost is what one argon2id hash costs. It is internal so that nobody
// outside of accounts can ask for a cheaper one: tests that do not judge the
// cost do.
package cost

// Params are the parameters of argon2id (RFC 9106).
type Params struct {
	Memory  uint32 // KiB
	Time    uint32 // passes
	Threads uint8
}

// OWASP is the first choice of OWASP's Password Storage Cheat Sheet. Its other
// rows cost an attacker the same; one thread and little memory let the most of
// them run side by side.
var OWASP = Params{Memory: 19 << 10, Time: 2, Threads: 1}
