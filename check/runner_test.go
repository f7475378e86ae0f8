package check_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringwall/ringwall/check"
)

func named(id string, verify func(context.Context) check.Finding) check.Check {
	return check.Check{Meta: check.Meta{ID: id, Title: "The claim of " + id}, Verify: verify}
}

func gives(f check.Finding) func(context.Context) check.Finding {
	return func(context.Context) check.Finding { return f }
}

func TestRunKeepsOrderAndJudges(t *testing.T) {
	tests := []struct {
		id     string
		verify func(context.Context) check.Finding
		want   check.Verdict
		got    string // part of the evidence
	}{
		{"a/pass", gives(check.Passed("seen %d times", 3)), check.Pass, "seen 3 times"},
		{"a/fail", gives(check.Failed("200", "403", "switch it on")), check.Fail, "200"},
		{"a/unseen", gives(check.Unseen("target down")), check.Unknown, "target down"},
		{"a/waived", gives(check.Finding{Verdict: check.Waived, Got: "until then"}), check.Waived, "until then"},
		{"a/zero", gives(check.Finding{}), check.Unknown, ""},
		{"a/silent-pass", gives(check.Finding{Verdict: check.Pass}), check.Unknown, "without evidence"},
		{"a/no-such-verdict", gives(check.Finding{Verdict: 9, Got: "x"}), check.Unknown, "number 9"},
		{"a/panic", func(context.Context) check.Finding { panic("index out of range") }, check.Unknown, "index out of range"},
		{"a/nil", nil, check.Unknown, "no proof"},
	}
	var checks []check.Check
	for _, tt := range tests {
		checks = append(checks, named(tt.id, tt.verify))
	}
	var seen []string
	r := check.Run(t.Context(), checks, check.Options{Progress: func(r check.Result) { seen = append(seen, r.ID) }})
	if len(r.Results) != len(tests) || len(seen) != len(tests) {
		t.Fatalf("%d results, %d calls of Progress, want %d", len(r.Results), len(seen), len(tests))
	}
	for i, tt := range tests {
		res := r.Results[i]
		if res.ID != tt.id || seen[i] != tt.id || res.Verdict != tt.want || !strings.Contains(res.Got, tt.got) {
			t.Errorf("result %d is %s %v %q, want %s %v %q", i, res.ID, res.Verdict, res.Got, tt.id, tt.want, tt.got)
		}
	}
	if got, want := r.Summary(), (check.Summary{Pass: 1, Fail: 1, Unknown: 6, Waived: 1}); got != want {
		t.Errorf("summary %+v, want %+v", got, want)
	}
}

func TestRunBoundsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		deaf := func(context.Context) check.Finding { <-release; return check.Passed("too late") }
		polite := func(ctx context.Context) check.Finding { <-ctx.Done(); return check.Unseen("no answer to GET /") }
		start := time.Now()
		r := check.Run(t.Context(), []check.Check{named("a/deaf", deaf), named("a/polite", polite), named("a/quick", gives(check.Passed("ok")))},
			check.Options{PerCheck: 3 * time.Second})
		if took := time.Since(start); took > 8*time.Second {
			t.Errorf("the run took %v", took)
		}
		for i, want := range []string{"no verdict within 3s", "no answer to GET /", "ok"} {
			if r.Results[i].Got != want {
				t.Errorf("%s: %q, want %q", r.Results[i].ID, r.Results[i].Got, want)
			}
		}
		if r.Results[0].Verdict != check.Unknown {
			t.Errorf("a check without a verdict in time is %v", r.Results[0].Verdict)
		}
		close(release)
	})
}

// TestRunSaysWhatTook: the time of the check itself, and none in JSON, where it would
// make two reports of the same differ.
func TestRunSaysWhatTook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := named("a/slow", func(context.Context) check.Finding { time.Sleep(3 * time.Second); return check.Passed("seen") })
		c.Ready = func(context.Context) error { time.Sleep(time.Minute); return nil }
		r := check.Run(t.Context(), []check.Check{c, named("a/none", nil)}, check.Options{})
		if r.Results[0].Took != 3*time.Second || r.Results[1].Took != 0 {
			t.Errorf("%v and %v", r.Results[0].Took, r.Results[1].Took)
		}
		with, _ := json.Marshal(r)
		r.Results[0].Took = 0
		if without, _ := json.Marshal(r); !bytes.Equal(with, without) {
			t.Errorf("%s", with)
		}
	})
}

// What nobody answered when the run was over was not refused.
func TestRunCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ran := 0
	stop := func(context.Context) check.Finding { ran++; cancel(); return check.Passed("seen") }
	r := check.Run(ctx, []check.Check{named("a/one", stop), named("a/two", stop)}, check.Options{})
	if ran != 1 || len(r.Results) != 2 || r.Results[0].Verdict != check.Unknown || r.Results[1].Verdict != check.Unknown {
		t.Errorf("%d ran: %+v", ran, r.Results)
	}
}

// TestTrapPassOnNothing: silence is never good.
func TestTrapPassOnNothing(t *testing.T) {
	r := check.Run(t.Context(), nil, check.Options{})
	if r.ExitCode() != 2 {
		t.Errorf("an empty run exits %d, want 2", r.ExitCode())
	}
	if (check.Report{}).ExitCode() != 2 {
		t.Error("the zero report does not exit 2")
	}
	var b strings.Builder
	if err := r.WriteText(&b, check.Text{}); err != nil || !strings.Contains(b.String(), "nothing is proved") {
		t.Errorf("%q, %v", b.String(), err)
	}
}

// TestInsideOnly: what no look from outside can show is told apart. It neither
// spoils a run that proved the rest nor saves one that proved nothing.
func TestInsideOnly(t *testing.T) {
	inside := check.Check{Meta: check.Meta{ID: "a/log", Title: "There is a log"}, Inside: "less \x1b/var/log/a"}
	r := check.Run(t.Context(), []check.Check{inside, named("a/pass", gives(check.Passed("seen")))}, check.Options{})
	if len(r.Results) != 1 || len(r.Inside) != 1 || r.Inside[0].ID != "a/log" || r.ExitCode() != 0 {
		t.Errorf("%+v exits %d", r, r.ExitCode())
	}
	var text, js strings.Builder
	if err := errors.Join(r.WriteText(&text, check.Text{}), r.WriteJSON(&js)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "LOOK     a/log: ") || strings.Contains(text.String(), "\x1b") || !strings.Contains(js.String(), `"inside"`) {
		t.Errorf("%s\n%s", text.String(), js.String())
	}
	if r := check.Run(t.Context(), []check.Check{inside}, check.Options{}); r.ExitCode() != 2 {
		t.Errorf("nothing but a look from inside exits %d, want 2", r.ExitCode())
	}
}

func TestExitCode(t *testing.T) {
	for _, tt := range []struct {
		verdicts []check.Verdict
		want     int
	}{
		{[]check.Verdict{check.Pass}, 0},
		{[]check.Verdict{check.Waived}, 0},
		{[]check.Verdict{check.Pass, check.Waived, check.Pass}, 0},
		{[]check.Verdict{check.Pass, check.Fail}, 1},
		{[]check.Verdict{check.Pass, check.Unknown}, 2},
		{[]check.Verdict{check.Unknown, check.Fail}, 1},
		{[]check.Verdict{check.Pass, 77}, 2},
	} {
		var r check.Report
		for _, v := range tt.verdicts {
			r.Results = append(r.Results, check.Result{Finding: check.Finding{Verdict: v}})
		}
		if got := r.ExitCode(); got != tt.want {
			t.Errorf("%v exit %d, want %d", tt.verdicts, got, tt.want)
		}
	}
}

// TestEvidenceTellsWhatIsLeftOut: of much evidence the first and the last is kept,
// with how much stood between.
func TestEvidenceTellsWhatIsLeftOut(t *testing.T) {
	f := check.Passed("seen")
	for i := range 9 {
		f.Evidence = append(f.Evidence, check.Exchange{Sent: fmt.Sprintf("$ look %d", i), Received: strings.Repeat("line\n", 50)})
	}
	f.Evidence[8] = check.Command([]string{"look", "8"}, strings.Repeat("line\n", 50), nil)
	r := check.Run(t.Context(), []check.Check{{Meta: check.Meta{ID: "app/a"}, Verify: func(context.Context) check.Finding { return f }}}, check.Options{})
	var sent []string
	for _, e := range r.Results[0].Evidence {
		sent = append(sent, e.Sent)
	}
	if got := strings.Join(sent, "|"); got != "$ look 0|[5 more before this]\n$ look 6|$ look 7|$ look 8" {
		t.Errorf("kept: %q", got)
	}
	if got := r.Results[0].Evidence[0].Received; strings.Count(got, "line\n") != 40 || !strings.HasSuffix(got, "[10 more lines]") {
		t.Errorf("of 50 lines: %q", got)
	}
	if got := r.Results[0].Evidence[3].Received; strings.Count(got, "\n") != 39 || !strings.Contains(got, "\n[11 more lines]\n") {
		t.Errorf("of a command's 50 lines: %q", got)
	}
}

// TestReadyHoldsACheckBack: what a check waits for first is none of its own time,
// a reason not to make it is told, and so is that the time of all was over.
func TestReadyHoldsACheckBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		after := func(d time.Duration, err error) check.Check {
			c := named("a/check", func(ctx context.Context) check.Finding {
				end, _ := ctx.Deadline()
				return check.Passed("%v left", time.Until(end))
			})
			c.Ready = func(ctx context.Context) error {
				select {
				case <-time.After(d):
					return err
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return c
		}
		r := check.Run(ctx, []check.Check{after(2*time.Minute, nil), after(0, errors.New("the target is asleep")), after(2*time.Minute, nil), after(0, nil)}, check.Options{PerCheck: 10 * time.Second})
		for i, want := range []string{"10s left", "not made: the target is asleep", "not made: the time for all checks (--timeout) was over", "not made: the time for all checks (--timeout) was over"} {
			if got := r.Results[i]; !strings.Contains(got.Got, want) || (got.Verdict == check.Pass) != (i == 0) {
				t.Errorf("check %d: %v %q, want %q", i, got.Verdict, got.Got, want)
			}
		}
	})
}

// Two checks may share an answer, and with it the evidence: neither writes in it.
func TestSharedEvidenceStays(t *testing.T) {
	shared := check.Passed("seen")
	shared.Evidence = []check.Exchange{{Sent: "1\x1b"}, {Sent: "2"}, {Sent: "3"}, {Sent: "4"}, {Sent: "5"}, {Sent: "6"}}
	shared.Addresses = []string{"10.0.0.1\x1b"}
	r := check.Run(t.Context(), []check.Check{named("a/one", gives(shared)), named("a/other", gives(shared))}, check.Options{})
	for _, res := range r.Results {
		if len(res.Evidence) != 4 || res.Evidence[0].Sent != `1\x1b` || res.Evidence[1].Sent != "[2 more before this]\n4" || res.Addresses[0] != `10.0.0.1\x1b` {
			t.Errorf("%s: %q, %q", res.ID, res.Evidence, res.Addresses)
		}
	}
	if shared.Evidence[0].Sent != "1\x1b" || shared.Evidence[3].Sent != "4" || shared.Addresses[0] != "10.0.0.1\x1b" {
		t.Errorf("what is shared is now %q, %q", shared.Evidence, shared.Addresses)
	}
}
