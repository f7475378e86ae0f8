package identity

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// keySet: whoever gets an access token can verify it, and learns no more than
// that (RFC 7517).
var keySet = Control{
	Meta: check.Meta{
		ID:    "identity/key-set",
		Most:  2,
		Title: "The keys of access tokens are published, and only their public half",
		Why:   "Who has the private half can be anybody; who cannot get the public half verifies nothing.",
		Ref:   "RFC 7517, 5; RFC 8037; RFC 9068, 4; ASVS 5.0 V9.1; blueprint A3, T6",
	},
	Verify: func(ctx context.Context, _ *policy.Policy, c *probe.Client) check.Finding {
		const path, fix = "/.well-known/jwks.json", "serve accounts with Ringwall, or publish the public keys alone"
		res, err := c.Do(ctx, probe.Request{Target: path})
		if err != nil {
			return check.Unseen("no answer to GET %s: %v", path, err)
		}
		var set struct{ Keys []map[string]string }
		if err := json.Unmarshal(res.Body, &set); res.Status != 200 || err != nil || len(set.Keys) == 0 {
			return check.Failed("GET "+path+" was answered "+res.Line()+" without a key set", "200 with the keys", fix)
		}
		for _, k := range set.Keys {
			for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "k"} {
				if _, has := k[private]; has {
					return check.Failed("a key has the private member "+private, "public members alone", "revoke the key at once: ringwall key revoke "+k["kid"])
				}
			}
			if k["kty"] != "OKP" || k["crv"] != "Ed25519" || k["kid"] == "" {
				return check.Failed("a key is of the type "+k["kty"]+" "+k["crv"], "Ed25519 keys with an id", fix)
			}
		}
		if bytes.Contains(res.Body, []byte("PRIVATE KEY")) || strings.Contains(res.Header.Get("Set-Cookie"), "=") {
			return check.Failed("GET "+path+" gives more than public keys", "public keys alone", fix)
		}
		return check.Passed("GET %s was answered with %d public Ed25519 keys", path, len(set.Keys))
	},
}
