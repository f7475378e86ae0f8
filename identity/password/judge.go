package password

import (
	"strings"
	"unicode/utf8"

	"github.com/ringwall/ringwall/identity/password/internal/wordlist"
)

// Code is why a password is refused, for programs.
type Code string

// The codes of Judge, and Breached for what the method of that name finds.
const (
	NotText   Code = "not_text"
	TooShort  Code = "too_short"
	TooLong   Code = "too_long"
	Common    Code = "common"
	Guessable Code = "guessable"
	Breached  Code = "breached"
)

// Weak is a password that is refused. Message is a sentence for the person who
// chose it; it holds nothing of the password.
type Weak struct {
	Code    Code
	Message string
}

func (w *Weak) Error() string { return string(w.Code) + ": " + w.Message }

// Refuse is the refusal of a code.
func Refuse(c Code) *Weak {
	return &Weak{Code: c, Message: messages[c]}
}

const advice = " Three or four words that have nothing to do with each other make a good one."

var messages = map[Code]string{
	NotText:   "The password contains a control character or is not valid text. Use characters that can be typed.",
	TooShort:  "The password is shorter than 8 characters." + advice,
	TooLong:   "The password is longer than 128 characters.",
	Common:    "This password is one of the most common ones and is guessed first." + advice,
	Guessable: "This password is easy to guess." + advice,
	Breached:  "This password has appeared in a data breach, so attackers know it." + advice,
}

// Judge returns nil for a password that may be chosen, and a *Weak otherwise:
// what is no text, or shorter or longer than the bounds; what is on the list
// of common passwords, in whatever letter case; and what takes an attacker
// fewer than about 270 million guesses, who knows words, names, dates, rows of
// keys, and what the password is about: the account's e-mail address and name,
// the site. There are no rules on which kinds of characters it has.
//
// It takes a millisecond, and ten at most, whatever it is given.
func (p *Passwords) Judge(pw string, about ...string) error {
	text, err := prepare(pw)
	if err != nil {
		return err
	}
	switch n := utf8.RuneCountInString(text); {
	case n < MinChars:
		return Refuse(TooShort)
	case n > MaxChars:
		return Refuse(TooLong)
	}
	if wordlist.Common(text) {
		return Refuse(Common)
	}
	if bits, why := guesses(text, personal(about)); bits < enough {
		w := Refuse(Guessable)
		if hint := hints[why]; hint != "" {
			w.Message = strings.TrimSuffix(w.Message, advice) + hint + advice
		}
		return w
	}
	return nil
}
