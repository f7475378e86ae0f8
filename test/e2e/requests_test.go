package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"sync"
	"testing"
)

// TestChecksSendWhatTheySay makes every check of a real server by itself, and
// holds the connections that it opened to what it said first.
func TestChecksSendWhatTheySay(t *testing.T) {
	if testing.Short() {
		t.Skip("it makes every check by itself")
	}
	d := deploy(t)
	d.start()
	type report struct {
		Requests int
		Results  []struct{ ID, Verdict string }
	}
	look := func(args ...string) (said int, r report) {
		cmd := exec.Command(binary, append([]string{"check", d.URL, "--format", "json", "--fail-on", "never"}, args...)...)
		cmd.Dir, cmd.Env = d.state, d.environ()
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		if err := cmd.Run(); err != nil {
			t.Errorf("%v: %v\n%s", args, err, errs.String())
			return 0, r
		}
		if err := json.Unmarshal(out.Bytes(), &r); err != nil {
			t.Errorf("%v: %v", args, err)
		}
		var n, most int
		var word, of string
		if _, err := fmt.Sscanf(errs.String(), "%d %s of %s about %d requests, at most %d", &n, &word, &of, &said, &most); err != nil || most != 400 {
			t.Errorf("%v: %v: %s", args, err, errs.String())
		}
		return said, r
	}
	_, all := look()
	if len(all.Results) < 50 || all.Requests > 400 {
		t.Fatalf("%d checks with %d requests", len(all.Results), all.Requests)
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, 4)
	for _, c := range all.Results {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			said, r := look("--only", c.ID)
			if len(r.Results) != 1 || r.Results[0].Verdict == "unknown" { // tried twice
				t.Logf("%s was not seen: %+v", c.ID, r.Results)
				return
			}
			if r.Requests > said {
				t.Errorf("%s says about %d requests, and sent %d", c.ID, said, r.Requests)
			}
		})
	}
	wg.Wait()
}
