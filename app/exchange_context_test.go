package app_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringwall/ringwall/app"
)

// ownContext runs functions at its end by itself, as that of the edge's server
// does.
type ownContext struct {
	context.Context
	cancel context.CancelFunc
	mu     sync.Mutex
	asked  int // functions that wait
}

func (c *ownContext) AfterFunc(f func()) (stop func() bool) {
	c.mu.Lock()
	c.asked++
	c.mu.Unlock()
	return context.AfterFunc(c.Context, f)
}

// TestFunctionsWaitForTheEnd: what a handler has run at the end of its request
// runs once, whoever ends it, and never when it was stopped before.
func TestFunctionsWaitForTheEnd(t *testing.T) {
	type waiter interface {
		AfterFunc(func()) (stop func() bool)
	}
	for _, own := range []bool{true, false} {
		for _, tt := range []struct {
			name string
			end  func(c *ownContext, stop []func() bool)
			want int // functions that run, of two
		}{
			{"the client leaves", func(c *ownContext, _ []func() bool) { c.cancel() }, 2},
			{"the timeout", func(*ownContext, []func() bool) { time.Sleep(time.Hour) }, 2},
			{"both", func(c *ownContext, _ []func() bool) { time.Sleep(time.Hour); c.cancel() }, 2},
			{"one was stopped", func(c *ownContext, stop []func() bool) {
				if !stop[0]() || stop[0]() {
					t.Error("a function that waits is stopped once")
				}
				c.cancel()
			}, 1},
			{"both were stopped", func(c *ownContext, stop []func() bool) { stop[0](); stop[1](); time.Sleep(time.Hour); c.cancel() }, 0},
		} {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				c := &ownContext{Context: ctx, cancel: cancel}
				var mu sync.Mutex
				ran := map[int]int{}
				ring, err := app.New(answerPolicy(), http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					var stop []func() bool
					for i := range 2 {
						f := func() {
							mu.Lock()
							defer mu.Unlock()
							ran[i]++
						}
						stop = append(stop, r.Context().(waiter).AfterFunc(f))
					}
					tt.end(c, stop)
					synctest.Wait()
					mu.Lock()
					defer mu.Unlock()
					if len(ran) != tt.want || ran[0] > 1 || ran[1] > 1 {
						t.Errorf("%s, own %v: ran %v, want %d once", tt.name, own, ran, tt.want)
					}
				}), app.Deps{})
				if err != nil {
					t.Fatal(err)
				}
				r := httptest.NewRequest(http.MethodGet, "http://localhost/", nil)
				if own {
					r = r.WithContext(c)
				} else {
					r = r.WithContext(ctx)
				}
				ring.ServeHTTP(httptest.NewRecorder(), r)
			})
		}
	}
}
