// Package host is ring 3: the server around the API. Each control says what
// the server should have, as changes that are plain data, and proves from the
// server's effective state that it has it.
//
// Planning cannot write: a control is handed Facts, which only read, and
// returns changes. Package internal/hostexec carries them out, and can undo
// every one of them.
package host
