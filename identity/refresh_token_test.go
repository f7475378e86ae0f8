package identity

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/hex"
	"os/exec"
	"strings"
	"testing"
)

func TestRefreshTokenForm(t *testing.T) {
	token := newRefreshToken(newFamily())
	text := token.String()
	back, ok := parseRefreshToken(text)
	if !ok || back != token {
		t.Fatalf("%s is not read back", text)
	}
	if newRefreshToken(token.family) == token {
		t.Fatal("two tokens are one")
	}
	secret := text[len(text)-43:]
	// The last of 43 characters has two bits that stand for nothing (RFC 4648, 3.5).
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	spare := text[:len(text)-1] + string(alphabet[strings.IndexByte(alphabet, text[len(text)-1])^1])

	for name, s := range map[string]string{
		"empty":                  "",
		"prefix alone":           "rw1.",
		"another prefix":         "rw2" + text[3:],
		"upper case session":     "rw1." + strings.ToUpper(token.family) + "." + secret,
		"session with a dot":     "rw1." + token.family[:25] + ".." + secret,
		"session of SQL":         "rw1.' or 1=1 -- aaaaaaaaaaaaa." + secret,
		"session with NUL":       "rw1." + token.family[:25] + "\x00." + secret,
		"spelt otherwise":        spare,
		"padded":                 text + "=",
		"standard base64":        text[:len(text)-43] + strings.Repeat("+", 43),
		"line end in the secret": text[:len(text)-2] + "\n" + text[len(text)-1:],
		"blank before":           " " + text[:len(text)-1],
		"short":                  text[:len(text)-1],
		"1 MB":                   strings.Repeat("a", 1<<20),
		"dots":                   strings.Repeat(".", refreshLength),
	} {
		if _, ok := parseRefreshToken(s); ok {
			t.Errorf("%s: %.100q is a token", name, s)
		}
	}
}

func FuzzRefreshToken(f *testing.F) {
	f.Add(newRefreshToken(newFamily()).String())
	f.Add("rw1..")
	f.Add("rw1.aaaaaaaaaaaaaaaaaaaaaaaaaa.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, s string) {
		if token, ok := parseRefreshToken(s); ok && token.String() != s {
			t.Errorf("%q is %q too", s, token)
		}
	})
}

// Who has the store's row, all of it, and not the previous token, learns nothing
// of the current one.
func TestSealedSuccessor(t *testing.T) {
	id := newFamily()
	previous, next, other := newRefreshToken(id), newRefreshToken(id), newRefreshToken(id)
	sealed, err := previous.seal(next, 2)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := previous.open(sealed, 2); err != nil || got != next {
		t.Fatalf("got %v, %v", got, err)
	}
	again, _ := previous.seal(next, 2)
	if bytes.Equal(again, sealed) {
		t.Error("the same token sealed twice gives the same bytes")
	}
	if bytes.Contains(sealed, next.secret[:8]) {
		t.Error("the token stands in the sealed bytes")
	}
	for name, open := range map[string]func() (refreshToken, error){
		"the successor itself":  func() (refreshToken, error) { return next.open(sealed, 2) },
		"another token":         func() (refreshToken, error) { return other.open(sealed, 2) },
		"another generation":    func() (refreshToken, error) { return previous.open(sealed, 3) },
		"another session's row": func() (refreshToken, error) { p := previous; p.family = newFamily(); return p.open(sealed, 2) },
		"nothing":               func() (refreshToken, error) { return previous.open(nil, 2) },
		"a cut":                 func() (refreshToken, error) { return previous.open(sealed[:len(sealed)-1], 2) },
		"an altered bit": func() (refreshToken, error) {
			b := bytes.Clone(sealed)
			b[20] ^= 1
			return previous.open(b, 2)
		},
	} {
		if got, err := open(); err == nil || got.secret != [32]byte{} {
			t.Errorf("%s opens it: %v", name, err)
		}
	}
	// The sums are at rest beside it: they are no keys.
	for _, key := range [][]byte{previous.sum(), next.sum(), hashOf(previous.secret[:])} {
		block, err := aes.NewCipher(key)
		if err != nil {
			t.Fatal(err)
		}
		gcm, err := cipher.NewGCM(block)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := gcm.Open(nil, sealed[:12], sealed[12:], previous.about(2)); err == nil {
			t.Error("a sum opens it")
		}
	}
}

func hashOf(b []byte) []byte { s := sha256.Sum256(b); return s[:] }

// Node's crypto is an implementation of its own: what is at rest is what the
// comments say (RFC 5869, AES-256-GCM, SHA-256), so that another program, or a
// later version of this one, can read it.
func TestSealedSuccessorInNode(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed: apt-get install nodejs")
	}
	previous := newRefreshToken(newFamily())
	next := newRefreshToken(previous.family)
	sealed, err := previous.seal(next, 7)
	if err != nil {
		t.Fatal(err)
	}
	const script = `
const {hkdfSync, createDecipheriv, createHash} = require('crypto');
const [previous, sealed] = process.argv.slice(1);
const [, session, secret] = previous.split('.');
const key = Buffer.from(hkdfSync('sha256', Buffer.from(secret, 'base64url'), '', 'ringwall refresh token successor 1', 32));
const b = Buffer.from(sealed, 'hex');
const d = createDecipheriv('aes-256-gcm', key, b.subarray(0, 12));
d.setAAD(Buffer.from(session + '.7'));
d.setAuthTag(b.subarray(-16));
const next = 'rw1.' + session + '.' + Buffer.concat([d.update(b.subarray(12, -16)), d.final()]).toString('base64url');
process.stdout.write(next + ' ' + createHash('sha256').update(next).digest('hex'));`
	out, err := exec.CommandContext(t.Context(), node, "-e", script, previous.String(), hex.EncodeToString(sealed)).CombinedOutput()
	if want := next.String() + " " + hex.EncodeToString(next.sum()); err != nil || string(out) != want {
		t.Errorf("node reads %s, %v; want %s", out, err, want)
	}
}
