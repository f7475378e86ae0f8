package outside

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

// SignedWith is the token as the secret would sign it.
func SignedWith(secret, token string) string {
	i := strings.LastIndexByte(token, '.')
	if i < 0 {
		return ""
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(token[:i]))
	return token[:i] + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
