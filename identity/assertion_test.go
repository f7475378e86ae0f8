package identity_test

import (
	"bufio"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/ringwall/ringwall/identity"
)

func assertionOf(t *testing.T, r *identity.KeyRing, at time.Time) string {
	t.Helper()
	s, err := r.Keys().Assert(identity.Claims{Issuer: issuer, Audience: identity.AssertionAudience("api.example.com"),
		Subject: "alice", Session: "s1", Roles: []string{"user", "admin"}, IssuedAt: at})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// An assertion is not an access token, whatever its audience is.
func TestTrapAssertionAsAccessToken(t *testing.T) {
	r, _ := ringAt(t, nil)
	v := verifierOf(t, r, nil)
	forged, err := r.Keys().Assert(identity.Claims{Issuer: issuer, Audience: audience, Subject: "alice", Session: "s1"})
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{"an assertion": assertionOf(t, r, time.Now()), "one with the audience of access tokens": forged} {
		if c, err := v.Verify(t.Context(), token); err == nil {
			t.Errorf("%s was taken for an access token of %s", name, c.Subject)
		}
	}
	good, _ := r.Keys().Mint(identity.Claims{Issuer: issuer, Audience: audience, Subject: "alice", Session: "s1"}, time.Minute)
	if _, err := v.Verify(t.Context(), good); err != nil {
		t.Errorf("an access token: %v", err)
	}
}

// The package jose verifies assertions by the check that the documentation
// shows, and takes no access token for one.
func TestTrapAccessTokenAsAssertionByJose(t *testing.T) {
	node, dir := joseDir(t)
	r, _ := ringAt(t, nil)
	srv := httptest.NewServer(r.JWKS())
	defer srv.Close()
	cmd := exec.CommandContext(t.Context(), node, "assertion.mjs", srv.URL, issuer, identity.AssertionAudience("api.example.com"))
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { in.Close(); _ = cmd.Wait() }()
	answers := bufio.NewReader(out)
	mint := func(audience string) string {
		s, err := r.Keys().Mint(identity.Claims{Issuer: issuer, Audience: audience, Subject: "alice", Session: "s1"}, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for _, tt := range []struct{ name, token, want string }{
		{"an assertion", assertionOf(t, r, time.Now()), "alice s1 user,admin"},
		{"after a minute", assertionOf(t, r, time.Now().Add(-61*time.Second)), "ERR_JWT_EXPIRED exp"},
		{"an access token", mint(audience), "ERR_JWT_CLAIM_VALIDATION_FAILED typ"},
		{"an access token for the upstream", mint(identity.AssertionAudience("api.example.com")), "ERR_JWT_CLAIM_VALIDATION_FAILED typ"},
		{"of nobody", "", "ERR_JWS_INVALID"},
	} {
		_, _ = io.WriteString(in, tt.token+"\n")
		if got, err := answers.ReadString('\n'); strings.TrimSpace(got) != tt.want {
			t.Errorf("%s: jose says %q, %v, want %q", tt.name, got, err, tt.want)
		}
	}
}

// How an API in Go verifies who calls, with the key set that it has fetched from
// https://api.example.com/.well-known/jwks.json.
func ExampleKeys_Assert() {
	seed := make([]byte, 32) // in earnest: a KeyRing's
	signer, _ := identity.NewKeys(seed)
	assertion, _ := signer.Assert(identity.Claims{Issuer: "https://api.example.com", Audience: "upstream:api.example.com", Subject: "alice"})

	var set struct{ Keys []struct{ Kid, X string } }
	_ = json.Unmarshal(signer.JWKS(), &set)
	keys := map[any]any{}
	for _, k := range set.Keys {
		x, _ := base64.RawURLEncoding.DecodeString(k.X)
		keys[k.Kid] = ed25519.PublicKey(x)
	}

	token, err := jwt.Parse(assertion, func(t *jwt.Token) (any, error) { return keys[t.Header["kid"]], nil }, jwt.WithValidMethods([]string{"EdDSA"}),
		jwt.WithIssuer("https://api.example.com"), jwt.WithAudience("upstream:api.example.com"), jwt.WithExpirationRequired())
	if err != nil || token.Header["typ"] != identity.AssertionType {
		fmt.Println("refused")
		return
	}
	fmt.Println(token.Claims.GetSubject())
	// Output: alice <nil>
}
