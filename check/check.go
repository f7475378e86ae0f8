// Package check holds what every ring shares: the verdict on a control, and
// the finding that explains it. It imports nothing of Ringwall's.
package check

import (
	"context"
	"fmt"
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
	Ref   string // standard and blueprint line, such as "RFC 6797; blueprint A1"
}

// A Finding is what one look at a control saw.
type Finding struct {
	Verdict Verdict
	Got     string // evidence: what was sent and what came back, short
	Want    string // what a pass looks like
	Fix     string // what to type or change next
}

// Passed is a finding in force, with its evidence.
func Passed(format string, args ...any) Finding {
	return Finding{Verdict: Pass, Got: fmt.Sprintf(format, args...)}
}

// Failed is a finding not in force: what came back, what should have, and the fix.
func Failed(got, want, fix string) Finding {
	return Finding{Verdict: Fail, Got: got, Want: want, Fix: fix}
}

// Unseen is a finding that could not be made, with the reason.
func Unseen(format string, args ...any) Finding {
	return Finding{Verdict: Unknown, Got: fmt.Sprintf(format, args...)}
}

// A Check is a control bound to the target that it is proved against.
type Check struct {
	Meta
	Verify func(context.Context) Finding

	// Inside says how to see the control on the server itself, when no look
	// from outside can ever show it. There is then no Verify.
	Inside string
}
