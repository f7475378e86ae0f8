package main

import "testing"

func TestManTextIsNoRequest(t *testing.T) {
	const text = ".so /etc/passwd\n'br\na \\fB-x\n\n  .indented\nend"
	const want = "\\&.so /etc/passwd\n\\&'br\na \\efB\\-x\n.PP\n.nf\n  .indented\n.fi\nend\n"
	if got := manText(text); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
