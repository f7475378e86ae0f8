// Package ringwall enforces one policy around an HTTP API: the front door of
// the module, for APIs written in Go and, as a proxy, for those in any other
// language.
//
//	p, err := ringwall.LoadPolicy("ringwall.yaml")
//	...
//	srv, err := ringwall.New(p, handler, ringwall.Deps{})
//	...
//	err = srv.Run(ctx)
//
// # The life of a request
//
// The edge (package edge) accepts the connection, speaks TLS 1.2 or later, and
// bounds the header in size and time. Plain HTTP is answered with a redirect
// and nothing else.
//
// The app ring (package app) takes the request through its controls, in the
// order of the list in app/controls.go. It gets an id, its client's address,
// which only trusted proxies may tell, and one canonical path; what two
// programs could read in two ways is refused. /healthz and /readyz are answered
// here. Then: is it for this site, are its headers unambiguous, may this origin
// ask, is the body small enough and of a known type, is the client within its
// rates, who calls, may he, is the input as the schema says.
//
// Only then the handler sees it; or, when the policy keeps accounts, package
// identity does, at the paths of policy.Builtin: whoever registers and signs in
// there is a caller everywhere else. A Go handler asks CallerFrom who calls. An
// upstream on loopback is told by the headers X-Ringwall-User, -Roles and
// -Session, which nobody else can write.
//
// When the answer begins, the controls set the headers that they own over
// whatever the handler set under these names, and what must not be stored or
// compressed is seen to. A refusal, by a control or by an *Error of the
// handler, is problem+json (RFC 9457) with nothing internal in it. One log line
// is written when all is over, and an event of package audit for every refusal.
//
// # What is decided when
//
// New and Reload decide all that the policy decides. A policy that cannot be
// enforced as a whole is refused as a whole: New then returns an error, and
// Reload leaves the old one in force.
package ringwall
