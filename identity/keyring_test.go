package identity_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/bearer"
	"github.com/ringwall/ringwall/identity"
)

// ringAt opens a ring in a fresh folder.
func ringAt(t testing.TB, now func() time.Time) (*identity.KeyRing, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secrets", "identity_keys.json")
	return openRing(t, file, now), file
}

func openRing(t testing.TB, file string, now func() time.Time) *identity.KeyRing {
	t.Helper()
	r, err := identity.OpenKeyRing(file, now)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// ringIDs are the ids of the ring's keys in a state.
func ringIDs(r *identity.KeyRing, s identity.KeyState) (out []string) {
	for _, k := range r.List() {
		if k.State == s {
			out = append(out, k.ID)
		}
	}
	return out
}

func activeOf(r *identity.KeyRing) string { return ringIDs(r, identity.KeyActive)[0] }
func nextOf(r *identity.KeyRing) string   { return ringIDs(r, identity.KeyNext)[0] }

// publishedIDs are the ids in a key set, sorted.
func publishedIDs(t testing.TB, jwks []byte) (out []string) {
	t.Helper()
	var set struct{ Keys []struct{ Kid string } }
	if err := json.Unmarshal(jwks, &set); err != nil {
		t.Fatal(err)
	}
	for _, k := range set.Keys {
		out = append(out, k.Kid)
	}
	slices.Sort(out)
	return out
}

func sortedIDs(s ...string) []string { slices.Sort(s); return s }

func mintWith(t testing.TB, k *identity.Keys, at time.Time) string {
	t.Helper()
	token, err := k.Mint(identity.Claims{Issuer: issuer, Audience: audience, Subject: "alice", Session: "s1", IssuedAt: at}, 10*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestKeyRingIsMadeOnce(t *testing.T) {
	r, file := ringAt(t, nil)
	for path, want := range map[string]fs.FileMode{file: 0o600, filepath.Dir(file): 0o700 | fs.ModeDir} {
		if fi, err := os.Lstat(path); err != nil || fi.Mode() != want {
			t.Errorf("%s: %v, %v, want %v", path, fi.Mode(), err, want)
		}
	}
	if got, want := publishedIDs(t, r.Keys().JWKS()), sortedIDs(activeOf(r), nextOf(r)); !slices.Equal(got, want) {
		t.Errorf("the key set has %v, want %v", got, want)
	}
	if len(r.List()) != 2 {
		t.Errorf("a new ring has %d keys", len(r.List()))
	}
	again := openRing(t, file, nil)
	if !bytes.Equal(again.Keys().JWKS(), r.Keys().JWKS()) {
		t.Error("opened again, it has other keys")
	}
	if _, err := verifierOf(t, again, nil).Verify(t.Context(), mintWith(t, r.Keys(), time.Now())); err != nil {
		t.Errorf("a token from before: %v", err)
	}
}

func TestKeyRingRotation(t *testing.T) {
	c := &clock{t: t0}
	r, file := ringAt(t, c.now)
	v := verifierOf(t, r, c.now)
	first, second := activeOf(r), nextOf(r)
	old := mintWith(t, r.Keys(), t0)
	seedOf := func() string { // of the active key, as the file has it
		text, _ := os.ReadFile(file)
		var doc struct{ Keys []map[string]string }
		if err := json.Unmarshal(text, &doc); err != nil {
			t.Fatal(err)
		}
		for _, k := range doc.Keys {
			if k["state"] == "active" {
				return k["d"]
			}
		}
		return ""
	}
	seed := seedOf()

	if err := r.Rotate(); err != nil { // at once: no key set was ever without the next one
		t.Fatal(err)
	}
	third := nextOf(r)
	if activeOf(r) != second || !slices.Equal(ringIDs(r, identity.KeyPrevious), []string{first}) || third == first || third == second {
		t.Fatalf("after a rotation of %s and %s: %+v", first, second, r.List())
	}
	if got := publishedIDs(t, r.Keys().JWKS()); !slices.Equal(got, sortedIDs(first, second, third)) {
		t.Errorf("the key set has %v", got)
	}
	if text, _ := os.ReadFile(file); seed == "" || bytes.Contains(text, []byte(seed)) {
		t.Error("the file still has the private half of a key that does not sign any more")
	}
	if _, err := v.Verify(t.Context(), old); err != nil {
		t.Errorf("a token of the previous key: %v", err)
	}
	now := mintWith(t, r.Keys(), t0)
	if head, _ := base64.RawURLEncoding.DecodeString(strings.Split(now, ".")[0]); !strings.Contains(string(head), second) {
		t.Errorf("the header is %s, want the key %s", head, second)
	}

	// Caches may hold a key set without the third key until then.
	c.set(t0.Add(10*time.Minute - time.Millisecond))
	if err := r.Rotate(); !errors.Is(err, identity.ErrTooEarly) || activeOf(r) != second || !strings.Contains(err.Error(), t0.Add(10*time.Minute).UTC().Format(time.RFC3339)) {
		t.Errorf("a rotation to a key that others may not know: %v", err)
	}
	c.set(t0.Add(10 * time.Minute))
	if err := r.Rotate(); err != nil || activeOf(r) != third {
		t.Errorf("ten minutes later: %v", err)
	}
	if err := r.RotateEarly(); err != nil || activeOf(r) == third {
		t.Errorf("early: %v", err)
	}

	// The first key stopped at t0; its last token may live for an hour, and a
	// clock may be half a minute behind.
	for _, step := range []struct {
		at   time.Duration
		want bool
	}{{time.Hour + identity.Leeway, true}, {time.Hour + 2*identity.Leeway, false}} {
		c.set(t0.Add(step.at))
		if err := r.Refresh(); err != nil {
			t.Fatal(err)
		}
		if got := slices.Contains(publishedIDs(t, r.Keys().JWKS()), first); got != step.want {
			t.Errorf("after %v the key is published: %v", step.at, got)
		}
	}
	if err := r.Rotate(); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(file); bytes.Contains(text, []byte(first)) {
		t.Error("the file still has a key whose tokens have all ended")
	}
}

func TestKeyRingRevoke(t *testing.T) {
	c := &clock{t: t0}
	r, file := ringAt(t, c.now)
	other := openRing(t, file, c.now) // as another process has it
	v, w := verifierOf(t, r, c.now), verifierOf(t, other, c.now)
	// What a revoked key signed was good: its client must be able to refresh.
	refused := func(what, token string, want bool) {
		t.Helper()
		if err := other.Refresh(); err != nil {
			t.Fatal(err)
		}
		for who, v := range map[string]*identity.Verifier{"here": v, "there": w} {
			for range 2 {
				if _, err := v.Verify(t.Context(), token); (err != nil) != want || want && !errors.Is(err, bearer.ErrRevoked) {
					t.Errorf("%s, %s: %v", what, who, err)
				}
			}
		}
	}
	first, second := activeOf(r), nextOf(r)
	a := mintWith(t, r.Keys(), t0)
	refused("a good token", a, false)
	if err := r.Rotate(); err != nil {
		t.Fatal(err)
	}
	b := mintWith(t, r.Keys(), t0)
	refused("a previous key's token", a, false)
	refused("the active key's token", b, false)

	if err := r.Revoke(first); err != nil {
		t.Fatal(err)
	}
	refused("a revoked previous key's token", a, true)
	refused("the active key's token", b, false)

	third := nextOf(r)
	if err := r.Revoke(second); err != nil {
		t.Fatal(err)
	}
	refused("a revoked active key's token", b, true)
	if activeOf(r) != third {
		t.Errorf("%s signs, want the next one, %s", activeOf(r), third)
	}
	forged := b[:len(b)-20] + strings.Repeat("A", 20)
	if _, err := v.Verify(t.Context(), forged); err == nil || errors.Is(err, bearer.ErrRevoked) {
		t.Errorf("a forged token of a revoked key: %v", err)
	}
	refused("the new active key's token", mintWith(t, r.Keys(), t0), false)

	next := nextOf(r)
	if err := r.Revoke(next); err != nil || nextOf(r) == next || activeOf(r) != third {
		t.Errorf("the next key revoked: %v, %+v", err, r.List())
	}
	if got, want := sortedIDs(ringIDs(r, identity.KeyRevoked)...), sortedIDs(first, second, next); !slices.Equal(got, want) {
		t.Errorf("revoked are %v, want %v", got, want)
	}
	if got, want := publishedIDs(t, r.Keys().JWKS()), sortedIDs(third, nextOf(r)); !slices.Equal(got, want) {
		t.Errorf("the key set has %v, want %v", got, want)
	}
	before := r.List()
	for kid, want := range map[string]error{first: nil, "nobody's": identity.ErrNoKey, "": identity.ErrNoKey, third[:20]: identity.ErrNoKey} {
		if err := r.Revoke(kid); !errors.Is(err, want) {
			t.Errorf("revoke %q: %v, want %v", kid, err, want)
		}
	}
	if !slices.Equal(r.List(), before) {
		t.Error("revoking what is revoked, or is not there, changed the ring")
	}
}

// However many are revoked, one more can be, and the ring can be read again.
func TestKeyRingIsBounded(t *testing.T) {
	r, file := ringAt(t, (&clock{t: t0}).now)
	var err error
	n := 0
	for ; n < 100 && err == nil; n++ {
		err = r.RotateEarly()
	}
	if err == nil || n < 20 || !strings.Contains(err.Error(), "previous keys") {
		t.Fatalf("after %d rotations within the hour: %v", n, err)
	}
	for range 100 {
		kid := activeOf(r)
		if err := r.Revoke(kid); err != nil || activeOf(r) == kid {
			t.Fatalf("revoke: %v", err)
		}
	}
	if fi, err := os.Stat(file); err != nil || fi.Size() > 32<<10 {
		t.Errorf("the file has %d bytes, %v", fi.Size(), err)
	}
	openRing(t, file, nil)
}

// TRAPS: a file that does not load opens the door.
func TestTrapKeyRingBrokenFile(t *testing.T) {
	good := func() []byte {
		r, file := ringAt(t, nil)
		if err := r.Rotate(); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}()
	var doc map[string]any
	if err := json.Unmarshal(good, &doc); err != nil {
		t.Fatal(err)
	}
	edit := func(change func(doc map[string]any, active, next, previous map[string]any)) func(string) error {
		return func(file string) error {
			var doc map[string]any
			_ = json.Unmarshal(good, &doc)
			by := map[any]map[string]any{}
			for _, k := range doc["keys"].([]any) {
				by[k.(map[string]any)["state"]] = k.(map[string]any)
			}
			change(doc, by["active"], by["next"], by["previous"])
			text, _ := json.Marshal(doc)
			return os.WriteFile(file, text, 0o600)
		}
	}
	text := func(s string) func(string) error {
		return func(file string) error { return os.WriteFile(file, []byte(s), 0o600) }
	}
	mode := func(m fs.FileMode) func(string) error {
		return func(file string) error {
			return errors.Join(os.WriteFile(file, good, 0o600), os.Chmod(file, m))
		}
	}
	cases := map[string]struct {
		make func(file string) error
		want string
	}{
		"empty":            {text(""), "damaged"},
		"blank":            {text("\n"), "damaged"},
		"null":             {text("null"), "damaged"},
		"of another kind":  {text(`{"keys":[]}`), "damaged"},
		"no JSON":          {text("\x00\x00\x00\x00"), "damaged"},
		"twice":            {text(string(good) + string(good)), "damaged"},
		"too long":         {text(string(good) + strings.Repeat(" ", 64<<10)), "longer"},
		"unknown member":   {edit(func(d, _, _, _ map[string]any) { d["more"] = 1 }), "damaged"},
		"another version":  {edit(func(d, _, _, _ map[string]any) { d["version"] = 2 }), "version"},
		"two active":       {edit(func(_, _, n, _ map[string]any) { n["state"] = "active" }), "2 active"},
		"no next":          {edit(func(d, a, _, _ map[string]any) { d["keys"] = []any{a} }), "0 next"},
		"no key":           {edit(func(d, _, _, _ map[string]any) { d["keys"] = []any{} }), "0 active"},
		"unknown state":    {edit(func(_, _, _, p map[string]any) { p["state"] = "retired" }), "state"},
		"one key twice":    {edit(func(d, a, n, p map[string]any) { d["keys"] = []any{a, n, p, p} }), "twice"},
		"another's half":   {edit(func(_, a, n, _ map[string]any) { a["d"] = n["d"] }), "halves"},
		"another's public": {edit(func(_, a, n, _ map[string]any) { a["x"], a["d"] = n["x"], n["d"] }), "id"},
		"no seed":          {edit(func(_, a, _, _ map[string]any) { delete(a, "d") }), "too little"},
		"a seed too many":  {edit(func(_, a, _, p map[string]any) { p["d"] = a["d"] }), "too much"},
		"no time":          {edit(func(_, _, _, p map[string]any) { delete(p, "stopped") }), "time"},
		"0640":             {mode(0o640), "chmod 600"},
		"0604":             {mode(0o604), "chmod 600"},
		"0620":             {mode(0o620), "chmod 600"},
		"a folder":         {func(file string) error { return os.Mkdir(file, 0o700) }, "regular"},
		"a pipe":           {func(file string) error { return syscall.Mkfifo(file, 0o600) }, "regular"},
		"a link": {func(file string) error {
			return errors.Join(os.WriteFile(file+".real", good, 0o600), os.Symlink(file+".real", file))
		}, "symbolic link"},
		"a link to nothing": {func(file string) error { return os.Symlink(file+".real", file) }, "symbolic link"},
		"open folder": {func(file string) error {
			return errors.Join(os.WriteFile(file, good, 0o600), os.Chmod(filepath.Dir(file), 0o777))
		}, "chmod go-w"},
	}
	for n := range len(good) - 2 { // the last bytes are a brace and a line end
		cases[fmt.Sprintf("cut after %d bytes", n)] = struct {
			make func(string) error
			want string
		}{text(string(good[:n])), "damaged"}
	}
	for name, tt := range cases {
		file := filepath.Join(t.TempDir(), "keys.json")
		if err := os.Chmod(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := tt.make(file); err != nil {
			t.Fatal(err)
		}
		before, _ := os.Lstat(file)
		was, _ := os.ReadFile(file + ".real")
		_, err := identity.OpenKeyRing(file, nil)
		var broken *identity.KeyFileError
		if !errors.As(err, &broken) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), filepath.Dir(file)) || broken.Fix == "" {
			t.Errorf("%s: %v, want an error about %q", name, err, tt.want)
			continue
		}
		after, err := os.Lstat(file)
		is, _ := os.ReadFile(file + ".real")
		if err != nil || !os.SameFile(before, after) || !before.ModTime().Equal(after.ModTime()) || !bytes.Equal(was, is) {
			t.Errorf("%s: something was made in its place: %v", name, err)
		}
	}
}

// A flipped bit never yields other keys.
func TestKeyRingFlippedBits(t *testing.T) {
	r, file := ringAt(t, nil)
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1 << (i % 7)
		if err := os.WriteFile(file, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if again, err := identity.OpenKeyRing(file, nil); err == nil && (activeOf(again) != activeOf(r) || nextOf(again) != nextOf(r)) {
			t.Fatalf("byte %d: other keys", i)
		}
	}
}

// A running server keeps its keys when the file breaks or goes, and says so once.
func TestKeyRingOutlivesItsFile(t *testing.T) {
	r, file := ringAt(t, nil)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	other := openRing(t, file, nil)
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		var sink sinkOfKeys
		go r.Run(ctx, &sink)
		kid := activeOf(r)
		for _, breaks := range []func() error{
			func() error { return os.Remove(file) },
			func() error { return os.WriteFile(file, text[:len(text)/2], 0o600) },
			func() error { return errors.Join(os.WriteFile(file, text, 0o600), os.Chmod(file, 0o644)) },
		} {
			was := len(sink.all())
			if err := breaks(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
			synctest.Wait()
			events := sink.all()
			if activeOf(r) != kid || len(events) != was+1 || events[was].Kind != audit.StoreFailed || !strings.Contains(events[was].Detail, file) {
				t.Errorf("active %s, events %+v", activeOf(r), events[was:])
			}
			if err := r.Rotate(); err == nil {
				t.Error("it rotated over a broken file")
			}
			if err := errors.Join(os.WriteFile(file, text, 0o600), os.Chmod(file, 0o600)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if err := other.Revoke(kid); err != nil {
			t.Fatal(err)
		}
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		if activeOf(r) == kid {
			t.Error("a revocation by another was not seen within half a second")
		}
	})
}

// sinkOfKeys keeps events.
type sinkOfKeys struct {
	mu     sync.Mutex
	events []audit.Event
}

func (s *sinkOfKeys) Record(e audit.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, e)
}

func (s *sinkOfKeys) all() []audit.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events)
}

// A rotation that root types must not lock out the user that the server runs as.
func TestKeyRingOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "keys.json")
	if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	r := openRing(t, file, nil)
	if err := r.Rotate(); err != nil {
		t.Fatal(err)
	}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		fi, err := e.Info()
		if err != nil || fi.Sys().(*syscall.Stat_t).Uid != 65534 {
			t.Errorf("%s belongs to %d, %v", e.Name(), fi.Sys().(*syscall.Stat_t).Uid, err)
		}
	}
	if len(entries) != 2 {
		t.Errorf("%d files, want the ring and its lock", len(entries))
	}
}

// TRAPS: redaction that misses nesting.
func TestTrapKeysAreNotPrinted(t *testing.T) {
	r, file := ringAt(t, nil)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct{ Keys []struct{ D string } }
	if err := json.Unmarshal(text, &doc); err != nil || len(doc.Keys) != 2 {
		t.Fatal(err)
	}
	var out strings.Builder
	deps := struct {
		Ring *identity.KeyRing
		Keys *identity.Keys
		Info []identity.KeyInfo
	}{r, r.Keys(), r.List()}
	for _, x := range []any{r, r.Keys(), deps, &deps, []any{r, *r.Keys()}, r.List()} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
			fmt.Fprintf(&out, verb+"\n", x)
		}
		b, _ := json.Marshal(x)
		out.Write(b)
	}
	for _, k := range doc.Keys {
		seed, err := base64.RawURLEncoding.DecodeString(k.D)
		if err != nil || len(seed) != 32 {
			t.Fatal(err)
		}
		for _, secret := range []string{k.D, string(seed), fmt.Sprintf("%x", seed), strings.Trim(fmt.Sprint(seed), "[]"), strings.Trim(fmt.Sprintf("%#v", seed), "[]byte{}")} {
			if strings.Contains(out.String(), secret) {
				t.Fatal("a private key was printed")
			}
		}
	}
}
