// Package outside judges a server of which nothing is known but its URL. The
// rings' own proofs hold a target to what its policy promises, to the status and
// the header that Ringwall answers with. These hold any API, in any language and
// behind any proxy, to what it owes everybody: standards and the guide's numbers,
// with no liking for one right answer where several are right.
//
// It is a package of its own because no ring owns what it looks at: a port that
// is open beside the proxy, a stack trace in an error, a database's banner. What
// no ring's proof looks at is checked with a policy, too.
//
// It imports nothing of the rings. A new check is one new file and one line in
// checks.go.
package outside
