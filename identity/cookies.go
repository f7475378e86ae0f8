package identity

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strconv"
	"time"
)

// The cookies of this service. The prefix has browsers refuse them without
// Secure and Path=/, and with Domain, so that no sibling host can plant one
// (RFC 6265bis, 4.1.3.2).
const (
	refreshCookie = "__Host-refresh"
	deviceCookie  = "__Host-device"
)

// deviceAge is the longest that browsers keep a cookie (RFC 6265bis, 5.5).
const deviceAge = 400 * 24 * time.Hour

const cookieAttributes = "; Path=/; Secure; HttpOnly; SameSite=Strict"

// cookie returns a Set-Cookie value. An age of zero or less has the browser
// forget the cookie.
func cookie(name, value string, age time.Duration) string {
	return name + "=" + value + "; Max-Age=" + strconv.Itoa(max(0, int(age/time.Second))) + cookieAttributes
}

// cookieOf returns the one cookie of that name; "" when there is none, or
// several, which no browser that obeys the prefix sends.
func cookieOf(r *http.Request, name string) string {
	if got := r.CookiesNamed(name); len(got) == 1 {
		return got[0].Value
	}
	return ""
}

// newDevice makes the value of a device cookie: it says of a browser that
// somebody has signed in with it, and is no credential.
func newDevice() string {
	raw := make([]byte, 32)
	rand.Read(raw) // never fails
	return base64.RawURLEncoding.EncodeToString(raw)
}

// deviceSum is the sum of a device cookie as sessions have it, "" when it is
// not one of ours.
func deviceSum(value string) string {
	if b, err := base64.RawURLEncoding.Strict().DecodeString(value); err != nil || len(b) != 32 {
		return ""
	}
	sum := sha256.Sum256([]byte(value))
	return hex.EncodeToString(sum[:])
}
