package main

import "testing"

func TestSplitToken(t *testing.T) {
	for s, want := range map[string][2]string{
		"abc.def.ghi":       {"", "abc.def.ghi"},
		"admin=abc.def.ghi": {"admin", "abc.def.ghi"},
		"admin=@file":       {"admin", "@file"},
		"@file":             {"", "@file"},
		"b3BhcXVl=":         {"", "b3BhcXVl="},
		"T3BhcXVl=x":        {"", "T3BhcXVl=x"}, // roles are lower case
		"note-keeper=t":     {"note-keeper", "t"},
	} {
		if role, token := splitToken(s); role != want[0] || token != want[1] {
			t.Errorf("splitToken(%q) = %q, %q; want %q", s, role, token, want)
		}
	}
}
