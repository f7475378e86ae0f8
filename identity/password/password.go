// Package password hashes, verifies and judges the passwords of accounts.
//
// A password is text of 8 to 128 characters. Before it is hashed its spaces
// are made plain and it is brought to the composed form (RFC 8265, section
// 4.2), so that the same keys on two keyboards give the same password. Every
// byte counts: nothing is cut off.
//
// Hashes are argon2id (RFC 9106) in the PHC string format, with OWASP's first
// choice of parameters. bcrypt hashes of another system verify too and ask to
// be replaced.
//
// Hashing is made to be expensive, so it is bounded: no more than a share of
// the processors work at it, some wait for a short while, and all others get
// ErrBusy at once. A flood of sign-ins thus costs a fixed amount of memory and
// leaves the rest of the server its processors.
package password

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"net/http"
	"runtime"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"

	"github.com/ringwall/ringwall/identity/internal/cost"
)

// Bounds of a password.
const (
	MinChars = 8    // characters after preparation
	MaxChars = 128  // characters after preparation
	MaxBytes = 1024 // bytes as sent, before preparation
)

// Options are what differs between servers; the zero value is good for all.
type Options struct {
	// Running is how many hashes are computed at once; 0: half of GOMAXPROCS,
	// at least one. Each takes 19 MiB.
	Running int
	// Queue is how many more may wait for their turn; 0: 64 for each one
	// that runs.
	Queue int
	// Wait is how long one waits for its turn before ErrBusy; 0: 2 seconds.
	Wait time.Duration
	// BreachURL is the range API that Breached asks, PwnedPasswords or a
	// mirror of it; empty: Breached asks nobody.
	BreachURL string

	// Cost of a hash; zero: OWASP's. Nobody outside of accounts can set it.
	Cost cost.Params
}

// Passwords hashes, verifies and judges. Make it with New; it is safe for
// concurrent use, and a server has one, since the bound is its own.
type Passwords struct {
	gate      *gate
	breachURL string
	client    *http.Client

	decoy  hash // what an unknown account is verified against
	derive func(h *hash, pw []byte) []byte
}

// New takes the options as they are; negative ones count as zero.
func New(o Options) *Passwords {
	if o.Running <= 0 {
		o.Running = max(1, runtime.GOMAXPROCS(0)/2)
	}
	if o.Queue <= 0 {
		o.Queue = 64 * o.Running
	}
	if o.Wait <= 0 {
		o.Wait = 2 * time.Second
	}
	if o.Cost == (cost.Params{}) {
		o.Cost = cost.OWASP
	}
	return &Passwords{
		gate:      newGate(o.Running, o.Queue, o.Wait),
		breachURL: strings.TrimSuffix(o.BreachURL, "/"),
		client:    newBreachClient(),
		decoy:     hash{Params: o.Cost, salt: random(saltBytes), key: random(keyBytes)},
		derive:    derive,
	}
}

// Hash returns the hash that is stored for pw: about 100 bytes of ASCII. It
// does not judge the password, but refuses with a *Weak what Verify could
// never accept: more than MaxBytes, or no text. It returns ErrBusy when too
// many hashes are being computed, and ctx's error when ctx ends in the queue.
func (p *Passwords) Hash(ctx context.Context, pw string) (string, error) {
	text, err := prepare(pw)
	if err != nil {
		return "", err
	}
	if err := p.gate.enter(ctx); err != nil {
		return "", err
	}
	defer p.gate.leave()
	h := hash{Params: p.decoy.Params, salt: random(saltBytes), key: make([]byte, keyBytes)}
	h.key = p.derive(&h, []byte(text))
	return h.String(), nil
}

// Verify reports whether pw is the password of a stored hash, and whether the
// caller should store a new one from Hash: the hash is an imported one, or was
// made with other parameters than today's. It applies no rule about length or
// strength, so that a password that was fine once still signs in.
//
// For an empty hash (there is no such account) it does the same work as for a
// hash of today's parameters and reports false. So it does for one that it
// cannot read, or whose cost is over the bounds, with an error that is
// ErrHash: tell the operator, and answer the client as for a wrong password.
//
// It returns ErrBusy when too many hashes are being computed, and ctx's error
// when ctx ends in the queue: nothing is known about the password then.
// Whether pw is too long or no text shows in no other way than false.
func (p *Passwords) Verify(ctx context.Context, stored, pw string) (ok, rehash bool, err error) {
	if len(pw) > MaxBytes {
		return false, false, nil
	}
	if err := p.gate.enter(ctx); err != nil {
		return false, false, err
	}
	defer p.gate.leave()

	if isBcrypt(stored) {
		ok, err := verifyBcrypt(stored, pw)
		if err != nil {
			p.derive(&p.decoy, []byte(pw))
		}
		return ok, ok, err
	}
	h, known := &p.decoy, false
	if stored != "" {
		decoded, bad := parse(stored)
		if err = bad; bad == nil {
			h, known = &decoded, true
		}
	}
	text, bad := prepare(pw)
	if bad != nil {
		text, known = pw, false // the same work for what can not be right
	}
	same := subtle.ConstantTimeCompare(p.derive(h, []byte(text)), h.key) == 1
	ok = same && known
	return ok, ok && h.stale(p.decoy.Params), err
}

// prepare is the OpaqueString profile (RFC 8265, section 4.2) with two
// differences: characters that this version of Unicode does not know, and
// those that join (in emoji, in Persian), are let through.
func prepare(pw string) (string, error) {
	if len(pw) > MaxBytes {
		return "", Refuse(TooLong)
	}
	if !utf8.ValidString(pw) {
		return "", Refuse(NotText)
	}
	plain := true
	for _, r := range pw {
		if r < utf8.RuneSelf {
			if r < ' ' || r == 0x7f {
				return "", Refuse(NotText)
			}
			continue
		}
		plain = false
		if unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r) || unicode.Is(unicode.Noncharacter_Code_Point, r) {
			return "", Refuse(NotText)
		}
	}
	if plain {
		return pw, nil
	}
	return norm.NFC.String(strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Zs, r) {
			return ' '
		}
		return r
	}, pw)), nil
}

func derive(h *hash, pw []byte) []byte {
	return argon2.IDKey(pw, h.salt, h.Time, h.Memory, h.Threads, uint32(len(h.key)))
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails: crypto/rand ends the program instead
	return b
}
