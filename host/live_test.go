package host

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestAFileThatIsNeverRead: one on a server of files that does not answer is given up.
func TestAFileThatIsNeverRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := make(chan error)
		hangs := func() (string, error) { return "it is there", <-answers }
		began := time.Now()
		if s, err := atMost(longestRead, "/home/a", hangs); err == nil || !strings.HasPrefix(err.Error(), "/home/a: no answer within 10s") || s != "" || time.Since(began) != longestRead {
			t.Errorf("%q %v after %v", s, err, time.Since(began))
		}
		answers <- nil
		failed := errors.New("failed")
		go func() { time.Sleep(time.Second); answers <- failed }()
		if s, err := atMost(longestRead, "/home/a", hangs); !errors.Is(err, failed) || s == "" {
			t.Errorf("%q %v", s, err)
		}
	})
}
