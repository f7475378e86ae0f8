//go:build !race

package password_test

const race = false
