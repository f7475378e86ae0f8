package check

import (
	"net"
	"slices"
	"time"
)

// A Report is the outcome of one run, in the order of its checks.
type Report struct {
	Target  string    // what was looked at, as the user wrote it
	Version string    // of the program that looked
	Time    time.Time // when the run began, UTC
	Results []Result
	Inside  []Inside // what this run could not judge whatever the target does

	Host *Host // that it was made on; nil: it was made from elsewhere

	Requests int // connections that were opened; 0: nobody counted
}

// A Host is the server that a look from inside was made on.
type Host struct {
	Name      string   `json:"name"`
	Site      string   `json:"site,omitempty"` // that it serves, as its policy says
	Addresses []string `json:"addresses"`      // that are its own
}

// Inside is a control that this run could not judge whatever the target does:
// what only a look on the server shows, or one from elsewhere, or of which there
// was nothing to see.
type Inside struct {
	Meta
	How string // to see it
}

// Addresses are those of the target that were looked at, in the order in which
// they were met. This machine's own are left out: they tell nothing.
func (r Report) Addresses() (out []string) {
	for i := range r.Results {
		for _, a := range r.Results[i].Addresses {
			if a = clean(a); !slices.Contains(out, a) && !net.ParseIP(a).IsLoopback() {
				out = append(out, a)
			}
		}
	}
	return out
}

// ToDo is what failed, and then what could not be seen, each in the order of the run.
func (r Report) ToDo() (out []Result) {
	var unseen []Result
	for _, res := range r.Results {
		switch res.Verdict {
		case Fail:
			out = append(out, res)
		case Unknown:
			unseen = append(unseen, res)
		}
	}
	return append(out, unseen...)
}

// Summary counts the results.
func (r Report) Summary() (s Summary) {
	for i := range r.Results {
		switch r.Results[i].Verdict {
		case Pass:
			s.Pass++
		case Fail:
			s.Fail++
		case Waived:
			s.Waived++
		default:
			s.Unknown++
		}
	}
	return s
}

// ExitCode is the process's: 1 when something failed, else 2 when something
// is unknown or nothing was checked at all, else 0.
func (r Report) ExitCode() int {
	switch s := r.Summary(); {
	case s.Fail > 0:
		return 1
	case s.Unknown > 0 || len(r.Results) == 0:
		return 2
	}
	return 0
}
