// Package race says whether the race detector watches, which makes all slower
// some ten times: tests that measure need to know.
package race
