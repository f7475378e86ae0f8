package identity

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A refreshToken is an opaque secret of 256 random bits that continues one
// session. Its text is "rw1.", the family, a dot and the secret in base64url.
//
// All tokens of a session have the same family, 130 random bits that nobody else
// learns: the session's ID, which is in access tokens and in the audit chain, is a
// hash of it. So an old token is told from one that was invented by who knows
// the ID, without keeping old sums.
type refreshToken struct {
	family string
	secret [32]byte
}

const (
	refreshPrefix = "rw1."
	familyLength  = 26
	refreshLength = len(refreshPrefix) + familyLength + 1 + 43
)

// refreshText is strict: one secret has one spelling.
var refreshText = base64.RawURLEncoding.Strict()

// newFamily is 130 random bits in lower-case base32.
func newFamily() string { return strings.ToLower(rand.Text()) }

var base32Text = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// sessionID is the ID of the session that the token continues: 130 bits of the
// SHA-256 of its family, in lower-case base32.
func (t refreshToken) sessionID() string {
	sum := sha256.Sum256([]byte("ringwall session 1 " + t.family))
	return base32Text.EncodeToString(sum[:])[:26]
}

func newRefreshToken(family string) refreshToken {
	t := refreshToken{family: family}
	rand.Read(t.secret[:]) // never fails: crypto/rand
	return t
}

// parseRefreshToken reads attackers' bytes: ok is false unless they have the
// very form that String gives.
func parseRefreshToken(s string) (t refreshToken, ok bool) {
	if len(s) != refreshLength || !strings.HasPrefix(s, refreshPrefix) {
		return t, false
	}
	family, secret, _ := strings.Cut(s[len(refreshPrefix):], ".")
	if len(family) != familyLength || strings.Trim(family, "abcdefghijklmnopqrstuvwxyz234567") != "" {
		return t, false
	}
	b, err := refreshText.DecodeString(secret)
	if err != nil || len(b) != len(t.secret) {
		return t, false
	}
	t.family = family
	copy(t.secret[:], b)
	return t, true
}

func (t refreshToken) String() string {
	return refreshPrefix + t.family + "." + refreshText.EncodeToString(t.secret[:])
}

// sum is what the store keeps of a token. A fast hash is enough: 256 random
// bits cannot be guessed.
func (t refreshToken) sum() []byte {
	s := sha256.Sum256([]byte(t.String()))
	return s[:]
}

// seal encrypts the token that follows t so that only who has t can open it:
// whoever reads the store, where neither t nor the key is, learns nothing. The
// sealed bytes are good for this session and generation only.
func (t refreshToken) seal(next refreshToken, generation int64) ([]byte, error) {
	aead, err := t.aead()
	if err != nil {
		return nil, fmt.Errorf("seal a refresh token: %w", err)
	}
	return aead.Seal(nil, nil, next.secret[:], t.about(generation)), nil
}

// open undoes seal. An error means that the stored bytes are damaged.
func (t refreshToken) open(sealed []byte, generation int64) (refreshToken, error) {
	aead, err := t.aead()
	if err != nil {
		return refreshToken{}, fmt.Errorf("open a sealed refresh token: %w", err)
	}
	b, err := aead.Open(nil, nil, sealed, t.about(generation))
	if err != nil || len(b) != len(t.secret) {
		return refreshToken{}, errors.New("open a sealed refresh token: the stored successor is damaged")
	}
	next := refreshToken{family: t.family}
	copy(next.secret[:], b)
	return next, nil
}

// aead is AES-256-GCM with a random nonce. Its key is derived from t (HKDF,
// RFC 5869) and has nothing in common with t's sum.
func (t refreshToken) aead() (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, t.secret[:], nil, "ringwall refresh token successor 1", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// about is authenticated with the sealed successor.
func (t refreshToken) about(generation int64) []byte {
	return strconv.AppendInt([]byte(t.family+"."), generation, 10)
}
