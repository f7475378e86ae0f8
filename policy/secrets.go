package policy

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// A secretField is a place for a secret, as the secret tag names it.
type secretField struct {
	name  string // identity_token_key
	path  string // identity.token_key
	bytes int    // that its base64 holds; 0: it is not base64
	index []int
}

func (s secretField) env() string { return prefix + strings.ToUpper(s.name) }

// secrets lists the secrets that a policy may have.
func secrets() []secretField { return secretsIn(reflect.TypeFor[Policy](), "", nil) }

func secretsIn(t reflect.Type, path string, index []int) (out []secretField) {
	for i := range t.NumField() {
		f := t.Field(i)
		at := append(slices.Clone(index), i)
		if name := f.Tag.Get("secret"); name != "" {
			key := strings.TrimPrefix(name, strings.ReplaceAll(path, ".", "_")+"_")
			n, _ := strconv.Atoi(f.Tag.Get("bytes"))
			out = append(out, secretField{name, child(path, key), n, at})
		} else if key := f.Tag.Get("yaml"); key != "" && f.Type.Kind() == reflect.Struct && !isLeaf(f.Type) {
			out = append(out, secretsIn(f.Type, child(path, key), at)...)
		}
	}
	return out
}

func isSecretVariable(name string) bool {
	name = strings.TrimSuffix(name, "_FILE")
	return slices.ContainsFunc(secrets(), func(s secretField) bool { return s.env() == name })
}

// secretsFrom looks every secret up: in the environment, in a file that the
// environment names, among systemd's credentials, in secrets/ beside the
// policy. All places are looked at, since two that disagree mean that one is
// stale, and nobody can tell which.
func (l *loader) secretsFrom(env variables) {
	beside := filepath.Join(l.p.folder, "secrets")
	if _, err := os.Stat(beside + "/."); errors.Is(err, fs.ErrPermission) && l.p.folder != "" {
		l.add(&Error{File: beside, Reason: "what is in it cannot be seen: permission denied", Hint: "run it as the user that the folder belongs to"})
		beside = ""
	}
	for _, s := range secrets() {
		var found []string // the places that have it
		take := func(place, value string, err error) {
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return
			case err == nil:
				err = s.judge(value)
			}
			have := reflect.ValueOf(l.p).Elem().FieldByIndex(s.index)
			if err == nil && len(found) > 0 && have.Interface().(Secret).Reveal() != value {
				err = &misfit{"it is not the same as in " + found[0], "keep one of the two"}
			}
			if err != nil {
				m := misfitOf(err)
				l.add(&Error{File: place, Path: s.path, Reason: m.reason, Hint: m.hint})
				return
			}
			have.Set(reflect.ValueOf(NewSecret(value)))
			found = append(found, place)
			l.p.origin[s.path] = found[0]
		}
		if value, ok := env.values[s.env()]; ok {
			take(env.from[s.env()], value, nil)
		}
		if file, ok := env.values[s.env()+"_FILE"]; ok {
			value, err := readSecret(file, env.forbidden(file))
			if errors.Is(err, fs.ErrNotExist) {
				err = &misfit{"there is no file " + file, "name a file that is there"}
			}
			take(env.from[s.env()+"_FILE"], value, err)
		}
		if folder := env.values["CREDENTIALS_DIRECTORY"]; folder != "" {
			file := filepath.Join(folder, s.name)
			value, err := readSecret(file, env.forbidden(file))
			take(file, value, err)
		}
		if l.p.folder == "" || beside == "" {
			continue
		}
		file := filepath.Join(beside, s.name)
		value, err := readSecret(file, 0o077)
		take(file, value, err)
	}
}

// forbidden are the bits that a secret's file must not have. systemd makes its
// credentials 0400, or 0440 where an access list lets the service in.
func (v variables) forbidden(file string) fs.FileMode {
	if folder := v.values["CREDENTIALS_DIRECTORY"]; folder != "" && filepath.Dir(file) == filepath.Clean(folder) {
		return 0o037
	}
	return 0o077
}

// readSecret reads a file that nobody else may: none of the mode's bits in
// forbidden is set, on the file itself, wherever links lead.
func readSecret(name string, forbidden fs.FileMode) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if mode := info.Mode().Perm(); mode&forbidden != 0 {
		return "", &misfit{fmt.Sprintf("%s can be read by others (mode %04o)", name, mode), "type `chmod 600 " + name + "`"}
	}
	return readSecretive(f)
}

func readSecretive(f *os.File) (string, error) {
	const most = 64 << 10
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	switch {
	case err != nil:
		return "", plainPathError(err)
	case len(b) > most:
		return "", errors.New(f.Name() + ": more than 64 kB")
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r"), nil
}

// Words that stand for a secret until somebody writes one. The long ones are
// looked for anywhere; by chance they are in a random text once in 10^8 times.
var (
	placeholderParts = []string{"changeme", "change-me", "change_me", "changethis", "replaceme", "replace-me", "replace_me",
		"placeholder", "password", "example", "insert-", "your-secret", "your_secret", "yoursecret", "123456", "abcdefgh"}
	placeholderWords = []string{"", "secret", "todo", "tbd", "fixme", "none", "null", "test", "dev", "default", "key", "token"}
)

// isPlaceholder reports a text that somebody was meant to replace.
func isPlaceholder(s string) bool {
	s = strings.ToLower(strings.Trim(s, " \t<>[]{}()'\".!?-_=+*#"))
	return slices.Contains(placeholderWords, s) || strings.Trim(s, s[:1]) == "" ||
		slices.ContainsFunc(placeholderParts, func(p string) bool { return strings.Contains(s, p) })
}

// judge refuses a secret that guards nothing. Its messages never quote it.
func (s secretField) judge(value string) error {
	hint, least, letters := "make one: `head -c 32 /dev/urandom | base64`", 32, 8
	if s.bytes == 0 {
		// A password at another server, whose rules are its own.
		hint, least, letters = "set another at the server that it is for; `head -c 32 /dev/urandom | base64` makes one", 8, 2
	}
	switch {
	case strings.TrimSpace(value) != value:
		return &misfit{"the secret begins or ends with a blank", "write it on one line, with nothing around it"}
	case isPlaceholder(value):
		return &misfit{"the secret is a placeholder", hint}
	}
	raw := []byte(value)
	if s.bytes > 0 {
		var ok bool
		if raw, ok = decodeBase64(value); !ok {
			return &misfit{"the secret is not base64", hint}
		}
		if len(raw) != s.bytes {
			return &misfit{fmt.Sprintf("the secret holds %d bytes, and %d are wanted", len(raw), s.bytes), hint}
		}
	}
	if len(raw) < least {
		return &misfit{fmt.Sprintf("the secret has %d bytes: that is too short, %d are wanted", len(raw), least), hint}
	}
	distinct := map[byte]bool{}
	for _, b := range raw {
		distinct[b] = true
	}
	if len(distinct) < letters || isPlaceholder(string(raw)) {
		return &misfit{"the secret is a placeholder", hint}
	}
	return nil
}

// decodeBase64 reads the standard and the URL alphabet, padded or not.
func decodeBase64(s string) ([]byte, bool) {
	for _, e := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if b, err := e.Strict().DecodeString(s); err == nil && !strings.ContainsAny(s, "\r\n") {
			return b, true
		}
	}
	return nil, false
}
