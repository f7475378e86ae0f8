package limit

import (
	"math"
	"math/bits"
)

// bucketID mixes the class into a key's hash. For one class it is a bijection
// (the finalizer of MurmurHash3), so it adds no collisions to the hash's own.
func bucketID(h uint64, r *Rate) uint64 {
	h ^= r.id
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return max(h^h>>33, 1) // 0 is an empty place
}

// tick moves the shard's clock on to now and returns it.
func (s *shard) tick(now int64) int64 {
	switch step := now - s.last; {
	case step >= 0:
		s.clock += step
		s.last = now
	case step < -maxSkew: // set back
		s.last = now
	}
	return s.clock
}

// find returns the bucket's set, and its place there or -1.
func (s *shard) find(id uint64) (*set, int) {
	i, _ := bits.Mul64(id, uint64(len(s.sets)))
	t := &s.sets[i]
	for way := range t.id {
		if t.id[way] == id {
			return t, way
		}
	}
	return t, -1
}

// ahead is how long from now the bucket needs to be full again. One that is not
// held is full.
func (s *shard) ahead(id uint64, now int64) int64 {
	if s.sets == nil {
		return 0
	}
	t, way := s.find(id)
	if way < 0 {
		return 0
	}
	return max(t.full[way]-now, 0)
}

// put stores the bucket, in the place of another one if it must.
func (s *shard) put(id uint64, now, ahead int64, slack uint16, sets int64) {
	if s.sets == nil {
		s.sets = make([]set, sets)
	}
	t, way := s.find(id)
	if way < 0 {
		way = s.makeRoom(t, now)
		t.id[way] = id
	}
	t.full[way], t.slack[way] = now+ahead, slack
}

// makeRoom returns the place for a new bucket: a free one, one that has
// refilled, or that of the bucket least used up.
func (s *shard) makeRoom(t *set, now int64) int {
	victim, least := 0, math.Inf(1)
	for way := range t.id {
		if t.id[way] == 0 {
			s.held++
			return way
		}
		if t.full[way] <= now {
			return way
		}
		if u := used(t.full[way]-now, t.slack[way]); u < least {
			victim, least = way, u
		}
	}
	s.evicted++
	if least > 1 {
		s.freed++
	}
	return victim
}

// used is how far a bucket that is full again after ahead nanoseconds is used
// up. Above 1 it is blocked, as one with a burst of 1 always is.
func used(ahead int64, slack uint16) float64 {
	return float64(ahead) / float64(max(unpack(slack), 1))
}

// pack keeps 11 significant bits of v and rounds down.
func pack(v int64) uint16 {
	shift := bits.Len64(uint64(v)) - 11
	if shift < 0 {
		return uint16(v)
	}
	return uint16(shift+1)<<10 | uint16(v>>shift)&(1<<10-1)
}

func unpack(c uint16) int64 {
	shift := int(c>>10) - 1
	if shift < 0 {
		return int64(c)
	}
	return int64(c&(1<<10-1)|1<<10) << shift
}

// Stats is a snapshot of a Memory.
type Stats struct {
	Buckets   int    // held, those among them that have refilled but were not yet replaced included
	Places    int    // for buckets, when all tables are allocated
	Bytes     int64  // allocated by now
	Evictions uint64 // buckets forgotten before they had refilled
	Freed     uint64 // of these, blocked ones: more than a few mean that the memory is too small
}

// Stats counts what the shards hold. It locks them one by one: cheap enough for
// a scrape, not for a request.
func (m *Memory) Stats() Stats {
	st := Stats{
		Places: len(m.shards) * int(m.sets) * ways,
		Bytes:  memoryBytes + int64(len(m.shards))*shardBytes,
	}
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		st.Buckets += s.held
		st.Bytes += int64(len(s.sets)) * setBytes
		st.Evictions += s.evicted
		st.Freed += s.freed
		s.mu.Unlock()
	}
	return st
}
