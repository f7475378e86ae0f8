package password_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ringwall/ringwall/identity/password"
)

// A sign-in: the stored hash is empty when there is no such account, so that
// the answer takes as long. An imported hash is replaced while the password is
// at hand.
func ExamplePasswords_Verify() {
	passwords := password.New(password.Options{})
	stored := "$2b$05$V4N4VV1KEiS0shLCjwXNn.7sw4cCc2uutC9mhDiaKZ5MeFCOw3vTK"

	ok, rehash, err := passwords.Verify(context.Background(), stored, "correct horse")
	var busy *password.Busy
	switch {
	case errors.As(err, &busy):
		fmt.Println("503, Retry-After:", busy.RetryAfter.Seconds())
		return
	case err != nil:
		fmt.Println("for the log:", err)
	}
	if rehash {
		stored, err = passwords.Hash(context.Background(), "correct horse")
	}
	fmt.Println(ok, stored[:30], err)
	// Output: true $argon2id$v=19$m=19456,t=2,p=1 <nil>
}

// A password is judged when it is chosen, with what an attacker knows about
// the account, and never at a sign-in.
func ExamplePasswords_Judge() {
	passwords := password.New(password.Options{})
	about := []string{"alice.smith@example.com", "Alice Smith", "notes.example"}

	for _, chosen := range []string{"12345678", "Alice1990!", "quite a long walk home"} {
		var weak *password.Weak
		if errors.As(passwords.Judge(chosen, about...), &weak) {
			fmt.Println(weak.Code, "-", weak.Message)
			continue
		}
		fmt.Println("fine")
	}
	// Output:
	// common - This password is one of the most common ones and is guessed first. Three or four words that have nothing to do with each other make a good one.
	// guessable - This password is easy to guess. It is built on your name, your address or the name of this site. Three or four words that have nothing to do with each other make a good one.
	// fine
}

// The full list of breached passwords is asked for only with its address. When
// it does not answer, the password may be chosen all the same.
func ExamplePasswords_Breached() {
	passwords := password.New(password.Options{BreachURL: password.PwnedPasswords})

	found, err := passwords.Breached(withoutNetwork(), "quite a long walk home")
	switch {
	case err != nil:
		fmt.Println("for the log:", err)
	case found:
		fmt.Println(password.Refuse(password.Breached).Message)
	}
	fmt.Println("accepted:", !found)
	// Output:
	// for the log: ask https://api.pwnedpasswords.com for breached passwords: context canceled
	// accepted: true
}

// A wrong use: an account that is not there must not be told by an early
// return. Verify takes the empty hash for that.
func ExamplePasswords_Verify_unknownAccount() {
	passwords := password.New(password.Options{})
	start := time.Now()
	ok, _, err := passwords.Verify(context.Background(), "", "whatever was typed")
	fmt.Println(ok, err, time.Since(start) > time.Millisecond)
	// Output: false <nil> true
}

func withoutNetwork() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
