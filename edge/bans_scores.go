package edge

import (
	"encoding/hex"
	"hash/maphash"
	"math"
	"sync"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/limit"
)

// scores holds the points of addresses that did something suspicious lately, at
// most 65,536 of them in 13 MB, which are allocated piece by piece as addresses
// come.
//
// Addresses live in sets of 8, placed by a hash that nobody outside can compute.
// A new one that finds its set full takes the place of the one with the fewest
// points. So a flood of addresses with one event each pushes out others of the
// kind, and not those that are near a ban.
type scores struct {
	seed   maphash.Seed
	base   time.Time
	shards [scoreShards]scoreShard
}

// PointsHalf is how long points towards a ban take to be half as many.
const PointsHalf = 5 * time.Minute

const (
	scoreShards = 64
	scoreSets   = 128 // in a shard
	scoreWays   = 8

	scoreHalf = PointsHalf

	// scoreGone: an address with fewer points is as good as new, and what is
	// known of it is forgotten.
	scoreGone = 0.5

	sheetRequests = 4
)

type scoreShard struct {
	mu   sync.Mutex
	sets [][scoreWays]sheet // nil until the first event
	_    [32]byte
}

// A sheet is what is known of one address. It has no pointers.
type sheet struct {
	key      limit.Key // the zero one: free
	points   float32   // at the time
	at       int64     // nanoseconds since base
	count    [len(weights)]uint16
	last     [len(weights)]uint32 // Unix seconds
	requests [sheetRequests]struct {
		id  [16]byte
		row uint8 // of weights, plus 1; 0: none
	}
	next uint8 // of requests, to be written
}

func newScores(now time.Time) *scores {
	return &scores{seed: maphash.MakeSeed(), base: now}
}

// add counts an event of a row and returns the points. From threshold on the
// sheet is taken out of the table and returned as well: a ban begins anew.
func (s *scores) add(key limit.Key, row int, request string, now time.Time, threshold float64) (points float64, full *sheet) {
	t := now.Sub(s.base).Nanoseconds()
	sh, set := s.set(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.sets == nil {
		sh.sets = make([][scoreWays]sheet, scoreSets)
	}
	p := sheetOf(&sh.sets[set], key, t)
	points = p.now(t)
	if points < scoreGone {
		*p = sheet{key: key}
		points = 0
	}
	points += float64(weights[row].points)
	p.points, p.at = float32(points), t
	if p.count[row] < math.MaxUint16 {
		p.count[row]++
	}
	p.last[row] = uint32(now.Unix())
	p.note(row, request)
	if points < threshold-scoreGone { // so that five times 20 are 100, though seconds pass
		return points, nil
	}
	out := *p
	*p = sheet{}
	return points, &out
}

func (s *scores) set(key limit.Key) (*scoreShard, int) {
	h := maphash.Comparable(s.seed, key)
	return &s.shards[h%scoreShards], int(h / scoreShards % scoreSets)
}

// sheetOf finds the address's sheet, a free one, or the one with the fewest points.
func sheetOf(set *[scoreWays]sheet, key limit.Key, t int64) *sheet {
	var victim *sheet
	least := math.Inf(1)
	for i := range set {
		p := &set[i]
		if p.key == key {
			return p
		}
		n := -1.0
		if p.key != (limit.Key{}) {
			n = p.now(t)
		}
		if n < least {
			victim, least = p, n
		}
	}
	*victim = sheet{key: key, at: t}
	return victim
}

// now is what is left of the points. When the clock was set back, all of them.
func (p *sheet) now(t int64) float64 {
	age := max(t-p.at, 0)
	return float64(p.points) * math.Exp2(-float64(age)/float64(scoreHalf))
}

// note keeps the request's id if it is one of ours.
func (p *sheet) note(row int, request string) {
	r := &p.requests[p.next]
	if len(request) != 2*len(r.id) {
		return
	}
	if _, err := hex.Decode(r.id[:], []byte(request)); err != nil {
		r.row = 0
		return
	}
	r.row = uint8(row) + 1
	p.next = (p.next + 1) % sheetRequests
}

// look copies an address's sheet; ok is false when there is none.
func (s *scores) look(key limit.Key, now time.Time) (p sheet, points float64, ok bool) {
	s.find(key, func(found *sheet) {
		p, points, ok = *found, found.now(now.Sub(s.base).Nanoseconds()), true
	})
	return p, points, ok
}

// forget frees an address's sheet.
func (s *scores) forget(key limit.Key) {
	s.find(key, func(found *sheet) { *found = sheet{} })
}

func (s *scores) find(key limit.Key, f func(*sheet)) {
	sh, set := s.set(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.sets == nil {
		return
	}
	for i := range sh.sets[set] {
		if p := &sh.sets[set][i]; p.key == key {
			f(p)
		}
	}
}

// events tells what the sheet holds, in the order of weights.
func (p *sheet) events() []BanEvent {
	var out []BanEvent
	for row, w := range weights {
		if p.count[row] == 0 {
			continue
		}
		e := BanEvent{Kind: w.kind, Control: w.control, Count: int(p.count[row]), Last: time.Unix(int64(p.last[row]), 0).UTC()}
		for i := range p.requests {
			// From the oldest on.
			if r := &p.requests[(int(p.next)+i)%sheetRequests]; int(r.row) == row+1 {
				e.Requests = append(e.Requests, hex.EncodeToString(r.id[:]))
			}
		}
		out = append(out, e)
	}
	return out
}

// A BanEvent is what an address did of one kind.
type BanEvent struct {
	Kind     audit.Kind `json:"kind"`
	Control  string     `json:"control,omitempty"` // where one control's events weigh otherwise
	Count    int        `json:"count"`
	Last     time.Time  `json:"last"`
	Requests []string   `json:"requests,omitempty"` // ids of the last ones, for the log
}
