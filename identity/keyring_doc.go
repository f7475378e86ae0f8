package identity

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// ringDoc is what the file of a key ring says.
type ringDoc struct {
	Version int       `json:"version"` // 1
	Keys    []ringKey `json:"keys"`
}

// ringKey is a key as RFC 8037, 2 writes it, with its state. D, the seed, is
// there while the key signs or will.
type ringKey struct {
	ID      string    `json:"kid"`
	State   KeyState  `json:"state"`
	X       string    `json:"x,omitempty"`
	D       string    `json:"d,omitempty"`
	Made    time.Time `json:"made"`
	Started time.Time `json:"started,omitzero"`
	Stopped time.Time `json:"stopped,omitzero"`
}

func (k *ringKey) info() KeyInfo {
	i := KeyInfo{ID: k.ID, State: k.State, Made: k.Made, Started: k.Started, Stopped: k.Stopped}
	if !k.Stopped.IsZero() {
		i.Until = k.Stopped.Add(keyKept)
	}
	return i
}

// public and private are of a judged key: what they decode is good.
func (k *ringKey) public() ed25519.PublicKey {
	b, _ := base64.RawURLEncoding.Strict().DecodeString(k.X)
	return b
}

func (k *ringKey) private() ed25519.PrivateKey {
	b, _ := base64.RawURLEncoding.Strict().DecodeString(k.D)
	return ed25519.NewKeyFromSeed(b)
}

// newRingKey makes a key. Its id does not begin with -, so that no command
// takes it for a flag.
func newRingKey(now time.Time) (ringKey, error) {
	for {
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return ringKey{}, fmt.Errorf("make a signing key: %w", err)
		}
		if id := Thumbprint(public); id[0] != '-' {
			return ringKey{ID: id, State: KeyNext, X: base64.RawURLEncoding.EncodeToString(public),
				D: base64.RawURLEncoding.EncodeToString(private.Seed()), Made: now}, nil
		}
	}
}

// begin makes the first two keys.
func (d *ringDoc) begin(now time.Time) error {
	active, err := newRingKey(now)
	if err != nil {
		return err
	}
	active.State, active.Started = KeyActive, now
	next, err := newRingKey(now)
	*d = ringDoc{Version: 1, Keys: []ringKey{next, active}}
	return err
}

// find returns the key of a state that one key has.
func (d *ringDoc) find(s KeyState) *ringKey {
	for i := range d.Keys {
		if d.Keys[i].State == s {
			return &d.Keys[i]
		}
	}
	return nil
}

func (d *ringDoc) count(s KeyState) (n int) {
	for _, k := range d.Keys {
		if k.State == s {
			n++
		}
	}
	return n
}

// forget drops keys whose tokens have ended.
func (d *ringDoc) forget(now time.Time) {
	d.Keys = slices.DeleteFunc(d.Keys, func(k ringKey) bool {
		until := k.info().Until
		return !until.IsZero() && !now.Before(until)
	})
}

// stop takes the private half from a key.
func (k *ringKey) stop(s KeyState, now time.Time) {
	k.State, k.D, k.Stopped = s, "", now
}

// promote has the next key sign, gives the active one the state, and makes a
// new next one.
func (d *ringDoc) promote(s KeyState, now time.Time) error {
	fresh, err := newRingKey(now)
	if err != nil {
		return err
	}
	active, next := d.find(KeyActive), d.find(KeyNext)
	active.stop(s, now)
	next.State, next.Started = KeyActive, now
	d.Keys = append(d.Keys, fresh)
	return nil
}

func (d *ringDoc) revoke(kid string, now time.Time) error {
	i := slices.IndexFunc(d.Keys, func(k ringKey) bool { return k.ID == kid })
	if i < 0 {
		return ErrNoKey
	}
	// A revocation is never refused for want of room: the oldest are forgotten.
	for d.count(KeyRevoked) >= mostPrevious {
		old := slices.IndexFunc(d.Keys, func(k ringKey) bool { return k.State == KeyRevoked })
		if d.Keys = slices.Delete(d.Keys, old, old+1); old < i {
			i--
		} else if old == i {
			return errUnchanged
		}
	}
	switch k := &d.Keys[i]; k.State {
	case KeyRevoked:
		return errUnchanged
	case KeyActive:
		return d.promote(KeyRevoked, now)
	case KeyNext:
		fresh, err := newRingKey(now)
		if err != nil {
			return err
		}
		k.stop(KeyRevoked, now)
		d.Keys = append(d.Keys, fresh)
	default:
		k.stop(KeyRevoked, now)
	}
	return nil
}

func (d *ringDoc) text() ([]byte, error) {
	b, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the signing keys: %w", err)
	}
	return append(b, '\n'), nil
}

// parseRing reads and judges a document. Its errors hold no key.
func parseRing(file string, text []byte) (ringDoc, error) {
	var doc ringDoc
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	err := d.Decode(&doc)
	if err == io.EOF {
		err = errors.New("it is empty")
	} else if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = errors.New("something follows its end")
		} else {
			err = doc.judge()
		}
	}
	if err != nil {
		return doc, &KeyFileError{File: file, Reason: "is damaged: " + err.Error(),
			Fix: "put a good copy of it back. Without one, move it away and start again: new keys are made, and clients refresh their access tokens"}
	}
	return doc, nil
}

func (d *ringDoc) judge() error {
	if d.Version != 1 {
		return fmt.Errorf("its version is %d, and this program knows version 1", d.Version)
	}
	if a, n := d.count(KeyActive), d.count(KeyNext); a != 1 || n != 1 {
		return fmt.Errorf("it has %d active keys and %d next ones, not one of each", a, n)
	}
	ids := map[string]bool{}
	for i := range d.Keys {
		k := &d.Keys[i]
		if err := k.judge(); err != nil {
			return fmt.Errorf("key %d: %w", i+1, err)
		}
		if ids[k.ID] {
			return fmt.Errorf("key %d stands twice", i+1)
		}
		ids[k.ID] = true
	}
	return nil
}

func (k *ringKey) judge() error {
	signs := k.State == KeyNext || k.State == KeyActive
	switch {
	case !signs && k.State != KeyPrevious && k.State != KeyRevoked:
		return errors.New("its state is none of next, active, previous and revoked")
	case signs != (k.D != ""):
		return errors.New("it has too much or too little of a key")
	case k.Made.IsZero(), signs != k.Stopped.IsZero(), k.State == KeyActive && k.Started.IsZero():
		return errors.New("a time is missing")
	}
	strict := base64.RawURLEncoding.Strict()
	x, err := strict.DecodeString(k.X)
	if err != nil || len(x) != ed25519.PublicKeySize || Thumbprint(x) != k.ID {
		return errors.New("its id is not that of its public half")
	}
	if signs {
		seed, err := strict.DecodeString(k.D)
		if err != nil || len(seed) != ed25519.SeedSize || !bytes.Equal(publicOf(ed25519.NewKeyFromSeed(seed)), x) {
			return errors.New("its halves are not of one key")
		}
	}
	return nil
}
