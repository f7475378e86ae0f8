package identity_test

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringwall/ringwall/bearer"
	"github.com/ringwall/ringwall/identity"
)

func verifierOf(t testing.TB, k identity.KeySource, now func() time.Time) *identity.Verifier {
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
	if testing.Short() {
		t.Skip("it verifies 13,000 signatures")
	}
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
	r, _ := ringAt(b, nil)
	v := verifierOf(b, r, nil)
	token, err := r.Keys().Mint(identity.Claims{Issuer: issuer, Audience: audience, Subject: rand.Text(), Session: rand.Text(), Roles: []string{"user"}}, time.Hour)
	if err != nil {
		b.Fatal(err)
	}
	verify := func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := v.Verify(context.Background(), token); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("remembered", verify)
	b.Run("new", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			v.Forget()
			if _, err := v.Verify(context.Background(), token); err != nil {
				b.Fatal(err)
			}
		}
	})
	for i := range 100_000 {
		v.End(fmt.Sprint(i))
	}
	b.Run("remembered, after the end of 100,000 sessions", verify)
	if err := r.Rotate(); err != nil {
		b.Fatal(err)
	}
	b.Run("remembered, after a rotation", verify)
}

// What is remembered costs no memory, whatever happened meanwhile.
func TestRememberedTokenCostsNoMemory(t *testing.T) {
	r, _ := ringAt(t, nil)
	v := verifierOf(t, r, nil)
	token := mintWith(t, r.Keys(), time.Now())
	for what, happens := range map[string]func(){
		"nothing": func() {}, "an end": func() { v.End("another") }, "a rotation": func() { _ = r.RotateEarly() },
	} {
		happens()
		if n := testing.AllocsPerRun(100, func() { _, _ = v.Verify(context.Background(), token) }); n > 0 {
			t.Errorf("after %s: %v allocations", what, n)
		}
	}
}
