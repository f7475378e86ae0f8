package edge

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/ringwall/ringwall/audit"
)

// Bans are kept in one file of the state directory: a line that says the
// version, then one line of JSON for each ban. It is replaced as a whole, at
// most once a second, so that a crash loses the bans of one second and never
// the file. Points are not kept.
const (
	bansFile    = "bans.json"
	bansLock    = "bans.lock"
	bansVersion = 1
	bansMost    = 256 << 20 // bytes that are read
)

type bansHeader struct {
	Version int `json:"ringwall_bans"`
}

// Load reads the bans that were kept, besides those that are held already. Bans
// that cannot be read are set aside as bans.json.bad, an event says so, and there
// are none. Only a state directory that cannot be used is an error.
//
// A ban never lasts longer from now on than it was long, so that a clock that
// was set back makes none eternal.
func (b *Bans) Load() error {
	if b.dir == "" {
		return nil
	}
	unlock, err := b.dir.Lock(bansLock)
	if err != nil {
		return fmt.Errorf("bans: %w", err)
	}
	defer unlock()
	return b.load()
}

// load is Load under the lock.
func (b *Bans) load() error {
	f, err := os.Open(b.dir.Path(bansFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("bans: %w", err)
	}
	defer f.Close()
	kept, err := readBans(io.LimitReader(f, bansMost))
	if err != nil {
		bad := b.dir.Path(bansFile + ".bad")
		if rerr := os.Rename(b.dir.Path(bansFile), bad); rerr != nil {
			return fmt.Errorf("bans: %w", errors.Join(err, rerr))
		}
		b.failed(fmt.Sprintf("nobody is banned any more: %s: %v; it is now %s", b.dir.Path(bansFile), err, bad))
		return nil
	}
	now := b.clock()
	rules := b.rules.Load()
	t := b.table
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, ban := range kept {
		if rules.spares(ban.Prefix) {
			continue
		}
		length := ban.Until.Sub(ban.Began)
		// now.Add gives the time a monotonic reading: it is then safe from the clock.
		ban.Until = now.Add(min(ban.Until.Sub(now), length))
		ban.Began = ban.Until.Add(-length)
		switch old := t.held[ban.Prefix]; {
		case old != nil:
		case now.Before(ban.Until):
			t.put(ban)
		case now.Before(ban.Until.Add(rules.most)) && len(t.held) < t.most:
			t.insert(&heldBan{Ban: ban}, &t.over)
		}
	}
	return nil
}

// readBans reads a whole file, or nothing.
func readBans(r io.Reader) ([]Ban, error) {
	lines := bufio.NewReaderSize(r, 64<<10)
	var h bansHeader
	line, err := lines.ReadBytes('\n')
	if err != nil || json.Unmarshal(line, &h) != nil || h.Version == 0 {
		return nil, errors.New("this is no list of bans")
	}
	if h.Version != bansVersion {
		return nil, fmt.Errorf("it is of version %d, and this program knows %d", h.Version, bansVersion)
	}
	var out []Ban
	for n := 2; ; n++ {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF && len(line) == 0 {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: it ends early", n)
		}
		var ban Ban
		if err := json.Unmarshal(line, &ban); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if err := ban.judge(); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if out = append(out, ban); len(out) > maxBans {
			return nil, fmt.Errorf("it holds more than %d bans", maxBans)
		}
	}
}

// judge refuses a ban that this program would not have made.
func (b *Ban) judge() error {
	length := b.Until.Sub(b.Began)
	switch {
	case !b.Prefix.IsValid() || b.Prefix != BannedAs(b.Prefix):
		return errors.New("its address is not one")
	case b.Prefix.Addr().Is4() && b.Prefix.Bits() < widestBan4, b.Prefix.Addr().Is6() && b.Prefix.Bits() < widestBan6:
		return errors.New("its prefix is too wide")
	case length <= 0 || length > LongestBan:
		return errors.New("its length is none")
	case b.Times < 1 || len(b.Events) > len(weights):
		return errors.New("its past is none")
	}
	return nil
}

// Save writes the bans if there was a change. One that fails is told in an
// event, once until it works again, and the next call tries anew.
func (b *Bans) Save() error {
	if b.dir == "" || !b.dirty.Load() || b.retired.Load() {
		return nil
	}
	unlock, err := b.dir.Lock(bansLock)
	if err == nil {
		if !b.retired.Load() { // meanwhile
			err = b.save()
		}
		unlock()
	}
	if err != nil {
		err = fmt.Errorf("bans: %w", err)
		if !b.failing.Swap(true) {
			b.failed("bans are not kept: " + err.Error())
		}
		return err
	}
	b.failing.Store(false)
	return nil
}

// Edit loads the bans, has f change them and saves them, for a program that finds
// no server running. Nobody else reads or writes the file meanwhile, so that f
// can look once more whether a server has started: one that starts later reads
// what f has done.
func (b *Bans) Edit(f func() error) error {
	unlock, err := b.dir.Lock(bansLock)
	if err != nil {
		return fmt.Errorf("bans: %w", err)
	}
	defer unlock()
	if err := b.load(); err != nil {
		return err
	}
	if err := f(); err != nil || !b.dirty.Load() {
		return err
	}
	if err := b.save(); err != nil {
		return fmt.Errorf("bans: %w", err)
	}
	return nil
}

// save is Save under the lock.
func (b *Bans) save() (err error) {
	b.dirty.Store(false) // what changes from here on is saved again
	defer func() {
		if err != nil {
			b.dirty.Store(true)
		}
	}()
	t := b.table
	t.mu.RLock()
	bans := make([]Ban, 0, len(t.held))
	for _, held := range t.held {
		bans = append(bans, held.Ban)
	}
	t.mu.RUnlock()
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	err = enc.Encode(bansHeader{bansVersion})
	for i := range bans {
		err = errors.Join(err, enc.Encode(&bans[i]))
	}
	if err != nil {
		return err
	}
	return b.dir.Write(bansFile, buf.Bytes(), 0o600)
}

// Run ends bans in time, keeps the file and tells the Banner, until ctx ends.
// Bans hold and end without it: what is missing then are the events, the file and
// the Banner.
func (b *Bans) Run(ctx context.Context) {
	var told sync.WaitGroup
	if b.banner != nil {
		told.Go(func() { b.tellBanner(ctx) })
	}
	defer told.Wait()
	// Writing takes a twentieth of the time at most.
	var rest time.Time
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			_ = b.Save()
			return
		case <-tick.C:
		}
		b.End()
		if began := time.Now(); began.After(rest) {
			_ = b.Save()
			rest = time.Now().Add(19 * time.Since(began))
		}
	}
}

// End ends the bans whose time has come, each with an event, and forgets old
// ones.
func (b *Bans) End() {
	now := b.clock()
	t := b.table
	t.mu.Lock()
	ended := t.end(now, b.rules.Load().most)
	t.mu.Unlock()
	for _, ban := range ended {
		b.lifted(audit.BanEnded, ban, "", "")
	}
}
