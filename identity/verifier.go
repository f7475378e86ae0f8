package identity

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/maypok86/otter/v2"

	"github.com/ringwall/ringwall/bearer"
)

// Leeway is how far clocks may differ: a token holds that much longer than exp,
// and may be from that far in the future.
const Leeway = 30 * time.Second

// cacheSize is how many verified tokens are remembered.
const cacheSize = 10_000

// Verifier verifies access tokens of one issuer for one audience (RFC 9068, 4).
// It is a bearer.Verifier and safe for concurrent use.
//
// A token is good when it has the type at+jwt, the algorithm EdDSA and a key id
// of the set, no other header parameter (so none that names or carries a key),
// a signature of that key, the issuer, the audience among aud, sub, jti, iat
// and exp, when now is between iat or nbf and exp, and when its session has not
// ended (see End). At most 8 kB and two dots are looked at.
//
// Good tokens are remembered, as their SHA-256, so that the signature is
// checked once; their time, key and session are checked each time. Bad ones are
// not remembered.
type Verifier struct {
	keys       KeySource
	now        func() time.Time
	parser     *jwt.Parser
	cache      *otter.Cache[[sha256.Size]byte, *verified]
	generation atomic.Uint64
	ended      endedSessions
	caught     atomic.Pointer[time.Time] // when CatchUp last began and went well
}

// verified is a good token. It never changes.
type verified struct {
	caller     *bearer.Caller
	keys       *Keys // that had its key
	kid        string
	notBefore  time.Time // not before this, leeway included; a clock may be set back
	until      time.Time // exp and leeway
	session    sessionHash
	generation uint64
}

// NewVerifier returns a verifier of the tokens that one of keys signed: Keys,
// or a KeyRing, whose changes are in force at once. now is the clock, nil:
// time.Now.
func NewVerifier(issuer, audience string, keys KeySource, now func() time.Time) (*Verifier, error) {
	if issuer == "" || audience == "" || keys == nil || keys.Keys() == nil {
		return nil, errors.New("make a token verifier: it needs an issuer, an audience and keys")
	}
	if now == nil {
		now = time.Now
	}
	cache, err := otter.New(&otter.Options[[sha256.Size]byte, *verified]{MaximumSize: cacheSize})
	if err != nil {
		return nil, fmt.Errorf("make a token verifier: %w", err)
	}
	return &Verifier{keys: keys, now: now, cache: cache, ended: newEndedSessions(), parser: jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}),
		jwt.WithStrictDecoding(),
		jwt.WithIssuer(issuer),
		jwt.WithAudience(audience),
		jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(),
		jwt.WithLeeway(Leeway),
		jwt.WithTimeFunc(now),
	)}, nil
}

// Verify returns who the token stands for, bearer.ErrExpired for a token that
// was good until it ended, bearer.ErrRevoked for one that was good until its
// session ended or its key was revoked, and another error for any other.
func (v *Verifier) Verify(_ context.Context, token string) (*bearer.Caller, error) {
	// Before anything else: parsing must not cost what an attacker chooses
	// (CVE-2025-30204).
	if len(token) > bearer.MaxToken {
		return nil, errors.New("the token is longer than 8 kB")
	}
	if strings.Count(token, ".") != 2 {
		return nil, errors.New("the token does not have three parts")
	}
	generation := v.generation.Load() // before the look: Forget may come in between
	keys := v.keys.Keys()
	var room [1024]byte // most tokens fit, so that a remembered one costs no allocation
	sum := sha256.Sum256(append(room[:0], token...))
	if hit, ok := v.cache.GetIfPresent(sum); ok && hit.generation == generation {
		now := v.now()
		if now.Before(hit.until) && !now.Before(hit.notBefore) && (hit.keys == keys || keys.public[hit.kid] != nil) {
			if v.ended.has(hit.session) {
				return nil, bearer.ErrRevoked
			}
			return hit.caller, nil
		}
	}
	good, err := v.parse(token, keys)
	if err != nil {
		return nil, err
	}
	if good.session = v.ended.hash(good.caller.Session); v.ended.has(good.session) {
		return nil, bearer.ErrRevoked
	}
	good.generation = generation
	v.cache.Set(sum, good)
	return good.caller, nil
}

// parse judges a token by itself.
func (v *Verifier) parse(token string, keys *Keys) (*verified, error) {
	if strings.ContainsAny(token, "\r\n") { // base64 decoders skip line ends, so that one token would have many spellings
		return nil, errors.New("a line end is in the token")
	}
	var claims tokenClaims
	t, err := v.parser.ParseWithClaims(token, &claims, func(t *jwt.Token) (any, error) { return keys.verifying(t) })
	if err != nil {
		if onlyExpired(err) {
			return nil, bearer.ErrExpired
		}
		text := err.Error()
		return nil, errors.New(text[:min(len(text), 200)]) // it may quote the token's claims
	}
	kid, _ := t.Header["kid"].(string)
	if keys.public[kid] == nil {
		return nil, fmt.Errorf("%w: its key was revoked", bearer.ErrRevoked)
	}
	from := claims.IssuedAt.Time
	if claims.NotBefore != nil && claims.NotBefore.After(from) {
		from = claims.NotBefore.Time
	}
	return &verified{
		caller: &bearer.Caller{Subject: claims.Subject, Session: claims.Session, Roles: claims.Roles, Expires: claims.ExpiresAt.Time},
		keys:   keys, kid: kid,
		notBefore: from.Add(-Leeway), until: claims.ExpiresAt.Add(Leeway),
	}, nil
}

// Forget drops every remembered token, so that each is verified again. Call it
// after anything that makes good tokens bad.
func (v *Verifier) Forget() {
	v.generation.Add(1)
	v.cache.InvalidateAll()
}

// verifying chooses the key by the header. The id is looked up and nothing
// else: it names no file and no URL.
func (k *Keys) verifying(t *jwt.Token) (any, error) {
	typ, _ := t.Header["typ"].(string)
	if !strings.EqualFold(typ, tokenType) && !strings.EqualFold(typ, "application/"+tokenType) {
		return nil, errors.New("typ is not at+jwt")
	}
	kid, _ := t.Header["kid"].(string)
	if len(t.Header) != 3 { // alg, typ, kid
		return nil, errors.New("the header has more than alg, typ and kid")
	}
	if public := k.public[kid]; public != nil {
		return public, nil
	}
	if public := k.revoked[kid]; public != nil { // parse refuses what this key signed
		return public, nil
	}
	return nil, errors.New("kid is not of this issuer's keys")
}

// onlyExpired reports whether nothing but its age is wrong with a token. Claims
// are looked at only once the signature is good.
func onlyExpired(err error) bool {
	if !errors.Is(err, jwt.ErrTokenExpired) {
		return false
	}
	for _, other := range []error{
		jwt.ErrTokenInvalidAudience, jwt.ErrTokenInvalidIssuer, jwt.ErrTokenUsedBeforeIssued, jwt.ErrTokenNotValidYet,
		jwt.ErrTokenRequiredClaimMissing, jwt.ErrInvalidType, errClaims,
	} {
		if errors.Is(err, other) {
			return false
		}
	}
	return true
}
