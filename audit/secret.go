package audit

import (
	"maps"
	"strings"
	"sync/atomic"
)

// secretWords name secrets wherever they stand in a name; secretNames are
// secrets only when they are the whole of it. Both are folded.
var (
	secretWords = []string{
		"password", "passwd", "passphrase", "passcode", "secret", "token", "authorization", "cookie", "apikey",
		"accesskey", "privatekey", "signingkey", "encryptionkey", "credential", "bearer", "jwt", "assertion",
		"recoverycode", "onetimecode", "seedphrase", "cardnumber",
	}
	secretNames = map[string]bool{
		"pwd": true, "pass": true, "pw": true, "auth": true, "otp": true, "totp": true, "pin": true, "cvv": true,
		"cvc": true, "ssn": true, "seed": true, "iban": true, "xauth": true, "sig": true, "signature": true,
	}
)

// Secret reports whether a name, of an attribute, a field or a header, is that
// of a secret. Letter case and everything that is neither letter nor digit do
// not count: api_key, X-API-Key and apiKey are one name.
func Secret(name string) bool {
	if v, known := (*judged.Load())[name]; known {
		return v
	}
	v := judge(name)
	// Remember the names that programs use, not those that attackers send.
	if m := *judged.Load(); len(m) < 1000 && len(name) < 64 {
		m = maps.Clone(m)
		m[strings.Clone(name)] = v
		judged.Store(&m)
	}
	return v
}

// judged holds earlier verdicts, never changed in place.
var judged = func() *atomic.Pointer[map[string]bool] {
	p := new(atomic.Pointer[map[string]bool])
	p.Store(&map[string]bool{})
	return p
}()

func judge(name string) bool {
	var room [64]byte
	folded := room[:0]
	for i := range len(name) {
		switch c := name[i]; {
		case 'A' <= c && c <= 'Z':
			folded = append(folded, c|0x20)
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c >= 0x80:
			folded = append(folded, c)
		}
	}
	s := string(folded)
	if secretNames[s] {
		return true
	}
	for _, w := range secretWords {
		if strings.Contains(s, w) {
			return true
		}
	}
	return false
}

// shown are the headers whose value a log may hold.
var shown = map[string]struct{}{
	"Accept": {}, "Accept-Encoding": {}, "Accept-Language": {}, "Access-Control-Request-Headers": {},
	"Access-Control-Request-Method": {}, "Age": {}, "Allow": {}, "Cache-Control": {}, "Connection": {},
	"Content-Encoding": {}, "Content-Language": {}, "Content-Length": {}, "Content-Type": {}, "Date": {},
	"Expect": {}, "Host": {}, "Origin": {}, "Retry-After": {}, "Sec-Fetch-Dest": {}, "Sec-Fetch-Mode": {},
	"Sec-Fetch-Site": {}, "Server": {}, "Te": {}, "Transfer-Encoding": {}, "Upgrade": {}, "User-Agent": {},
	"Vary": {}, "X-Request-Id": {},
}
