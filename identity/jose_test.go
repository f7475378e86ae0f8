package identity_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringwall/ringwall/bearer"
	"github.com/ringwall/ringwall/identity"
)

// joseDir is a folder with the npm package jose, as testdata/jose pins it. Under
// CI it is a failure when there is none.
func joseDir(t *testing.T) (node, dir string) {
	t.Helper()
	if testing.Short() {
		t.Skip("it runs node")
	}
	skip := t.Skipf
	if os.Getenv("CI") == "true" {
		skip = t.Fatalf
	}
	if testing.Short() {
		t.Skip("node takes seconds")
	}
	node, err := exec.LookPath("node")
	if err != nil {
		skip("node is not installed: apt-get install nodejs npm")
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		skip("npm is not installed: apt-get install npm")
	}
	dir = filepath.Join(t.TempDir(), "jose")
	if err := os.CopyFS(dir, os.DirFS("testdata/jose")); err != nil {
		t.Fatal(err)
	}
	install := exec.CommandContext(t.Context(), npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		skip("npm ci does not work here: %v\n%s", err, out)
	}
	return node, dir
}

// The package jose, with a key set that it fetched once, verifies every token
// across rotations.
func TestJoseVerifiesAcrossRotations(t *testing.T) {
	node, dir := joseDir(t)
	c := &clock{t: time.Now()}
	r, _ := ringAt(t, c.now)
	var fetched atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		fetched.Add(1)
		r.JWKS().ServeHTTP(w, req)
	}))
	defer srv.Close()
	cmd := exec.CommandContext(t.Context(), node, "verify.mjs", srv.URL, issuer, audience)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { in.Close(); _ = cmd.Wait() }()
	answers := bufio.NewReader(out)
	verify := func(what, token, want string) {
		t.Helper()
		_, _ = io.WriteString(in, token+"\n")
		if got, err := answers.ReadString('\n'); strings.TrimSpace(got) != want {
			t.Errorf("%s: jose says %q, %v, want %q", what, got, err, want)
		}
	}
	mint := func() string {
		token, err := r.Keys().Mint(identity.Claims{Issuer: issuer, Audience: audience, Subject: "alice", Session: "s1", Roles: []string{"user", "admin"}}, 10*time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	const good = "alice s1 user,admin"
	first := mint()
	verify("the active key's token", first, good)
	if err := r.Rotate(); err != nil {
		t.Fatal(err)
	}
	verify("the next key's, now active", mint(), good)
	verify("the previous key's", first, good)
	verify("an altered one", first[:len(first)-5]+"AAAAA", "ERR_JWS_SIGNATURE_VERIFICATION_FAILED")
	if n := fetched.Load(); n != 1 {
		t.Errorf("it fetched the key set %d times", n)
	}
	// The test can fail: with that old set it does not know the key after.
	if err := r.RotateEarly(); err != nil {
		t.Fatal(err)
	}
	verify("of a key that was not published in time", mint(), "ERR_JWKS_NO_MATCHING_KEY")
}

// TRAPS: JWT confusion, with tokens that the package jose makes.
func TestTrapJWTConfusionByJose(t *testing.T) {
	node, dir := joseDir(t)
	r, file := ringAt(t, nil)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct{ Keys []map[string]string }
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(doc.Keys, func(k map[string]string) bool { return k["kid"] == activeOf(r) })
	now := time.Now()
	input, _ := json.Marshal(map[string]any{"issuer": issuer, "audience": audience, "now": now.Unix(), "jwk": map[string]string{
		"kty": "OKP", "crv": "Ed25519", "kid": doc.Keys[i]["kid"], "x": doc.Keys[i]["x"], "d": doc.Keys[i]["d"]}})
	cmd := exec.CommandContext(t.Context(), node, "forge.mjs")
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.Bytes())
	}
	var forged struct {
		Good, Bad map[string]string
		Expired   string
	}
	if err := json.Unmarshal(out, &forged); err != nil || len(forged.Good) < 3 || len(forged.Bad) < 30 {
		t.Fatalf("%v: %s", err, out)
	}
	v := verifierOf(t, r, nil)
	for name, token := range forged.Good {
		if c, err := v.Verify(t.Context(), token); err != nil || c.Subject != "alice" {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, token := range forged.Bad {
		if c, err := v.Verify(t.Context(), token); err == nil || c != nil || errors.Is(err, bearer.ErrExpired) || errors.Is(err, bearer.ErrRevoked) {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
	if _, err := v.Verify(t.Context(), forged.Expired); !errors.Is(err, bearer.ErrExpired) {
		t.Errorf("expired: %v", err)
	}
}
