package password_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringwall/ringwall/identity/password"
	"github.com/ringwall/ringwall/internal/race"
)

// held is a Passwords whose hashes take until next is received from.
func held(o password.Options) (p *password.Passwords, next chan struct{}, running, most *atomic.Int64) {
	p, next, running, most = password.New(o), make(chan struct{}), new(atomic.Int64), new(atomic.Int64)
	p.Watch(func(password.Work) {
		n := running.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		<-next
		running.Add(-1)
	})
	return p, next, running, most
}

func TestOnlySoManyRunAndWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, next, running, most := held(password.Options{Running: 2, Queue: 3, Wait: time.Hour})
		answers := make(chan error, 10)
		for range 10 {
			go func() {
				_, _, err := p.Verify(t.Context(), "", "x")
				answers <- err
			}()
		}
		synctest.Wait()
		if n := running.Load(); n != 2 {
			t.Errorf("%d run, want 2", n)
		}
		for range 5 { // the rest are refused without a wait
			err := <-answers
			var busy *password.Busy
			if !errors.Is(err, password.ErrBusy) || !errors.As(err, &busy) || busy.RetryAfter != time.Hour {
				t.Errorf("one too many: %v, want ErrBusy with the time to come back", err)
			}
		}
		synctest.Wait()
		if len(answers) != 0 {
			t.Errorf("%d more answers, want 2 running and 3 waiting", len(answers))
		}
		close(next)
		for range 5 {
			if err := <-answers; err != nil {
				t.Errorf("one that waited: %v", err)
			}
		}
		if most.Load() != 2 {
			t.Errorf("%d ran at once, want 2", most.Load())
		}
		if _, _, err := p.Verify(t.Context(), "", "x"); err != nil {
			t.Errorf("after the flood: %v", err)
		}
	})
}

func TestWaitingEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, next, _, _ := held(password.Options{Running: 1, Queue: 2, Wait: 1500 * time.Millisecond})
		go p.Verify(t.Context(), "", "first")
		synctest.Wait()

		start := time.Now()
		_, err := p.Hash(t.Context(), "four unrelated words here")
		var busy *password.Busy
		if !errors.As(err, &busy) || time.Since(start) != 1500*time.Millisecond || busy.RetryAfter != 2*time.Second {
			t.Errorf("%v after %v, want ErrBusy after 1.5 s and 2 s to come back", err, time.Since(start))
		}

		gone, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		if ok, _, err := p.Verify(gone, "", "x"); ok || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("a client that leaves: %v after %v", err, time.Since(start))
		}
		if ok, _, err := p.Verify(gone, "", "x"); ok || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a client that has left: %v", err)
		}

		// Neither of them holds a place in the queue.
		done := make(chan error, 2)
		for range 2 {
			go func() {
				_, _, err := p.Verify(t.Context(), "", "x")
				done <- err
			}()
		}
		synctest.Wait()
		close(next)
		if err := errors.Join(<-done, <-done); err != nil {
			t.Error(err)
		}
		if ok, _, err := p.Verify(gone, "", "x"); ok || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a client that has left, with room: %v", err)
		}
	})
}

// TestTrap200SignInsAtOnce: memory stays flat while they are answered.
// Unbounded, they take 3.8 GB.
func TestTrap200SignInsAtOnce(t *testing.T) {
	if testing.Short() || race.Enabled {
		t.Skip("computes 200 hashes")
	}
	p := password.New(password.Options{Running: 1, Queue: 200, Wait: time.Hour})
	var all sync.WaitGroup
	var peak atomic.Uint64
	for range 200 {
		all.Go(func() {
			if ok, _, err := p.Verify(t.Context(), "", "x"); ok || err != nil {
				t.Errorf("%v, %v", ok, err)
			}
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak.Store(max(peak.Load(), m.HeapSys-m.HeapReleased))
		})
	}
	all.Wait()
	if mib := peak.Load() >> 20; mib > 250 {
		t.Errorf("the heap grew to %d MiB, want at most 250", mib)
	} else {
		t.Logf("the heap grew to %d MiB", mib)
	}
}
