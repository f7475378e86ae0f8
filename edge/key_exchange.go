package edge

import (
	"context"
	"crypto/tls"
	"fmt"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// keyExchange is the first of keyExchanges, by TLSConfig. It is apart from
// edge/tls because a proxy in front may do all of that and not have this: an
// nginx with OpenSSL before 3.5, such as Debian 12's. A waiver only silences the
// proof.
var keyExchange = Control{
	Meta: check.Meta{
		ID:    "edge/key-exchange",
		Most:  2,
		Title: "What is recorded today stays secret from quantum computers",
		Why:   "Who records what is sent now may read it in ten years, unless its keys were agreed by a way that a quantum computer does not break.",
		Ref:   "RFC 8446, 4.2.7; draft-ietf-tls-ecdhe-mlkem; FIPS 203; ASVS 5.0 V11.6.2; blueprint E2, T6, checklist 1",
	},
	Verify: verifyKeyExchange,
}

// verifyKeyExchange offers what a current browser does.
func verifyKeyExchange(ctx context.Context, p *policy.Policy, c *probe.Client) check.Finding {
	conn, err := c.Handshake(ctx, &tls.Config{ServerName: serverName(p, c), CurvePreferences: keyExchanges, InsecureSkipVerify: true})
	if err != nil {
		return check.Unseen("no handshake with TLS 1.2 or 1.3: %v", err)
	}
	defer conn.Close()
	state := conn.ConnectionState()
	got := fmt.Sprintf("%s, %v", tls.VersionName(state.Version), state.CurveID)
	if state.CurveID != tls.X25519MLKEM768 {
		return check.Failed(got, "X25519MLKEM768 for who offers it",
			"put Ringwall's edge in front of the API, or take an nginx with OpenSSL 3.5 or newer, such as Debian 13's; until then, waive edge/key-exchange")
	}
	return check.Passed("%s", got)
}
