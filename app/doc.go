// Package app is ring 1: the controls around an API's handler, or around the
// proxy to it. New compiles a policy into a Ring, an http.Handler that a request
// passes from control to control, in the order of controls.go.
//
// Each control is one file: what it owns, how it is applied, and Verify, which
// proves it from outside. Exchange is what the controls and the handler know of
// a request, Answer how an answer leaves, Denied how a request is refused.
// Handle makes handlers whose input is checked before they run.
//
// The ring needs no other one: it runs in any Go server, behind any proxy that
// the policy's trusted_proxies names.
package app
