// Package check holds what every ring shares: the verdict on a control, and
// the finding that explains it. It imports nothing of Ringwall's.
package check

import (
	"context"
	"fmt"
	"time"
)

// A Verdict says what was seen of a control. The zero value is Unknown, so
// that a check that forgot to decide never counts as good.
type Verdict uint8

const (
	Unknown Verdict = iota // not seen: target down, no access, empty answer
	Pass                   // seen in force
	Fail                   // seen not in force
	Waived                 // switched off by a waiver that has not expired
)

var verdicts = [...]string{"unknown", "pass", "fail", "waived"}

func (v Verdict) String() string {
	if int(v) < len(verdicts) {
		return verdicts[v]
	}
	return verdicts[Unknown]
}

// MarshalText gives the lower-case word: unknown, pass, fail or waived.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText accepts exactly the four words of MarshalText.
func (v *Verdict) UnmarshalText(b []byte) error {
	for i, s := range verdicts {
		if s == string(b) {
			*v = Verdict(i)
			return nil
		}
	}
	return fmt.Errorf("verdict %q is none of unknown, pass, fail, waived", b)
}

// Meta identifies a control everywhere: code, report, policy, docs, metrics.
type Meta struct {
	ID    string // "ring/noun", such as "app/hsts"
	Title string // a claim that is true or false
	Why   string // the attack that it stops, one sentence
	Ref   string // standards and lines of the blueprint; see References
	Layer string // the ring that answers for it, when the ID does not say: app, edge or host

	// Most is the largest number of connections that its proof opens, of one try.
	// 0 is of controls that are not proved over the network.
	Most int

	// Points are the most that its proof earns its address towards a ban of the
	// edge's, by the weights of docs/bans.md, of one try from another machine.
	Points int

	// Spends marks a control whose proof uses up a limit of the address that it
	// comes from, or earns it a ban: it is made after the others.
	Spends bool

	// Waits marks a control whose proof spends its time waiting for the target. It
	// is made beside the others where it has an address of its own.
	Waits bool
}

// A Finding is what one look at a control saw.
type Finding struct {
	Verdict Verdict
	Got     string // evidence: what was sent and what came back, short
	Want    string // what a pass looks like
	Fix     string // what to type or change next

	// Moot marks an Unknown of which there was nothing to judge, such as cookies
	// that nobody sets: it is listed apart, with Got as where to look.
	Moot bool

	// Shown marks a Fail that an answer shows by itself, whatever its status is and
	// whoever gave it, such as a header that it lacks or a secret that it tells. Of
	// other failures nothing is left where all answers were errors.
	Shown bool

	// Unmade marks an Unknown of a check that the run left out so as to keep within
	// its bounds, of points or of requests, or because the target asked to be left
	// alone. It says nothing of the control, for better
	// or for worse: comparisons keep to the last look. The run itself has proved nothing.
	Unmade bool

	// Seen is when the finding was made, of one that is carried over from an earlier
	// report, and Missed in how many runs since then it was not; see Carry.
	Seen   time.Time
	Missed int

	// Evidence is what was asked and what came back, without secrets: the first
	// and the last of it when it is much.
	Evidence []Exchange

	// Addresses are those of the target that it was seen at.
	Addresses []string
}

// An Exchange is a request and its answer, as far as the end of their heads, or a
// command and its output. Secrets are already blotted out.
type Exchange struct {
	Sent     string `json:"sent"`
	Received string `json:"received"`
}

// Passed is a finding in force, with its evidence.
func Passed(format string, args ...any) Finding {
	return Finding{Verdict: Pass, Got: fmt.Sprintf(format, args...)}
}

// Failed is a finding not in force: what came back, what should have, and the fix.
func Failed(got, want, fix string) Finding {
	return Finding{Verdict: Fail, Got: got, Want: want, Fix: fix}
}

// Shown is Failed, of what an answer shows by itself.
func Shown(got, want, fix string) Finding {
	f := Failed(got, want, fix)
	f.Shown = true
	return f
}

// Unseen is a finding that could not be made, with the reason.
func Unseen(format string, args ...any) Finding {
	return Finding{Verdict: Unknown, Got: fmt.Sprintf(format, args...)}
}

// Moot is a finding about something that the target does not have, as far as
// was seen: neither a pass nor a hole. It says where to look.
func Moot(format string, args ...any) Finding {
	return Finding{Moot: true, Got: fmt.Sprintf(format, args...)}
}

// OffUntil is the finding of a control that a waiver switches off up to a day.
// One that has expired is a failure: the control is back, or should be.
func OffUntil(day time.Time, reason, control string, expired bool) Finding {
	until := day.Format(time.DateOnly)
	if expired {
		return Failed("the waiver ended on "+until, "the control in force, or a waiver that has not ended",
			"remove the waiver of "+control+" from the policy and reload, or renew it with a reason")
	}
	return Finding{Verdict: Waived, Got: "until " + until + ": " + reason}
}

// Spent is an error of Check.Ready: the run has not left what the check may take, of
// what it allows itself or the target allows it.
type Spent string

func (s Spent) Error() string { return string(s) }

// A Check is a control bound to the target that it is proved against.
type Check struct {
	Meta
	Verify func(context.Context) Finding

	// Ready waits until the check may begin; its time is not the check's. An error
	// is the reason why the check is not made: one that is a Spent makes it Unmade.
	// nil: at once.
	Ready func(context.Context) error

	// Inside says how to see the control on the server itself, when no look
	// from outside can ever show it. There is then no Verify.
	Inside string

	// Lane is the line that the check stands in. Those of one lane are made one
	// after the other, in order.
	Lane string
}
