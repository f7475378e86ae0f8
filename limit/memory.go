package limit

import (
	"hash/maphash"
	"math/bits"
	"sync"
	"time"
	"unsafe"
)

// DefaultBytes is the memory of a Memory that is not told how much, 64 MB: room
// for 3.4 million buckets.
const DefaultBytes = 64_000_000

// Memory keeps buckets in the memory of this process, within a cap that holds
// for all it allocates. Its tables are allocated piece by piece as clients come
// and never grow or move; Take allocates nothing else.
//
// # What is forgotten
//
// Buckets live in sets of 7, placed by a hash that is keyed with random bits of
// this process, so that nobody can choose where a bucket goes. A new bucket that
// finds its set full takes the place of one that has refilled, which loses
// nothing, or else of the one that is least used up: the smallest share of its
// class's burst is spent. A blocked bucket, one without a whole request left,
// goes only when all seven are blocked. (Within a thousandth of being blocked
// counts as blocked.)
//
// A forgotten bucket is a full one again, so no client is harmed, and trying to
// be forgotten does not pay: each bucket that pushes must be as used up as the
// one pushed out, and belongs to an address that had a full bucket to spend.
// With 64 MB, half a million clients that are all blocked at the same time have
// 6 of their buckets forgotten, a million of them 760. Stats counts both kinds.
//
// # Collisions
//
// A bucket is known by 64 bits of the keyed hash. A new client shares another
// one's bucket with probability n/2^64 for n buckets: below 2 in 10^13 for 3.4
// million. The hash is hash/maphash, which is made to withstand chosen keys but
// is not cryptographic; no answer shows anything of it.
//
// # Clock
//
// Time is what passes between the now arguments; with times of time.Now that
// is monotonic. Requests that arrive a little out of order see time stand
// still. When the clock is set back by more than 10 s the buckets go on from
// where they were: none opens and none is prolonged.
type Memory struct {
	seed   maphash.Seed
	base   time.Time
	shift  int   // of a hash, to the index of its shard
	sets   int64 // in each shard
	shards []shard
}

const ways = 7

// set is two cache lines.
type set struct {
	id    [ways]uint64 // 0: empty
	full  [ways]int64  // when the bucket will be full again, by its shard's clock
	slack [ways]uint16 // of its rate
	_     uint16
}

type shard struct {
	mu      sync.Mutex
	sets    []set    // nil until the first bucket
	clock   int64    // nanoseconds
	last    int64    // the last now that moved clock
	held    int      // places that are not empty
	evicted uint64   // buckets that had not refilled
	freed   uint64   // blocked ones among them
	_       [64]byte // shards do not share cache lines
}

const (
	maxShards = 256
	pageBytes = 8 << 10 // the runtime rounds large allocations up to this
	minBytes  = 16 << 10
	maxSkew   = int64(10 * time.Second)

	memoryBytes = int64(unsafe.Sizeof(Memory{}))
	shardBytes  = int64(unsafe.Sizeof(shard{}))
	setBytes    = int64(unsafe.Sizeof(set{}))
)

// NewMemory makes an empty store that never holds more than capBytes. 0 and
// less stand for DefaultBytes; fewer than 16 KiB are raised to that.
func NewMemory(capBytes int64) *Memory {
	if capBytes <= 0 {
		capBytes = DefaultBytes
	}
	capBytes = max(capBytes, minBytes)
	n := int64(maxShards)
	for n > 1 && capBytes/n < 4*pageBytes {
		n /= 2
	}
	each := (capBytes - memoryBytes - n*shardBytes) / n / pageBytes * pageBytes
	return &Memory{
		seed: maphash.MakeSeed(), base: time.Now(),
		shift:  64 - bits.TrailingZeros64(uint64(n)), // a shift by 64 gives 0
		sets:   each / setBytes,
		shards: make([]shard, n),
	}
}

// Take implements Limiter. It errs only on a Rate that NewRate did not make.
func (m *Memory) Take(key Key, rates []Rate, now time.Time, into []Decision) (bool, error) {
	into = into[:len(rates)]
	for i := range rates {
		if rates[i].interval == 0 {
			return false, errNoRate
		}
	}
	h := maphash.Bytes(m.seed, key.b[:])
	s := &m.shards[h>>m.shift]
	t := int64(now.Sub(m.base))
	s.mu.Lock()
	t = s.tick(t)
	ok := true
	for i := range rates {
		r := &rates[i]
		ahead := min(s.ahead(bucketID(h, r), t), r.window)
		into[i] = r.decision(ahead)
		into[i].Allowed = r.admits(ahead)
		ok = ok && into[i].Allowed
	}
	if ok {
		for i := range rates {
			r := &rates[i]
			ahead := min(s.ahead(bucketID(h, r), t), r.window) + r.interval
			s.put(bucketID(h, r), t, ahead, r.slack, m.sets)
			into[i] = r.decision(ahead)
			into[i].Allowed = true
		}
	}
	s.mu.Unlock()
	return ok, nil
}
