package watch

import "math"

// How a spike is told from noise. A look is at the counts of 10 seconds. The
// figures were chosen with TestFalseAlarms, which plays a month of looks.
const (
	warmUp = 30  // looks before a spike can be told, 5 minutes
	memory = 180 // looks that the baseline remembers, half an hour

	times    = 3 // a spike is so many times what is usual,
	sigmas   = 6 // so many standard deviations above it,
	inARow   = 2 // at so many looks in a row,
	outright = 5 // or at one that is above so many times the bound

	calmLooks = 3 // below half of the bound in a row end a spike
	widest    = 3 // deviations that the variance learns from; else a rise would hide itself
	slower    = 4 // a spike becomes usual so many times slower than other change
)

// A baseline knows what is usual of one figure: a moving mean and a moving
// variance, which forget exponentially. A day's rise and fall stays below three
// times what half an hour ago was; a rise within minutes does not.
//
// What is above the bound is learnt as the bound, and slowly, so that an attack
// raises it late and a single burst hardly at all. A new level that stays is the
// usual one after some hours.
type baseline struct {
	floor float64 // fewer than these are never a spike

	looks          int // up to memory
	mean, variance float64
	row            int // looks above the bound; while spiking, below half of it
	spiking        bool
	peak           float64
}

// bound is what counts of a spike are above. No count varies less than by
// chance: the variance is at least the mean (Poisson).
func (b *baseline) bound() float64 {
	return max(b.floor, times*b.mean, b.mean+sigmas*b.deviation())
}

func (b *baseline) deviation() float64 { return math.Sqrt(max(b.variance, b.mean)) }

// look takes the next count and reports whether a spike began or ended with it.
func (b *baseline) look(count float64) (began, ended bool) {
	bound := b.bound()
	warm := b.looks >= warmUp
	switch {
	case !warm:
	case b.spiking:
		b.peak = max(b.peak, count)
		if b.row++; count > bound/2 {
			b.row = 0
		}
		if b.row == calmLooks {
			b.spiking, b.row, ended = false, 0, true
		}
	default:
		if b.row++; count <= bound {
			b.row = 0
		}
		if b.row == inARow || count > outright*bound {
			b.spiking, b.row, b.peak, began = true, 0, count, true
		}
	}
	b.looks = min(b.looks+1, memory)
	weight := 1 / float64(b.looks)
	if warm {
		count = min(count, bound)
	}
	if b.spiking {
		weight /= slower
	}
	d := count - b.mean
	b.mean += weight * d
	if warm {
		d = min(d, widest*b.deviation())
	}
	b.variance = (1 - weight) * (b.variance + weight*d*d)
	return began, ended
}
