package edge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// bans refuses the addresses that Bans holds. A peer is closed as it is
// accepted, before TLS and without a line in the log, only counted: a flood of
// one costs next to nothing. A client behind a trusted proxy, and one that was
// banned while it is connected, is hung up on at its next request. What it has
// under way goes on.
var bans = Control{
	Meta: check.Meta{
		ID:     "edge/bans",
		Title:  "An address that attacks is shut out",
		Why:    "Who may try on for as long as he likes finds the one hole that the other controls have left.",
		Ref:    "CWE-307; ASVS 5.0 V6.3.1; OWASP API4 2023; blueprint A8, H5, T1, T2, T7, checklist 9",
		Spends: true,
	},
	Value: func(p *policy.Policy) string {
		return fmt.Sprintf("%d points ban an address, at first for %s", p.Edge.Bans.Threshold, p.Edge.Bans.For)
	},
	Conn: func(p *policy.Policy, st *State) (Admit, error) {
		b, rules := st.Bans, newBanRules(p, st.now())
		if b == nil {
			return func(netip.Addr) (func(), bool) { return nil, true }, nil
		}
		return func(peer netip.Addr) (func(), bool) {
			return nil, !b.refuses(peer, rules, b.clock)
		}, nil
	},
	Gate: func(p *policy.Policy, st *State) (Judge, error) {
		b, rules := st.Bans, newBanRules(p, st.now())
		if b == nil {
			return func(*Visit) *Refusal { return nil }, nil
		}
		out := &Refusal{Control: "edge/bans", Hangup: true, Detail: "This address is banned.",
			Err: errors.New("banned: ringwall ban why ADDRESS tells for what")}
		return func(v *Visit) *Refusal {
			if b.refuses(v.Client, rules, b.clock) {
				return out
			}
			return nil
		}, nil
	},
	Size: func(p *policy.Policy, c *probe.Client) (requests, points int) {
		if _, fresh := c.Fresh(); !fresh {
			return 0, 0 // it is not tried
		}
		each := 10 // of a forged token; a scanner's path, which takes turns with it, has 20
		if len(banAttacks(p)) > 1 {
			each = 15
		}
		return 2*min(p.Edge.Bans.Threshold/each+2, banAttempts) + 4, 0
	},
	Verify: verifyBans,
}

// banAttempts is how often the proof attacks at most.
const banAttempts = 60

// forgedToken has the form of a signed token that nobody signed (RFC 7515, A.5).
const forgedToken = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJyaW5nd2FsbC1jaGVjayJ9."

// verifyBans attacks from an address that nobody uses until it is shut out, and
// looks whether another one still gets in. That ban ends by itself. It is not
// tried where it would ban its user.
func verifyBans(ctx context.Context, p *policy.Policy, c *probe.Client) check.Finding {
	const fix = "put Ringwall's edge in front of the API, or count such requests by fail2ban where the proxy's log has them"
	const most = banAttempts
	attacker, fresh := c.Fresh()
	if !fresh {
		return check.Unseen("a proof would ban the address that it comes from, this one; to prove it, run ringwall check on the server, against https://localhost or 127.0.0.1")
	}
	bystander, _ := c.Fresh()
	attacks := banAttacks(p)
	if len(attacks) == 0 || p.Edge.Bans.Threshold < 1 || p.Edge.Bans.Threshold > 10*most {
		return check.Unseen("a threshold of %d points takes more requests than a check may send", p.Edge.Bans.Threshold)
	}
	for _, client := range []*probe.Client{attacker, bystander} {
		if _, err := client.Do(ctx, probe.Request{Target: "/"}); err != nil {
			return check.Unseen("no answer to GET /: %v", err)
		}
	}
	for n := 0; ; n++ {
		if err := connects(ctx, attacker); err != nil {
			got := fmt.Sprintf("after %d attacks the address was shut out", n)
			switch _, other := bystander.Do(ctx, probe.Request{Target: "/"}); {
			case n == 0 || !hungUp(err):
				return check.Unseen("no connection after %d attacks: %v", n, err)
			case other != nil:
				return check.Unseen("%s, but another one got no answer either: %v", got, other)
			}
			return check.Passed("%s; another one was served", got)
		}
		if n == most {
			return check.Failed(fmt.Sprintf("after %d attacks the address is still served", n),
				fmt.Sprintf("shut out at %d points", p.Edge.Bans.Threshold), fix)
		}
		if _, err := attacker.Do(ctx, attacks[n%len(attacks)]); err != nil && !hungUp(err) {
			return check.Unseen("no answer to attack %d: %v", n+1, err)
		}
	}
}

// connects tries whether an address is served: its connection may be closed
// before TLS, as by this edge, or at its request, as by a proxy.
func connects(ctx context.Context, c *probe.Client) error {
	_, err := c.Do(ctx, probe.Request{Target: "/"})
	return err
}

// banAttacks are requests that each weigh, unless the policy says otherwise.
func banAttacks(p *policy.Policy) []probe.Request {
	attacks := []probe.Request{{Target: "/", Token: forgedToken}}
	if judge, err := judgeScanners(p); err == nil {
		const target = "/.env"
		if r, err := http.NewRequest(http.MethodGet, target, nil); err == nil && judge(&Visit{Request: r}) != nil {
			attacks = append(attacks, probe.Request{Target: target})
		}
	}
	return attacks
}
