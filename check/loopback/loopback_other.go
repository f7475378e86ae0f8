//go:build !linux

package loopback

import (
	"context"
	"time"
)

// A Tap is had on Linux alone.
type Tap struct{}

func NewTap(int) (*Tap, error) { return nil, ErrNotHere }

func (*Tap) Close() error { return nil }

func (*Tap) Request(context.Context, string) ([]byte, error) { return nil, ErrNotHere }

func Holders(int) ([]int, error) { return nil, ErrNotHere }

func Pause([]int, time.Duration) (resume func(), err error) { return nil, ErrNotHere }
