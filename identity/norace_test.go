//go:build !race

package identity_test

const race = false
