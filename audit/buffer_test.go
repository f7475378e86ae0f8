package audit_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringwall/ringwall/audit"
)

// disk is a writer that can be full, tear a line, or hang.
type disk struct {
	mu   sync.Mutex
	out  bytes.Buffer
	full bool
	tear int // bytes taken of the next write, which then fails
	hang chan struct{}
}

func (d *disk) Write(p []byte) (int, error) {
	if d.hang != nil {
		<-d.hang
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.full:
		return 0, errors.New("no space left on device")
	case d.tear > 0:
		n := d.tear
		d.tear = 0
		d.out.Write(p[:n])
		return n, errors.New("no space left on device")
	}
	return d.out.Write(p)
}

func (d *disk) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.out.String()
}

func TestBufferFlushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d, said disk
		b := audit.NewBuffer(&d, &said)
		io.WriteString(b, "one\n")
		time.Sleep(199 * time.Millisecond)
		synctest.Wait()
		if d.String() != "" {
			t.Errorf("written before 200 ms: %q", d.String())
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if d.String() != "one\n" {
			t.Errorf("after 200 ms: %q", d.String())
		}
		io.WriteString(b, "two\n")
		b.Flush()
		synctest.Wait()
		if d.String() != "one\ntwo\n" {
			t.Errorf("after Flush: %q", d.String())
		}
		big := strings.Repeat("x", 64<<10) + "\n"
		io.WriteString(b, big)
		synctest.Wait()
		if d.String() != "one\ntwo\n"+big {
			t.Errorf("64 kB are not written at once")
		}
		io.WriteString(b, "last\n")
		if err := b.Close(); err != nil || !strings.HasSuffix(d.String(), "last\n") {
			t.Errorf("Close: %v", err)
		}
		io.WriteString(b, "late\n")
		if err := b.Close(); err != nil || said.String() != "" {
			t.Errorf("second Close: %v; said %q", err, said.String())
		}
	})
}

func TestBufferEventsAreWrittenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d disk
		b := audit.NewBuffer(&d, io.Discard)
		defer b.Close()
		l := slog.New(audit.NewHandler(b, slog.LevelInfo))
		l.Info("request")
		synctest.Wait()
		if d.String() != "" {
			t.Errorf("an ordinary line was written at once")
		}
		audit.NewLog(l).Record(audit.Event{Kind: audit.PolicyLoaded})
		synctest.Wait()
		if n := strings.Count(d.String(), "\n"); n != 2 {
			t.Errorf("%d lines after an event, want 2", n)
		}
		l.Warn("w")
		synctest.Wait()
		if n := strings.Count(d.String(), "\n"); n != 3 {
			t.Errorf("%d lines after a warning, want 3", n)
		}
	})
}

func TestBufferDiskFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d, said disk
		b := audit.NewBuffer(&d, &said)
		defer b.Close()
		put := func(s string) {
			if n, err := io.WriteString(b, s); n != len(s) || err != nil {
				t.Errorf("Write: %d, %v", n, err)
			}
			b.Flush()
			synctest.Wait()
		}
		d.full = true
		put("1\n")
		put("2\n3\n")
		d.full = false
		put("4\n")
		if want := "ringwall: 3 log lines were lost: no space left on device\n"; d.String() != "4\n" || said.String() != want {
			t.Errorf("wrote %q, said %q", d.String(), said.String())
		}
		put("5\n")
		d.tear = 3
		put("whole\ntorn\n")
		put("6\n")
		if want := "4\n5\nwho\n6\n"; d.String() != want {
			t.Errorf("wrote %q, want %q", d.String(), want)
		}
		if n := strings.Count(said.String(), "\n"); n != 2 {
			t.Errorf("said %q", said.String())
		}
	})
}

func TestBufferNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		d, said := disk{hang: hang}, disk{}
		b := audit.NewBuffer(&d, &said)
		line := strings.Repeat("y", 999) + "\n"
		begun := time.Now()
		for range 5000 { // 5 MB
			io.WriteString(b, line)
		}
		if time.Since(begun) != 0 {
			t.Error("Write waited")
		}
		if err := b.Close(); err == nil || time.Since(begun) != 2*time.Second {
			t.Errorf("Close of a hanging writer: %v after %v", err, time.Since(begun))
		}
		close(hang)
		synctest.Wait()
		if kept := strings.Count(d.String(), "\n"); kept < 1000 || kept > 2200 {
			t.Errorf("%d lines were kept, want 1 to 2 MB", kept)
		}
		if !strings.Contains(said.String(), "did not keep up") {
			t.Errorf("said %q", said.String())
		}
	})
}

func TestBufferConcurrentWriters(t *testing.T) {
	var d disk
	b := audit.NewBuffer(&d, io.Discard)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 200 {
				fmt.Fprintf(b, "%d %d\n", i, j)
			}
		})
	}
	wg.Wait()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(d.String(), "\n"); n != 1600 {
		t.Errorf("%d lines, want 1600", n)
	}
}
