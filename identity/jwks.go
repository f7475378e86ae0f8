package identity

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"time"
)

// jwksMaxAge is how long others may cache the key set. It bounds how long a
// revoked key's tokens are good elsewhere.
const jwksMaxAge = 5 * time.Minute

var jwksCaching = "public, max-age=" + strconv.Itoa(int(jwksMaxAge/time.Second))

// JWKS answers GET and HEAD with the public keys as they are now: a JSON Web Key
// Set (RFC 7517, 5) that may be cached for five minutes, with an ETag. A key
// that was revoked is not in it any more, but in caches until then.
func (r *KeyRing) JWKS() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		set := r.Keys().JWKS()
		sum := sha256.Sum256(set)
		h := w.Header()
		h.Set("Content-Type", "application/jwk-set+json")
		h.Set("Cache-Control", jwksCaching)
		h.Set("Etag", `"`+base64.RawURLEncoding.EncodeToString(sum[:16])+`"`)
		http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(set))
	})
}
