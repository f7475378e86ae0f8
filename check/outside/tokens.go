package outside

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
)

// tokens sends tokens that must not be believed: unsigned, signed with words that
// many APIs have for a secret, with the public key as the secret, and, when a good
// one was given, that one with another signature and with none. One that
// has expired, or was meant for another audience, takes the key to make: it is sent
// when it was given.
var tokens = Check{
	Meta: check.Meta{
		ID:     "outside/tokens",
		Most:   38,
		Points: 210,
		Title:  "Forged, unsigned and altered tokens are refused",
		Why:    "Who can make a token, or change one, is whoever they like.",
		Ref:    "RFC 8725, 3; RFC 9068, 4; ASVS 5.0 V9.1.1, V9.1.2, V9.2.1, V9.2.3; OWASP API2 2023; CWE-347; blueprint A3, T6",
		Layer:  "app",
	},
	Manner: Active,
	Verify: func(ctx context.Context, t *Target) check.Finding {
		const fix = "verify with one algorithm that the server chose, a random secret of 32 bytes or a key pair, and check exp, aud and iss"
		g, _, err := t.guarded(ctx)
		if err != nil {
			return check.Unseen("%v", err)
		}
		if g == nil {
			return check.Unseen(nothingGuarded)
		}
		good := t.Client.Token("")
		tries := []struct{ what, token string }{
			{"a token that is none", "ringwall-check"},
			{"an unsigned token (alg none)", jwt(map[string]any{"alg": "none", "typ": "JWT"}, claims(time.Hour), nil)},
			{"an unsigned token (alg nOnE)", jwt(map[string]any{"alg": "nOnE", "typ": "JWT"}, claims(time.Hour), nil)},
			{"a token without end, 100 dots", "eyJhbGciOiJIUzI1NiJ9" + strings.Repeat(".", 100)},
		}
		for _, word := range []string{"secret", "your-256-bit-secret", "your_jwt_secret", "changeme", "jwt_secret", "supersecret", ""} {
			tries = append(tries, struct{ what, token string }{fmt.Sprintf("a token signed with the secret %q", word), jwt(map[string]any{"alg": "HS256", "typ": "JWT"}, claims(time.Hour), []byte(word))})
		}
		tries = append(tries, struct{ what, token string }{"a token that names its key as a file (kid)", jwt(map[string]any{"alg": "HS256", "typ": "JWT", "kid": "../../../../dev/null"}, claims(time.Hour), []byte{})})
		for i, key := range t.publicKeys(ctx) {
			tries = append(tries, struct{ what, token string }{fmt.Sprintf("a token signed with public key %d as the secret (HS256)", i+1), jwt(map[string]any{"alg": "HS256", "typ": "at+jwt"}, claims(time.Hour), key)})
		}
		if strings.Count(good, ".") == 2 {
			parts := strings.Split(good, ".")
			tries = append(tries,
				struct{ what, token string }{"the given token with another signature", parts[0] + "." + parts[1] + "." + flip(parts[2])},
				struct{ what, token string }{"the given token without a signature", parts[0] + "." + parts[1] + "."},
				struct{ what, token string }{"the given token's claims, unsigned (alg none)", base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + parts[1] + "."})
		}
		for i, token := range t.Client.Refused() {
			tries = append(tries, struct{ what, token string }{fmt.Sprintf("token %d of --refused-token", i+1), token})
		}
		for _, try := range tries {
			res, err := t.Client.Do(ctx, probe.Request{Target: g.path, Token: try.token})
			switch {
			case err != nil && ctx.Err() != nil:
				return unanswered(try.what, err)
			case err != nil:
				continue
			case res.Status == http.StatusTooManyRequests:
				return check.Unseen("%s met a rate limit", try.what)
			case res.Status < 400:
				return check.Failed("GET "+g.path+" with "+try.what+" is answered "+res.Line(), g.statusLine(), fix)
			case res.Status >= 500 && res.Status != http.StatusServiceUnavailable:
				return check.Failed("GET "+g.path+" with "+try.what+" is answered "+res.Line(), "401", fix)
			}
		}
		more := ""
		if good == "" {
			more += "; with --token one that is good is altered, too"
		}
		if len(t.Client.Refused()) == 0 {
			more += "; one that has expired, or is for another audience, only with --refused-token"
		}
		return check.Passed("%d forged tokens were refused by GET %s%s", len(tries), g.path, more)
	},
}

func claims(life time.Duration) map[string]any {
	now := time.Now()
	return map[string]any{"sub": "1", "id": 1, "userId": 1, "role": "admin", "roles": []string{"admin"}, "iss": "ringwall-check", "aud": "ringwall-check",
		"iat": now.Add(-time.Minute).Unix(), "exp": now.Add(life).Unix()}
}

// jwt signs with HMAC-SHA-256, and not at all without a secret.
func jwt(header, claims map[string]any, secret []byte) string {
	h, _ := json.Marshal(header) // maps of plain values: no error
	c, _ := json.Marshal(claims)
	signed := base64.RawURLEncoding.EncodeToString(h) + "." + base64.RawURLEncoding.EncodeToString(c)
	if secret == nil {
		return signed + "."
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// flip changes the first letter of a signature: the last ones may have bits that
// do not count.
func flip(s string) string {
	if s == "" {
		return "AAAA"
	}
	first := byte('A')
	if s[0] == 'A' {
		first = 'B'
	}
	return string(first) + s[1:]
}

// publicKeys are what the site says that its tokens are verified with, in the
// forms that a confused verifier might take for a secret.
func (t *Target) publicKeys(ctx context.Context) (out [][]byte) {
	for _, path := range []string{"/.well-known/jwks.json", "/jwks.json"} {
		res, err := t.Client.Do(ctx, probe.Request{Target: path})
		if err != nil || res.Status != http.StatusOK {
			continue
		}
		var set struct{ Keys []map[string]any }
		if json.Unmarshal(res.Body, &set) != nil {
			continue
		}
		for _, k := range set.Keys[:min(len(set.Keys), 3)] {
			if x, ok := k["x"].(string); ok && k["kty"] == "OKP" {
				if raw, err := base64.RawURLEncoding.DecodeString(x); err == nil {
					out = append(out, raw)
				}
			}
			if certs, ok := k["x5c"].([]any); ok && len(certs) > 0 {
				if s, ok := certs[0].(string); ok {
					if der, err := base64.StdEncoding.DecodeString(s); err == nil {
						if c, err := x509.ParseCertificate(der); err == nil {
							if pub, err := x509.MarshalPKIXPublicKey(c.PublicKey); err == nil {
								out = append(out, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pub}))
							}
						}
					}
				}
			}
			b, _ := json.Marshal(k)
			out = append(out, b)
		}
		return out
	}
	return nil
}
