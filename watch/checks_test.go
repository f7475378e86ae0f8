package watch_test

import (
	"testing"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/watch"
)

func TestChecksAreComplete(t *testing.T) {
	for _, c := range watch.Checks() {
		if c.ID == "" || c.Title == "" || c.Why == "" || c.Ref == "" || c.Inside == "" || c.Verify != nil {
			t.Errorf("%+v", c.Meta)
		}
	}
	r := check.Run(t.Context(), watch.Checks(), check.Options{})
	if len(r.Inside) != len(watch.Checks()) || len(r.Results) != 0 {
		t.Errorf("got %+v", r)
	}
}
