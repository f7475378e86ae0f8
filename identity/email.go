package identity

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// Longest parts of an address, in bytes (RFC 5321, 4.5.3.1.1 to 4.5.3.1.3: a
// path of 256 with its brackets).
const (
	maxLocal   = 64
	maxAddress = 254
)

var (
	errNoAddress   = errors.New("must be an e-mail address, such as ada@example.com")
	errLongAddress = errors.New("is longer than an e-mail address may be")
)

// domains are those of mail: IDNA 2008 with the mapping of UTS 46, lengths as
// in the DNS, no underscores.
var domains = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(true), idna.ValidateLabels(true), idna.VerifyDNSLength(true))

// NormalizeEmail returns the one form of an address that accounts are kept and
// mails are sent under: blanks around it cut off, NFC, lower case, the domain in
// its ASCII form (RFC 5891). Two spellings that differ in letter case only are
// one account; nothing else is folded, so dots and + tags count.
//
// It refuses what is no dot-atom and domain (RFC 5322, 3.4.1; letters, digits
// and marks beyond ASCII as RFC 6531 allows), what is longer than RFC 5321
// allows, quoted local parts, address literals, and domains of one label. The
// error is a sentence without its subject and holds nothing of the address.
func NormalizeEmail(s string) (string, error) {
	if len(s) > 4*maxAddress { // before any work
		return "", errLongAddress
	}
	if !utf8.ValidString(s) {
		return "", errNoAddress
	}
	s = norm.NFC.String(strings.Trim(s, " \t\r\n"))
	at := strings.LastIndexByte(s, '@')
	if at < 1 {
		return "", errNoAddress
	}
	// Lower case may leave NFC (U+0130), and NFC may compose again.
	local := norm.NFC.String(strings.ToLower(s[:at]))
	if !isDotAtom(local) {
		return "", errNoAddress
	}
	domain, err := domains.ToASCII(s[at+1:])
	if err != nil || !isMailDomain(domain) {
		return "", errNoAddress
	}
	if len(local) > maxLocal || len(local)+1+len(domain) > maxAddress {
		return "", errLongAddress
	}
	return local + "@" + domain, nil
}

// isDotAtom reports atoms with single dots between them.
func isDotAtom(s string) bool {
	for atom := range strings.SplitSeq(s, ".") {
		if atom == "" || strings.ContainsFunc(atom, func(r rune) bool { return !isAtomRune(r) }) {
			return false
		}
	}
	return true
}

func isAtomRune(r rune) bool {
	if r < utf8.RuneSelf {
		return 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r)
	}
	return unicode.In(r, unicode.L, unicode.M, unicode.N) && !invisible(r)
}

// invisible reports characters that are letters or marks to Unicode and show as
// nothing, such as the Hangul fillers: two addresses or names that look the same
// would be two.
func invisible(r rune) bool {
	return unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// isMailDomain reports a domain of at least two labels that nobody reads as an
// address. It is lower-case ASCII already.
func isMailDomain(s string) bool {
	dot := strings.LastIndexByte(s, '.')
	if dot < 1 || dot == len(s)-1 {
		return false
	}
	return strings.Trim(s[dot+1:], "0123456789") != ""
}

// maxPersonName is in characters.
const maxPersonName = 100

var errName = errors.New("must have 1 to 100 characters, at least one letter or digit, and no control characters")

// normalizeName returns the name of a person in NFC, blanks around it cut off.
// It refuses characters that end a line, that change the direction of writing,
// or that nobody sees, but for the two joiners that some scripts need and the
// selector that emoji have.
func normalizeName(s string) (string, error) {
	if len(s) > 16*maxPersonName || !utf8.ValidString(s) {
		return "", errName
	}
	s = norm.NFC.String(strings.TrimFunc(s, unicode.IsSpace))
	const zwnj, zwj, emojiStyle = '\u200c', '\u200d', '\ufe0f'
	seen := false
	for _, r := range s {
		if unicode.IsLetter(r) || unicode.IsNumber(r) {
			seen = true
		}
		if invisible(r) && r != emojiStyle {
			return "", errName
		}
		if r != zwnj && r != zwj && !unicode.IsGraphic(r) || r == utf8.RuneError {
			return "", errName
		}
	}
	if !seen || utf8.RuneCountInString(s) > maxPersonName {
		return "", errName
	}
	return s, nil
}
