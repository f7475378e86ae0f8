package identity

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringwall/ringwall/audit"
)

// MaxLifetime is the longest life of an access token that the policy allows.
const MaxLifetime = time.Hour

const (
	// keyKept is how long a key that stopped signing verifies: as long as a token
	// lives, and a while for other clocks and for processes that have not seen yet
	// that it stopped.
	keyKept = MaxLifetime + 2*Leeway

	// keyPublished is how long a key must have been in the key set before it
	// signs: twice as long as the set may be cached, since one cache may feed
	// another.
	keyPublished = 2 * jwksMaxAge

	// keyLook is how often Run looks at the file.
	keyLook = 250 * time.Millisecond

	// mostPrevious bounds the key set. One more rotation is refused.
	mostPrevious = 32
)

// A KeyState is what a key of a ring is for.
type KeyState string

const (
	KeyNext     KeyState = "next"     // published, signs after the next rotation
	KeyActive   KeyState = "active"   // signs
	KeyPrevious KeyState = "previous" // signed; verifies until its last token has ended
	KeyRevoked  KeyState = "revoked"  // its tokens are refused
)

// KeyInfo describes a key of a ring. Times are zero when they do not apply.
type KeyInfo struct {
	ID      string    `json:"kid"` // RFC 7638 thumbprint
	State   KeyState  `json:"state"`
	Made    time.Time `json:"made"`
	Started time.Time `json:"started,omitzero"` // began to sign
	Stopped time.Time `json:"stopped,omitzero"` // stopped signing, or was revoked
	Until   time.Time `json:"until,omitzero"`   // when a previous or revoked key is forgotten
}

var (
	// ErrNoKey says that a ring has no key of an id.
	ErrNoKey = errors.New("no such key")

	// ErrTooEarly says that a rotation would have a key sign that others may not
	// know yet.
	ErrTooEarly = errors.New("the next key is too new")
)

// A KeyRing is a set of signing keys in a file, that several processes may use
// and change at once. One key is active: it signs. The next one is in the key
// set long before it signs, so that who cached the set never meets a token of
// an unknown key. Previous ones verify until the last token that they signed
// has ended; of those only the public half is kept.
//
// A change is in force at once in the process that made it, and in others
// within half a second while Run runs. A file that is missing or broken at that
// time changes nothing: the keys stay as they are, and an event says so.
//
// It is a KeySource and safe for concurrent use.
type KeyRing struct {
	file string
	now  func() time.Time
	mu   sync.Mutex // one look at the file or change of it at a time
	held atomic.Pointer[heldRing]
}

// heldRing is a ring as it was read. It never changes.
type heldRing struct {
	text  []byte // of the file
	doc   ringDoc
	keys  *Keys
	until time.Time // when keys has one to forget; zero: never
}

// OpenKeyRing reads the file, or makes it, and its folder, when there is none.
// It refuses a file that others than its owner can read, that is a symbolic
// link, that lies in a folder where others can write, and one that is damaged;
// then nothing is made in its place. now is the clock, nil: time.Now.
func OpenKeyRing(file string, now func() time.Time) (*KeyRing, error) {
	if now == nil {
		now = time.Now
	}
	r := &KeyRing{file: file, now: now}
	err := r.Refresh()
	if errors.Is(err, fs.ErrNotExist) {
		err = r.change(func(d *ringDoc) error {
			if len(d.Keys) > 0 {
				return errUnchanged // another process was faster
			}
			return d.begin(r.time())
		})
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Keys returns the keys as they are now.
func (r *KeyRing) Keys() *Keys { return r.held.Load().keys }

// List returns what there is to know of each key: the next, the active, then
// the others, those that stopped last first.
func (r *KeyRing) List() []KeyInfo {
	var list []KeyInfo
	for _, k := range r.held.Load().doc.Keys {
		list = append(list, k.info())
	}
	order := []KeyState{KeyNext, KeyActive, KeyPrevious, KeyRevoked}
	slices.SortStableFunc(list, func(a, b KeyInfo) int {
		if c := slices.Index(order, a.State) - slices.Index(order, b.State); c != 0 {
			return c
		}
		return b.Stopped.Compare(a.Stopped)
	})
	return list
}

// Rotate has the next key sign from now on. The active one becomes previous,
// and a new next one is published. ErrTooEarly when the next one has not been
// published for ten minutes, as others may have cached a set without it; the first
// rotation need not wait, as no key set was ever without the next key.
func (r *KeyRing) Rotate() error { return r.rotate(false) }

// RotateEarly is Rotate that does not wait for the caches of others: who holds
// an old key set refuses new tokens until it fetches another.
func (r *KeyRing) RotateEarly() error { return r.rotate(true) }

func (r *KeyRing) rotate(early bool) error {
	return r.change(func(d *ringDoc) error {
		now := r.time()
		next := d.find(KeyNext)
		first := len(d.Keys) == 2 // within the hour before, no key set was without it
		if at := next.Made.Add(keyPublished); !early && !first && now.Before(at) {
			return fmt.Errorf("%w: others may hold a key set without %s until %s", ErrTooEarly, next.ID, at.Format(time.RFC3339))
		}
		d.forget(now)
		if d.count(KeyPrevious) >= mostPrevious {
			return fmt.Errorf("%d previous keys verify still, which is the most: wait, or revoke one", mostPrevious)
		}
		return d.promote(KeyPrevious, now)
	})
}

// Revoke refuses all tokens of a key from now on. When it is the active one,
// the next one signs at once. ErrNoKey when the ring does not have it; a key
// that is revoked already is no error.
func (r *KeyRing) Revoke(kid string) error {
	return r.change(func(d *ringDoc) error {
		now := r.time()
		d.forget(now)
		return d.revoke(kid, now)
	})
}

// Refresh looks at the file now. On an error the keys stay as they are.
func (r *KeyRing) Refresh() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	text, err := readRing(r.file)
	if err != nil {
		return err
	}
	return r.adopt(text)
}

// Run follows the file until ctx ends. When the file cannot be read, sink gets
// one event until it can be again.
func (r *KeyRing) Run(ctx context.Context, sink audit.Sink) {
	t := time.NewTicker(keyLook)
	defer t.Stop()
	for failed := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		err := r.Refresh()
		if err != nil && !failed {
			sink.Record(audit.Event{Time: r.now(), Kind: audit.StoreFailed, Outcome: audit.Failure,
				Detail: "the signing keys stay as they are: " + err.Error()})
		}
		failed = err != nil
	}
}

// time is now as the file has it.
func (r *KeyRing) time() time.Time { return r.now().UTC().Truncate(time.Millisecond) }

// errUnchanged ends a change that has nothing to do.
var errUnchanged = errors.New("unchanged")

// change reads the file, changes it and writes it while no other process does.
// A missing file is an empty document.
func (r *KeyRing) change(edit func(*ringDoc) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	unlock, err := lockRing(r.file)
	if err != nil {
		return err
	}
	defer unlock()
	var d ringDoc
	text, err := readRing(r.file)
	switch {
	case err == nil:
		d, err = parseRing(r.file, text)
	case errors.Is(err, fs.ErrNotExist) && r.held.Load() == nil: // only OpenKeyRing makes a ring
		err = nil
	}
	if err != nil {
		return err
	}
	if err = edit(&d); err == nil {
		if text, err = d.text(); err == nil {
			err = writeRing(r.file, text)
		}
	}
	if err != nil && err != errUnchanged {
		return err
	}
	return r.adopt(text)
}

// adopt takes the file's text, unless it is what the ring holds.
func (r *KeyRing) adopt(text []byte) error {
	now := r.time()
	if h := r.held.Load(); h != nil && string(h.text) == string(text) && (h.until.IsZero() || now.Before(h.until)) {
		return nil
	}
	d, err := parseRing(r.file, text)
	if err != nil {
		return err
	}
	h := &heldRing{text: text, doc: d}
	h.doc.forget(now)
	var others []ed25519.PublicKey
	revoked := map[string]ed25519.PublicKey{}
	for _, k := range h.doc.Keys {
		switch k.State {
		case KeyRevoked:
			revoked[k.ID] = k.public()
		case KeyNext, KeyPrevious:
			others = append(others, k.public())
		}
		if u := k.info().Until; !u.IsZero() && (h.until.IsZero() || u.Before(h.until)) {
			h.until = u
		}
	}
	if h.keys, err = newKeys(h.doc.find(KeyActive).private(), others...); err != nil {
		return err
	}
	h.keys.revoked = revoked
	r.held.Store(h)
	return nil
}
