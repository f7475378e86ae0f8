package password

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/bcrypt"

	"github.com/ringwall/ringwall/identity/internal/cost"
)

// ErrHash says that a stored hash cannot be read, or that to compute it would
// cost more than the bounds allow. The text of an error that is ErrHash holds
// nothing of the hash.
var ErrHash = errors.New("stored password hash")

const (
	saltBytes = 16 // RFC 9106, section 3.1
	keyBytes  = 32
)

// What a stored hash may ask for. Whoever can write to the store must not be
// able to take the memory or the processors of the server. RFC 9106's second
// recommendation (64 MiB, 3 passes, 4 threads) and the defaults of other
// systems' libraries are within.
const (
	maxMemory  = 128 << 10 // KiB
	maxTime    = 10
	maxThreads = 16
	maxWork    = 512 << 10 // KiB times passes: a second of one processor at most

	maxBcryptCost = 14 // a second of one processor, half as long at 13
)

// A hash is an argon2id hash, version 0x13.
type hash struct {
	cost.Params
	salt, key []byte
}

var b64 = base64.RawStdEncoding.Strict()

// String is the PHC string format.
func (h *hash) String() string {
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", h.Memory, h.Time, h.Threads, b64.EncodeToString(h.salt), b64.EncodeToString(h.key))
}

func (h *hash) stale(today cost.Params) bool {
	return h.Params != today || len(h.salt) < saltBytes || len(h.key) != keyBytes
}

// parse reads what String writes and nothing else: the parameters in this
// order, decimal numbers without zeros in front, base64 without padding and
// with no stray bits. It takes no more memory than the string does.
func parse(s string) (hash, error) {
	part := strings.SplitN(s, "$", 7)
	if len(part) != 6 || part[0] != "" || part[1] != "argon2id" {
		return hash{}, fmt.Errorf("%w: neither argon2id in the PHC string format nor bcrypt", ErrHash)
	}
	if part[2] != "v=19" {
		return hash{}, fmt.Errorf("%w: argon2id of another version than 19", ErrHash)
	}
	var h hash
	number := strings.SplitN(part[3], ",", 4)
	if len(number) != 3 {
		return hash{}, fmt.Errorf("%w: its parameters are not m=,t=,p=", ErrHash)
	}
	var value [3]uint64
	for i, name := range [...]string{"m=", "t=", "p="} {
		digits, named := strings.CutPrefix(number[i], name)
		n, err := strconv.ParseUint(digits, 10, 32)
		if !named || err != nil || strconv.FormatUint(n, 10) != digits {
			return hash{}, fmt.Errorf("%w: its parameters are not m=,t=,p=", ErrHash)
		}
		value[i] = n
	}
	m, t, p := value[0], value[1], value[2]
	if t < 1 || t > maxTime || p < 1 || p > maxThreads || m < 8*p || m > maxMemory || m*t > maxWork {
		return hash{}, fmt.Errorf("%w: its cost is out of bounds: at most %d KiB, %d passes, %d KiB times passes, %d threads, and at least 8 KiB for each thread", ErrHash, maxMemory, maxTime, maxWork, maxThreads)
	}
	h.Params = cost.Params{Memory: uint32(m), Time: uint32(t), Threads: uint8(p)}

	var errSalt, errKey error
	h.salt, errSalt = decode(part[4])
	h.key, errKey = decode(part[5])
	if errSalt != nil || errKey != nil || len(h.salt) < 8 || len(h.salt) > 64 || len(h.key) < 16 || len(h.key) > 64 {
		return hash{}, fmt.Errorf("%w: a salt of 8 to 64 and a hash of 16 to 64 bytes in base64 without padding are wanted", ErrHash)
	}
	return h, nil
}

// decode is strict also about line ends, which package base64 skips.
func decode(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, ErrHash
	}
	return b64.DecodeString(s)
}

// isBcrypt tells by the prefixes that other systems write: $2y$ is PHP's and
// Apache's name for what OpenBSD calls $2b$, and all three are computed alike.
func isBcrypt(s string) bool {
	return strings.HasPrefix(s, "$2a$") || strings.HasPrefix(s, "$2b$") || strings.HasPrefix(s, "$2y$")
}

// verifyBcrypt takes pw byte for byte, as the system did that made the hash.
// bcrypt reads 72 bytes: what follows them does not count here, and begins to
// count with the argon2id hash that replaces this one.
func verifyBcrypt(s, pw string) (bool, error) {
	if len(s) != 60 || s[6] != '$' || s[4] < '0' || s[4] > '9' || s[5] < '0' || s[5] > '9' {
		return false, fmt.Errorf("%w: not the 60 bytes of a bcrypt hash", ErrHash)
	}
	if cost := int(s[4]-'0')*10 + int(s[5]-'0'); cost > maxBcryptCost {
		return false, fmt.Errorf("%w: bcrypt at a cost of %d, at most %d is computed", ErrHash, cost, maxBcryptCost)
	}
	switch err := bcrypt.CompareHashAndPassword([]byte(s), []byte(pw)); {
	case err == nil:
		return true, nil
	case errors.Is(err, bcrypt.ErrMismatchedHashAndPassword):
		return false, nil
	default:
		return false, fmt.Errorf("%w: bcrypt cannot read it", ErrHash)
	}
}
