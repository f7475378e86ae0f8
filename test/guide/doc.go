// Package guide holds a server set up by hand as the usual guide has it, and the
// test that the checks find what it leaves open, and nothing else.
package guide
