package policy_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/ringwall/ringwall/policy"
)

// Two keys, as `head -c 32 /dev/urandom | base64` writes them.
const (
	keyA = "nZk0cY3n0V2l8gqTqVpD0m0j3cH2iYxg1o0Tt4c7m1E="
	keyB = "5wQ2Vb8f1sJrXG0aZp7KuyMdoLxNhEci9tRgA3TfY6k="
)

// secretPlaces is a policy's folder with the places a secret may come from.
type secretPlaces struct{ dir, file, credential, beside string }

func newSecretPlaces(t *testing.T) secretPlaces {
	dir := t.TempDir()
	return secretPlaces{
		dir:        dir,
		file:       filepath.Join(dir, "elsewhere", "key"),
		credential: filepath.Join(dir, "credentials", "identity_token_key"),
		beside:     filepath.Join(dir, "secrets", "identity_token_key"),
	}
}

func (s secretPlaces) load(env ...string) (*policy.Policy, error) {
	return policy.Parse(filepath.Join(s.dir, "ringwall.yaml"), []byte("site: a.example.com\n"), alone(env...))
}

func TestSecretsAreFound(t *testing.T) {
	for name, put := range map[string]func(secretPlaces) []string{
		"environment": func(secretPlaces) []string { return []string{"RINGWALL_IDENTITY_TOKEN_KEY=" + keyA} },
		"file": func(s secretPlaces) []string {
			write(t, s.file, keyA+"\n", 0o600)
			return []string{"RINGWALL_IDENTITY_TOKEN_KEY_FILE=" + s.file}
		},
		"credential of systemd": func(s secretPlaces) []string {
			write(t, s.credential, keyA, 0o440)
			return []string{"CREDENTIALS_DIRECTORY=" + filepath.Dir(s.credential)}
		},
		"credential of systemd, named by its file": func(s secretPlaces) []string {
			file := filepath.Join(filepath.Dir(s.credential), "any_name")
			write(t, file, keyA, 0o440)
			return []string{"CREDENTIALS_DIRECTORY=" + filepath.Dir(s.credential), "RINGWALL_IDENTITY_TOKEN_KEY_FILE=" + file}
		},
		"beside the policy": func(s secretPlaces) []string {
			write(t, s.beside, keyA+"\r\n", 0o400)
			return nil
		},
		"the same in two places": func(s secretPlaces) []string {
			write(t, s.beside, keyA, 0o600)
			return []string{"RINGWALL_IDENTITY_TOKEN_KEY=" + keyA}
		},
		"a link to a file of mine": func(s secretPlaces) []string {
			write(t, s.file, keyA, 0o600)
			write(t, s.beside, "", 0o600)
			os.Remove(s.beside)
			if err := os.Symlink(s.file, s.beside); err != nil {
				t.Fatal(err)
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSecretPlaces(t)
			p, err := s.load(put(s)...)
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Identity.TokenKey.Reveal(); got != keyA {
				t.Errorf("got %q", got)
			}
			if want, _ := base64.StdEncoding.DecodeString(keyA); !bytes.Equal(p.Identity.TokenKey.Bytes(), want) {
				t.Errorf("Bytes = %x", p.Identity.TokenKey.Bytes())
			}
			if shown := string(p.Show()); strings.Contains(shown, keyA) || !strings.Contains(shown, "# token_key: [redacted]") {
				t.Errorf("Show prints\n%s", shown)
			}
		})
	}
	s := newSecretPlaces(t)
	if p, err := s.load("CREDENTIALS_DIRECTORY=" + s.dir); err != nil || p.Identity.TokenKey.Set() {
		t.Errorf("no secret anywhere: %v", err)
	}
}

func TestSecretsAreRefused(t *testing.T) {
	b64 := base64.StdEncoding.EncodeToString
	for name, tt := range map[string]struct{ value, want string }{
		"empty":           {"", "placeholder"},
		"changeme":        {"changeme", "placeholder"},
		"Change-Me":       {"<Change-Me>", "placeholder"},
		"secret":          {"secret", "placeholder"},
		"one character":   {strings.Repeat("a", 44), "placeholder"},
		"zeros":           {b64(make([]byte, 32)), "placeholder"},
		"two letters":     {b64([]byte("abababababababababababababababab")), "placeholder"},
		"words in base64": {b64([]byte("please-changeme-please-changeme!")), "placeholder"},
		"example":         {"example" + keyA, "placeholder"},
		"short":           {b64([]byte("0123456789abcdef")), "holds 16 bytes"},
		"long":            {b64([]byte("a sentence of sixty-four bytes that is longer than a key may be.")), "holds 64 bytes"},
		"not base64":      {strings.Repeat("ab!c", 11), "not base64"},
		"blank around":    {keyA + " ", "blank"},
		"a line too many": {keyA + "\n" + keyB, "not base64"},
		"a byte too many": {keyA[:43] + "F", "holds 33 bytes"},
		"bits too many":   {keyA[:42] + "F=", "not base64"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSecretPlaces(t)
			_, err := s.load("RINGWALL_IDENTITY_TOKEN_KEY=" + tt.value)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "RINGWALL_IDENTITY_TOKEN_KEY: identity.token_key: ") {
				t.Fatalf("got %v", err)
			}
			if len(tt.value) > 8 && strings.Contains(err.Error(), tt.value) {
				t.Errorf("the message quotes the secret: %v", err)
			}
		})
	}
}

func TestSecretFilesThatOthersCanRead(t *testing.T) {
	for _, mode := range []os.FileMode{0o640, 0o604, 0o644, 0o660, 0o666, 0o610} {
		s := newSecretPlaces(t)
		write(t, s.beside, keyA, mode)
		_, err := s.load()
		if err == nil || !strings.Contains(err.Error(), "chmod 600 "+s.beside) {
			t.Errorf("mode %o: %v", mode, err)
		}
		link := filepath.Join(s.dir, "link")
		if err := os.Symlink(s.beside, link); err != nil {
			t.Fatal(err)
		}
		_, err = newSecretPlaces(t).load("RINGWALL_IDENTITY_TOKEN_KEY_FILE=" + link)
		if err == nil || !strings.Contains(err.Error(), "chmod 600 ") {
			t.Errorf("link to mode %o: %v", mode, err)
		}
	}
	for _, mode := range []os.FileMode{0o444, 0o460, 0o404} {
		s := newSecretPlaces(t)
		write(t, s.credential, keyA, mode)
		if _, err := s.load("CREDENTIALS_DIRECTORY=" + filepath.Dir(s.credential)); err == nil {
			t.Errorf("credential of mode %o was accepted", mode)
		}
	}
}

func TestSecretsThatDisagree(t *testing.T) {
	s := newSecretPlaces(t)
	write(t, s.beside, keyB, 0o600)
	_, err := s.load("RINGWALL_IDENTITY_TOKEN_KEY=" + keyA)
	if err == nil || !strings.Contains(err.Error(), s.beside+": identity.token_key: it is not the same as in RINGWALL_IDENTITY_TOKEN_KEY") {
		t.Errorf("got %v", err)
	}
	_, err = s.load("RINGWALL_IDENTITY_TOKEN_KEY_FILE=" + filepath.Join(s.dir, "none"))
	if err == nil || !strings.Contains(err.Error(), "there is no file") {
		t.Errorf("a file that is not there: %v", err)
	}
}

// Nothing but Reveal shows a secret, however it is printed.
func TestSecretIsRedacted(t *testing.T) {
	const canary = "canary-5f1c"
	secret := policy.NewSecret(canary)
	nested := struct {
		S  policy.Secret
		P  *policy.Secret
		M  map[string]policy.Secret
		in policy.Secret
	}{secret, &secret, map[string]policy.Secret{"k": secret}, secret}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%T", "%10.3s", "%t"} {
		fmt.Fprintf(&out, verb+" ", secret)
		fmt.Fprintf(&out, verb+" ", &secret)
		fmt.Fprintf(&out, verb+" ", nested)
		fmt.Fprintf(&out, verb+" ", []policy.Secret{secret})
	}
	fmt.Fprint(&out, secret, secret.String(), secret.GoString(), fmt.Errorf("%w %v", os.ErrInvalid, secret))
	for _, v := range []any{secret, &secret, nested} {
		for _, marshal := range []func(any) ([]byte, error){json.Marshal, yaml.Marshal} {
			b, err := marshal(v)
			if err != nil {
				t.Error(err)
			}
			out.Write(b)
		}
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
	}
	text := out.String()
	for _, form := range []string{canary, fmt.Sprintf("%x", canary), fmt.Sprintf("% x", canary), fmt.Sprintf("%X", canary),
		base64.StdEncoding.EncodeToString([]byte(canary)), fmt.Sprint([]byte(canary))} {
		if strings.Contains(text, form) {
			t.Errorf("%q is in the output:\n%s", form, text)
		}
	}
	if !strings.Contains(text, "[redacted]") {
		t.Error("nothing says that it is redacted")
	}
	for form, got := range map[string]string{
		"%d": fmt.Sprintf("%d", secret), "%x": fmt.Sprintf("%x", secret), "%#v": fmt.Sprintf("%#v", secret), "nested": fmt.Sprintf("%d", []policy.Secret{secret}[0]),
		"String": secret.String(), "GoString": secret.GoString(), "LogValue": secret.LogValue().String(),
	} {
		if got != "[redacted]" {
			t.Errorf("%s gives %q", form, got)
		}
	}
	asText, _ := secret.MarshalText()
	asJSON, _ := secret.MarshalJSON()
	asYAML, _ := secret.MarshalYAML()
	if string(asText) != "[redacted]" || string(asJSON) != `"[redacted]"` || asYAML != "[redacted]" {
		t.Errorf("text %s, JSON %s, YAML %v", asText, asJSON, asYAML)
	}
	if secret.Reveal() != canary || (policy.Secret{}).Reveal() != "" || (policy.Secret{}).Set() {
		t.Error("Reveal does not give the value back")
	}
}

// TestPasswordsOfOtherServers: their length is not ours to choose.
func TestPasswordsOfOtherServers(t *testing.T) {
	for value, want := range map[string]string{
		"abcd efgh ijkl mnop": "", "x7Kq29vB": "", "hunter2": "7 bytes", "changeme123": "placeholder", "aaaaaaaaaa": "placeholder",
	} {
		for _, name := range []string{"STORE_PASSWORD", "SMTP_PASSWORD"} {
			_, err := newSecretPlaces(t).load("RINGWALL_" + name + "=" + value)
			switch {
			case want == "" && err != nil:
				t.Errorf("%s=%s: %v", name, value, err)
			case want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), value)):
				t.Errorf("%s=%s: got %v, want %q", name, value, err, want)
			}
		}
	}
}
