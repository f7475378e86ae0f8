// Package report writes what a check found in the forms that other programs and
// people read: one HTML page, SARIF, JUnit and a badge. Text and JSON are
// check.Report's own. It is apart so that the rings, which import check, link no
// template engine.
//
// Reports hold what a hostile target said. Each form escapes it by its own rules.
package report

import "github.com/ringwall/ringwall/check"

// link is the page of a control, for reports that can point at one.
func link(id string) string {
	return "https://github.com/ringwall/ringwall/blob/main/docs/controls.md#" + anchor(id)
}

func anchor(id string) string {
	b := []byte(id)
	for i, c := range b {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9') {
			b[i] = '-'
		}
	}
	return string(b)
}

// bad reports whether somebody has to act.
func bad(v check.Verdict) bool { return v == check.Fail || v == check.Unknown }
