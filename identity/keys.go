package identity

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// tokenType is what tells an access token from any other JWT of the same
// issuer (RFC 9068, 2.1).
const tokenType = "at+jwt"

// Keys is a set of signing keys: one that signs, and others that only verify.
// It is immutable and safe for concurrent use. No print of it shows a key.
type Keys struct {
	private ed25519.PrivateKey
	kid     string // of private
	public  map[string]ed25519.PublicKey
	revoked map[string]ed25519.PublicKey // tell a token that was good from a forged one; make none good
	jwks    []byte
}

// A KeySource gives the keys as they are now. Keys are a source that never
// changes, a KeyRing is one that does. It is asked for every token and must be
// safe for concurrent use.
type KeySource interface{ Keys() *Keys }

// Keys returns k.
func (k *Keys) Keys() *Keys { return k }

// NewKeys makes a set of Ed25519 keys from their seeds of 32 bytes. current
// signs; previous only verify, until the tokens they signed have ended. A
// KeyRing does this and keeps them.
func NewKeys(current []byte, previous ...[]byte) (*Keys, error) {
	var private ed25519.PrivateKey
	var others []ed25519.PublicKey
	for i, seed := range append([][]byte{current}, previous...) {
		if len(seed) != ed25519.SeedSize {
			return nil, fmt.Errorf("make identity keys: seed %d has %d bytes, want %d random bytes", i, len(seed), ed25519.SeedSize)
		}
		if key := ed25519.NewKeyFromSeed(seed); i == 0 {
			private = key
		} else {
			others = append(others, publicOf(key))
		}
	}
	return newKeys(private, others...)
}

// newKeys makes the set of the key that signs and those that only verify.
func newKeys(private ed25519.PrivateKey, others ...ed25519.PublicKey) (*Keys, error) {
	k := &Keys{private: private, kid: Thumbprint(publicOf(private)), public: map[string]ed25519.PublicKey{}}
	var set struct {
		Keys []jwk `json:"keys"`
	}
	for i, public := range append([]ed25519.PublicKey{publicOf(private)}, others...) {
		kid := Thumbprint(public)
		if k.public[kid] != nil {
			return nil, fmt.Errorf("make identity keys: key %d stands twice", i)
		}
		k.public[kid] = public
		set.Keys = append(set.Keys, jwk{Kty: "OKP", Crv: "Ed25519", X: base64.RawURLEncoding.EncodeToString(public),
			Kid: kid, Use: "sig", Alg: "EdDSA"})
	}
	var err error
	if k.jwks, err = json.Marshal(set); err != nil {
		return nil, fmt.Errorf("make identity keys: %w", err)
	}
	return k, nil
}

func publicOf(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

// Format keeps the private key out of every print.
func (k Keys) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "identity keys: %s signs, %d verify", k.kid, len(k.public))
}

// jwk is a public key of RFC 8037, 2.
type jwk struct {
	Kty string `json:"kty"`
	Crv string `json:"crv"`
	X   string `json:"x"`
	Kid string `json:"kid"`
	Use string `json:"use"`
	Alg string `json:"alg"`
}

// JWKS is the JSON Web Key Set of the public keys (RFC 7517, 5). The caller
// must not change it.
func (k *Keys) JWKS() []byte { return k.jwks }

// Thumbprint is the id of a key: the SHA-256 of its required members in their
// canonical form (RFC 7638, 3; RFC 8037, 2).
func Thumbprint(key ed25519.PublicKey) string {
	sum := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + base64.RawURLEncoding.EncodeToString(key) + `"}`))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Claims are what an access token says. Its id (jti) is chosen by Mint.
type Claims struct {
	Issuer   string
	Audience string
	Subject  string
	Session  string // "": none
	Roles    []string
	IssuedAt time.Time // zero: now
}

// tokenClaims is the token's body: RFC 9068, 2.2, and sid and roles.
type tokenClaims struct {
	jwt.RegisteredClaims
	Session string   `json:"sid,omitempty"`
	Roles   []string `json:"roles,omitempty"`
}

// Bounds of what a token may say.
const (
	maxRoles = 32
	maxName  = 256 // bytes of a subject, a session, a token id or a role
)

var errClaims = errors.New("a required claim is missing or a claim is too long")

// Validate holds the rules that the library does not know; it calls it.
func (c *tokenClaims) Validate() error {
	for _, s := range []string{c.Subject, c.ID} {
		if s == "" || len(s) > maxName {
			return fmt.Errorf("%w: sub or jti", errClaims)
		}
	}
	if c.IssuedAt == nil {
		return fmt.Errorf("%w: iat", errClaims)
	}
	if len(c.Session) > maxName || len(c.Roles) > maxRoles {
		return fmt.Errorf("%w: sid or roles", errClaims)
	}
	for _, r := range c.Roles {
		if r == "" || len(r) > maxName {
			return fmt.Errorf("%w: a role", errClaims)
		}
	}
	return nil
}

// Mint signs an access token that ends after ttl. It refuses claims that
// Verify would refuse. A token of more than MaxLifetime may outlive its key, and
// what a Verifier remembers of the end of its session.
func (k *Keys) Mint(c Claims, ttl time.Duration) (string, error) {
	return k.sign(tokenType, c, ttl)
}

func (k *Keys) sign(typ string, c Claims, ttl time.Duration) (string, error) {
	if c.IssuedAt.IsZero() {
		c.IssuedAt = time.Now()
	}
	claims := &tokenClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: c.Issuer, Subject: c.Subject, Audience: jwt.ClaimStrings{c.Audience}, ID: rand.Text(),
			IssuedAt: jwt.NewNumericDate(c.IssuedAt), ExpiresAt: jwt.NewNumericDate(c.IssuedAt.Add(ttl)),
		},
		Session: c.Session, Roles: c.Roles,
	}
	if c.Issuer == "" || c.Audience == "" || ttl <= 0 {
		return "", errors.New("mint a token: it needs an issuer, an audience and a lifetime")
	}
	if err := claims.Validate(); err != nil {
		return "", fmt.Errorf("mint a token: %w", err)
	}
	t := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims)
	t.Header["typ"], t.Header["kid"] = typ, k.kid
	s, err := t.SignedString(k.private)
	if err != nil {
		return "", fmt.Errorf("mint a token: %w", err)
	}
	return s, nil
}
