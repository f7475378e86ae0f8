package identity_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/ringwall/ringwall/bearer"
	"github.com/ringwall/ringwall/identity"
)

const (
	issuer   = "https://api.example.com"
	audience = "https://api.example.com/notes"
)

var t0 = time.Unix(1_800_000_000, 0)

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func keysOf(t testing.TB, seed byte, previous ...byte) *identity.Keys {
	t.Helper()
	var old [][]byte
	for _, p := range previous {
		old = append(old, bytes.Repeat([]byte{p}, 32))
	}
	k, err := identity.NewKeys(bytes.Repeat([]byte{seed}, 32), old...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func private(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, 32))
}

func kidOf(seed byte) string {
	return identity.Thumbprint(private(seed).Public().(ed25519.PublicKey))
}

// clock is a time that a test moves.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.t }

func (c *clock) set(t time.Time) { c.mu.Lock(); c.t = t; c.mu.Unlock() }

func verifierOf(t testing.TB, k *identity.Keys, now func() time.Time) *identity.Verifier {
	t.Helper()
	v, err := identity.NewVerifier(issuer, audience, k, now)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// raw is a token made without the package under test, or any JWT library.
func raw(header, claims map[string]any, sign func(string) []byte) string {
	h, _ := json.Marshal(header)
	c, _ := json.Marshal(claims)
	text := b64(h) + "." + b64(c)
	return text + "." + b64(sign(text))
}

func signedBy(seed byte) func(string) []byte {
	return func(text string) []byte { return ed25519.Sign(private(seed), []byte(text)) }
}

func goodHeader() map[string]any {
	return map[string]any{"alg": "EdDSA", "typ": "at+jwt", "kid": kidOf(1)}
}

func goodClaims() map[string]any {
	return map[string]any{"iss": issuer, "aud": audience, "sub": "alice", "jti": "1", "sid": "s1",
		"iat": t0.Unix(), "exp": t0.Add(10 * time.Minute).Unix(), "roles": []string{"user"}}
}

func with(m map[string]any, kv ...any) map[string]any {
	m = maps.Clone(m)
	for i := 0; i < len(kv); i += 2 {
		if kv[i+1] == nil {
			delete(m, kv[i].(string))
		} else {
			m[kv[i].(string)] = kv[i+1]
		}
	}
	return m
}

// spare flips a bit of a token's last character that stands for nothing: 64
// bytes leave four such bits (RFC 4648, 3.5).
func spare(token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := len(token) - 1
	return token[:last] + alphabet[strings.IndexByte(alphabet, token[last])^1:][:1]
}

// RFC 8037, appendix A: the key, its thumbprint (A.3) and a signature (A.4).
func TestEd25519Vectors(t *testing.T) {
	seed, err := base64.RawURLEncoding.DecodeString("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")
	if err != nil {
		t.Fatal(err)
	}
	k, err := identity.NewKeys(seed)
	if err != nil {
		t.Fatal(err)
	}
	var set struct{ Keys []map[string]string }
	if err := json.Unmarshal(k.JWKS(), &set); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
		"kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k", "use": "sig", "alg": "EdDSA"}
	if len(set.Keys) != 1 || !maps.Equal(set.Keys[0], want) {
		t.Fatalf("JWKS is %s, want %v", k.JWKS(), want)
	}
	public, _ := base64.RawURLEncoding.DecodeString(set.Keys[0]["x"])
	sig, _ := base64.RawURLEncoding.DecodeString("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg")
	text := "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
	if err := jwt.SigningMethodEdDSA.Verify(text, sig, ed25519.PublicKey(public)); err != nil {
		t.Errorf("the signature of A.4: %v", err)
	}
}

func TestJWKSHoldsNothingPrivate(t *testing.T) {
	k := keysOf(t, 1, 2)
	for _, secret := range []string{b64(bytes.Repeat([]byte{1}, 32)), b64(private(1)), `"d"`} {
		if bytes.Contains(k.JWKS(), []byte(secret)) {
			t.Errorf("the key set has %s", secret)
		}
	}
	if n := bytes.Count(k.JWKS(), []byte(`"kid"`)); n != 2 {
		t.Errorf("%d keys, want 2", n)
	}
}

func TestMintAndVerify(t *testing.T) {
	c := &clock{t: t0}
	k := keysOf(t, 1)
	token, err := k.Mint(identity.Claims{Issuer: issuer, Audience: audience, Subject: "alice", Session: "s1",
		Roles: []string{"user", "admin"}, IssuedAt: t0}, 10*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	v := verifierOf(t, k, c.now)
	var _ bearer.Verifier = v
	for _, look := range []string{"first", "remembered"} {
		got, err := v.Verify(t.Context(), token)
		if err != nil {
			t.Fatalf("%s: %v", look, err)
		}
		if got.Subject != "alice" || got.Session != "s1" || !slices.Equal(got.Roles, []string{"user", "admin"}) || !got.Expires.Equal(t0.Add(10*time.Minute)) {
			t.Errorf("%s: got %+v", look, got)
		}
	}
	// What it says, read without the package.
	parts := strings.Split(token, ".")
	head, _ := base64.RawURLEncoding.DecodeString(parts[0])
	var h map[string]string
	if err := json.Unmarshal(head, &h); err != nil || !maps.Equal(h, map[string]string{"alg": "EdDSA", "typ": "at+jwt", "kid": kidOf(1)}) {
		t.Errorf("the header is %s", head)
	}
	body, _ := base64.RawURLEncoding.DecodeString(parts[1])
	var claims map[string]any
	if err := json.Unmarshal(body, &claims); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"iss", "aud", "sub", "exp", "iat", "jti", "sid", "roles"} {
		if claims[name] == nil {
			t.Errorf("%s is missing in %s", name, body)
		}
	}
	other, _ := k.Mint(identity.Claims{Issuer: issuer, Audience: audience, Subject: "alice", IssuedAt: t0}, 10*time.Minute)
	if other == token {
		t.Error("two tokens are one")
	}
}

// Node's crypto is an implementation of its own, of keys and of signatures.
func TestMintedTokenVerifiesInNode(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed: apt-get install nodejs")
	}
	k := keysOf(t, 1)
	token, err := k.Mint(identity.Claims{Issuer: issuer, Audience: audience, Subject: "alice"}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	const script = `
const [jwks, token] = process.argv.slice(1);
const [h, c, s] = token.split('.');
const kid = JSON.parse(Buffer.from(h, 'base64url')).kid;
const jwk = JSON.parse(jwks).keys.find(k => k.kid === kid);
const key = require('crypto').createPublicKey({key: jwk, format: 'jwk'});
process.stdout.write(String(require('crypto').verify(null, Buffer.from(h + '.' + c), key, Buffer.from(s, 'base64url'))));`
	out, err := exec.CommandContext(t.Context(), node, "-e", script, string(k.JWKS()), token).CombinedOutput()
	if err != nil || string(out) != "true" {
		t.Errorf("node says %s, %v", out, err)
	}
}

// TRAPS: JWT confusion; period flood (CVE-2025-30204).
func TestTrapJWTConfusion(t *testing.T) {
	k := keysOf(t, 1)
	v := verifierOf(t, k, (&clock{t: t0.Add(time.Minute)}).now)
	none := func(string) []byte { return nil }
	public := private(1).Public().(ed25519.PublicKey)
	hs256 := func(key []byte) func(string) []byte {
		return func(text string) []byte {
			m := hmac.New(sha256.New, key)
			m.Write([]byte(text))
			return m.Sum(nil)
		}
	}
	jwkOf := map[string]any{"kty": "OKP", "crv": "Ed25519", "x": b64(private(9).Public().(ed25519.PublicKey))}
	good := raw(goodHeader(), goodClaims(), signedBy(1))
	parts := strings.Split(good, ".")
	many := make([]string, 33)
	for i := range many {
		many[i] = "r"
	}
	flip := []byte(parts[2])
	flip[10] ^= 1

	for name, token := range map[string]string{
		"alg none":                       raw(with(goodHeader(), "alg", "none"), goodClaims(), none),
		"alg None":                       raw(with(goodHeader(), "alg", "None"), goodClaims(), none),
		"alg none, good signature":       raw(with(goodHeader(), "alg", "none"), goodClaims(), signedBy(1)),
		"no alg":                         raw(with(goodHeader(), "alg", nil), goodClaims(), signedBy(1)),
		"alg a number":                   raw(with(goodHeader(), "alg", 5), goodClaims(), signedBy(1)),
		"HS256 with the public key":      raw(with(goodHeader(), "alg", "HS256"), goodClaims(), hs256(public)),
		"HS256 with the public JWKS":     raw(with(goodHeader(), "alg", "HS256"), goodClaims(), hs256(k.JWKS())),
		"HS256 with nothing":             raw(with(goodHeader(), "alg", "HS256"), goodClaims(), hs256(nil)),
		"RS256":                          raw(with(goodHeader(), "alg", "RS256"), goodClaims(), signedBy(1)),
		"alg in lower case":              raw(with(goodHeader(), "alg", "eddsa"), goodClaims(), signedBy(1)),
		"another issuer's key":           raw(goodHeader(), goodClaims(), signedBy(9)),
		"another issuer's kid":           raw(with(goodHeader(), "kid", kidOf(9)), goodClaims(), signedBy(9)),
		"kid of a path":                  raw(with(goodHeader(), "kid", "../../../../dev/null"), goodClaims(), signedBy(9)),
		"kid of SQL":                     raw(with(goodHeader(), "kid", "' UNION SELECT 'x"), goodClaims(), signedBy(9)),
		"kid empty":                      raw(with(goodHeader(), "kid", ""), goodClaims(), signedBy(1)),
		"no kid":                         raw(with(goodHeader(), "kid", nil), goodClaims(), signedBy(1)),
		"jwk":                            raw(with(goodHeader(), "jwk", jwkOf), goodClaims(), signedBy(9)),
		"jwk instead of kid":             raw(with(goodHeader(), "kid", nil, "jwk", jwkOf), goodClaims(), signedBy(9)),
		"jwk, good signature":            raw(with(goodHeader(), "jwk", jwkOf), goodClaims(), signedBy(1)),
		"jku":                            raw(with(goodHeader(), "jku", "https://evil.example/jwks"), goodClaims(), signedBy(1)),
		"x5u":                            raw(with(goodHeader(), "x5u", "https://evil.example/x"), goodClaims(), signedBy(1)),
		"x5c":                            raw(with(goodHeader(), "x5c", []string{"AA=="}), goodClaims(), signedBy(1)),
		"crit":                           raw(with(goodHeader(), "crit", []string{"exp"}), goodClaims(), signedBy(1)),
		"b64 false":                      raw(with(goodHeader(), "b64", false), goodClaims(), signedBy(1)),
		"typ JWT, an id token":           raw(with(goodHeader(), "typ", "JWT"), goodClaims(), signedBy(1)),
		"typ logout+jwt":                 raw(with(goodHeader(), "typ", "logout+jwt"), goodClaims(), signedBy(1)),
		"no typ":                         raw(with(goodHeader(), "typ", nil), goodClaims(), signedBy(1)),
		"another issuer":                 raw(goodHeader(), with(goodClaims(), "iss", "https://evil.example"), signedBy(1)),
		"issuer with a slash":            raw(goodHeader(), with(goodClaims(), "iss", issuer+"/"), signedBy(1)),
		"no issuer":                      raw(goodHeader(), with(goodClaims(), "iss", nil), signedBy(1)),
		"another audience":               raw(goodHeader(), with(goodClaims(), "aud", []string{"https://other.example"}), signedBy(1)),
		"audience is a prefix":           raw(goodHeader(), with(goodClaims(), "aud", audience+"/x"), signedBy(1)),
		"no audience":                    raw(goodHeader(), with(goodClaims(), "aud", nil), signedBy(1)),
		"empty audience":                 raw(goodHeader(), with(goodClaims(), "aud", []string{}), signedBy(1)),
		"no exp":                         raw(goodHeader(), with(goodClaims(), "exp", nil), signedBy(1)),
		"exp not a number":               raw(goodHeader(), with(goodClaims(), "exp", true), signedBy(1)),
		"no iat":                         raw(goodHeader(), with(goodClaims(), "iat", nil), signedBy(1)),
		"future iat":                     raw(goodHeader(), with(goodClaims(), "iat", t0.Add(2*time.Minute+time.Second).Unix()), signedBy(1)),
		"future nbf":                     raw(goodHeader(), with(goodClaims(), "nbf", t0.Add(2*time.Minute+time.Second).Unix()), signedBy(1)),
		"no sub":                         raw(goodHeader(), with(goodClaims(), "sub", nil), signedBy(1)),
		"empty sub":                      raw(goodHeader(), with(goodClaims(), "sub", ""), signedBy(1)),
		"long sub":                       raw(goodHeader(), with(goodClaims(), "sub", strings.Repeat("a", 257)), signedBy(1)),
		"no jti":                         raw(goodHeader(), with(goodClaims(), "jti", nil), signedBy(1)),
		"33 roles":                       raw(goodHeader(), with(goodClaims(), "roles", many), signedBy(1)),
		"roles a string":                 raw(goodHeader(), with(goodClaims(), "roles", "admin"), signedBy(1)),
		"an empty role":                  raw(goodHeader(), with(goodClaims(), "roles", []string{""}), signedBy(1)),
		"altered signature":              parts[0] + "." + parts[1] + "." + string(flip),
		"altered claims":                 parts[0] + "." + b64([]byte(`{"sub":"root"}`)) + "." + parts[2],
		"signature spelt otherwise":      spare(good),
		"no signature":                   parts[0] + "." + parts[1] + ".",
		"half a signature":               parts[0] + "." + parts[1] + "." + parts[2][:40],
		"padding":                        good + "==",
		"a blank":                        " " + good,
		"a line end":                     good + "\n",
		"two parts":                      parts[0] + "." + parts[1],
		"four parts":                     good + ".x",
		"five parts, as of an encrypted": good + ".x.y",
		"1 MB of dots":                   strings.Repeat(".", 1<<20),
		"8 kB of dots":                   strings.Repeat(".", 8<<10),
		"1 MB":                           good + strings.Repeat("A", 1<<20),
		"empty":                          "",
		"two dots":                       "..",
		"deep header":                    b64([]byte(strings.Repeat("[", 4000))) + "." + parts[1] + "." + parts[2],
		"header null":                    b64([]byte("null")) + "." + parts[1] + "." + parts[2],
		"claims null":                    raw(goodHeader(), nil, signedBy(1)),
	} {
		t.Run(name, func(t *testing.T) {
			c, err := v.Verify(t.Context(), token)
			if err == nil || c != nil {
				t.Fatalf("it made the caller %+v", c)
			}
			if errors.Is(err, bearer.ErrExpired) || errors.Is(err, bearer.ErrUnavailable) {
				t.Errorf("the error is %v", err)
			}
			if len(err.Error()) > 300 || len(token) > 20 && strings.Contains(err.Error(), token) {
				t.Errorf("the error repeats the token: %.400s", err)
			}
		})
	}
	// What must pass, made the same way: the refusals above are not for another reason.
	for name, token := range map[string]string{
		"good":                   good,
		"typ application/at+jwt": raw(with(goodHeader(), "typ", "application/at+JWT"), goodClaims(), signedBy(1)),
		"two audiences":          raw(goodHeader(), with(goodClaims(), "aud", []string{"x", audience}), signedBy(1)),
		"32 roles":               raw(goodHeader(), with(goodClaims(), "roles", many[:32]), signedBy(1)),
		"no roles, no session":   raw(goodHeader(), with(goodClaims(), "roles", nil, "sid", nil), signedBy(1)),
		"nbf within the leeway":  raw(goodHeader(), with(goodClaims(), "nbf", t0.Add(90*time.Second).Unix()), signedBy(1)),
	} {
		if _, err := v.Verify(t.Context(), token); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestExpiry(t *testing.T) {
	c := &clock{t: t0}
	v := verifierOf(t, keysOf(t, 1), c.now)
	token := raw(goodHeader(), goodClaims(), signedBy(1))
	for _, step := range []struct {
		at   time.Duration
		want error
	}{
		{0, nil}, {10*time.Minute + 29*time.Second, nil},
		{10*time.Minute + 30*time.Second, bearer.ErrExpired}, // remembered, and refused all the same
		{time.Hour, bearer.ErrExpired},
		{5 * time.Minute, nil},
	} {
		c.set(t0.Add(step.at))
		if _, err := v.Verify(t.Context(), token); !errors.Is(err, step.want) {
			t.Errorf("after %v: %v, want %v", step.at, err, step.want)
		}
	}
	c.set(t0.Add(-31 * time.Second))
	if _, err := v.Verify(t.Context(), token); err == nil {
		t.Error("a remembered token passes before it was issued")
	}
	c.set(t0.Add(time.Hour))
	for name, token := range map[string]string{
		"for another audience": raw(goodHeader(), with(goodClaims(), "aud", "x"), signedBy(1)),
		"of another issuer":    raw(goodHeader(), with(goodClaims(), "iss", "x"), signedBy(1)),
		"without jti":          raw(goodHeader(), with(goodClaims(), "jti", nil), signedBy(1)),
		"badly signed":         raw(goodHeader(), goodClaims(), signedBy(2)),
	} {
		if _, err := v.Verify(t.Context(), token); err == nil || errors.Is(err, bearer.ErrExpired) {
			t.Errorf("an expired token %s: %v; it was never good", name, err)
		}
	}
}

func TestRotation(t *testing.T) {
	c := &clock{t: t0}
	old := raw(goodHeader(), goodClaims(), signedBy(1))
	both := verifierOf(t, keysOf(t, 2, 1), c.now)
	if _, err := both.Verify(t.Context(), old); err != nil {
		t.Errorf("a token of the previous key: %v", err)
	}
	now, err := keysOf(t, 2, 1).Mint(identity.Claims{Issuer: issuer, Audience: audience, Subject: "a", IssuedAt: t0}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	only := verifierOf(t, keysOf(t, 2), c.now)
	if _, err := only.Verify(t.Context(), now); err != nil {
		t.Errorf("the current key does not sign: %v", err)
	}
	if _, err := only.Verify(t.Context(), old); err == nil {
		t.Error("a token of a key that was taken out passes")
	}
}

func TestForget(t *testing.T) {
	v := verifierOf(t, keysOf(t, 1), (&clock{t: t0}).now)
	token := raw(goodHeader(), goodClaims(), signedBy(1))
	a, err := v.Verify(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := v.Verify(t.Context(), token); b != a {
		t.Error("the token was verified twice")
	}
	v.Forget()
	if b, err := v.Verify(t.Context(), token); err != nil || b == a {
		t.Errorf("it was remembered after Forget: %v", err)
	}
}

// A token that was being verified when Forget was called is not remembered.
func TestForgetDuringVerify(t *testing.T) {
	var v *identity.Verifier
	forget := true
	v = verifierOf(t, keysOf(t, 1), func() time.Time {
		if forget {
			forget = false
			v.Forget()
		}
		return t0
	})
	token := raw(goodHeader(), goodClaims(), signedBy(1))
	a, err := v.Verify(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := v.Verify(t.Context(), token); err != nil || b == a {
		t.Errorf("it was remembered: %v", err)
	}
}

func TestCacheIsBounded(t *testing.T) {
	k := keysOf(t, 1)
	v := verifierOf(t, k, (&clock{t: t0}).now)
	for i := range 12_000 {
		if _, err := v.Verify(t.Context(), raw(goodHeader(), with(goodClaims(), "jti", fmt.Sprint(i)), signedBy(1))); err != nil {
			t.Fatal(err)
		}
	}
	if n := identity.Remembered(v); n > 10_500 {
		t.Errorf("%d tokens are remembered, want at most 10,000", n)
	}
	before := identity.Remembered(v)
	for i := range 1000 {
		v.Verify(t.Context(), fmt.Sprintf("a.b.%d", i))
	}
	if n := identity.Remembered(v); n > before {
		t.Errorf("bad tokens are remembered: %d, was %d", n, before)
	}
}

func TestVerifyConcurrently(t *testing.T) {
	v := verifierOf(t, keysOf(t, 1), (&clock{t: t0}).now)
	token := raw(goodHeader(), goodClaims(), signedBy(1))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 500 {
				if c, err := v.Verify(context.Background(), token); err != nil || c.Subject != "alice" {
					t.Errorf("got %v, %v", c, err)
				}
				if i%100 == 0 {
					v.Forget()
				}
			}
		})
	}
	wg.Wait()
}

func TestWrongUse(t *testing.T) {
	if _, err := identity.NewKeys(nil); err == nil {
		t.Error("keys without a seed")
	}
	if _, err := identity.NewKeys(make([]byte, 31)); err == nil {
		t.Error("a short seed")
	}
	if _, err := identity.NewKeys(make([]byte, 32), make([]byte, 32)); err == nil {
		t.Error("the same seed twice")
	}
	k := keysOf(t, 1)
	for _, args := range [][2]string{{"", audience}, {issuer, ""}} {
		if _, err := identity.NewVerifier(args[0], args[1], k, nil); err == nil {
			t.Errorf("a verifier of %q", args)
		}
	}
	if _, err := identity.NewVerifier(issuer, audience, nil, nil); err == nil {
		t.Error("a verifier without keys")
	}
	for name, c := range map[string]identity.Claims{
		"no subject": {Issuer: issuer, Audience: audience}, "no issuer": {Audience: audience, Subject: "a"},
		"no audience": {Issuer: issuer, Subject: "a"}, "an empty role": {Issuer: issuer, Audience: audience, Subject: "a", Roles: []string{""}},
	} {
		if _, err := k.Mint(c, time.Minute); err == nil {
			t.Errorf("minted a token with %s", name)
		}
	}
	if _, err := k.Mint(identity.Claims{Issuer: issuer, Audience: audience, Subject: "a"}, 0); err == nil {
		t.Error("minted a token without a lifetime")
	}
}

func FuzzVerify(f *testing.F) {
	v := verifierOf(f, keysOf(f, 1), (&clock{t: t0}).now)
	good := raw(goodHeader(), goodClaims(), signedBy(1))
	for _, s := range []string{good, "..", "a.b.c", raw(with(goodHeader(), "alg", "none"), goodClaims(), func(string) []byte { return nil }), "eyJhbGciOiJIUzI1NiJ9.e30."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, token string) {
		c, err := v.Verify(context.Background(), token)
		if (c == nil) == (err == nil) {
			t.Fatalf("%v, %v", c, err)
		}
		if err == nil && token != good {
			t.Fatalf("a forged token passes: %q", token)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	k := keysOf(b, 1)
	v := verifierOf(b, k, nil)
	token, err := k.Mint(identity.Claims{Issuer: issuer, Audience: audience, Subject: rand.Text(), Session: rand.Text(), Roles: []string{"user"}}, time.Hour)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("remembered", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := v.Verify(context.Background(), token); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("new", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			v.Forget()
			if _, err := v.Verify(context.Background(), token); err != nil {
				b.Fatal(err)
			}
		}
	})
}
