// Package arch holds no code. Its tests are the rules of the house: who may
// import whom, what an importer of each package links, and how large a file
// may grow.
package arch
