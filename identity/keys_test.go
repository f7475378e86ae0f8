package identity_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
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
