package outside

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
)

// strongSuites are those of TLS 1.2 with forward secrecy and authenticated
// encryption (RFC 9325, 4.2) that crypto/tls speaks. Those of 1.3 all are.
var strongSuites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// tlsVersions offers what must be refused: SSL 3.0 to TLS 1.1, and in TLS 1.2 CBC,
// RC4, 3DES, static RSA, finite-field Diffie-Hellman, export, null and anonymous
// suites. Then it names those that were taken, one by one, for the report.
var tlsVersions = Check{
	Meta: check.Meta{
		ID:    "outside/tls",
		Most:  12,
		Title: "Only TLS 1.2 and 1.3 with strong suites are spoken",
		Why:   "What old clients need, an attacker on the way can make new ones use, and then read or forge.",
		Ref:   "RFC 9325, 3.1 and 4.2; RFC 8996; ASVS 5.0 V12.1.1, V12.1.2; OWASP API8 2023; blueprint E2, T6, checklist 1",
		Layer: "edge",
	},
	Verify: func(ctx context.Context, t *Target) check.Finding {
		const want = "TLS 1.2 with ECDHE and AES-GCM or ChaCha20, TLS 1.3, and nothing else"
		const fix = "in nginx: ssl_protocols TLSv1.2 TLSv1.3; ssl_ciphers ECDHE+AESGCM:ECDHE+CHACHA20; in others the modern or intermediate set of Mozilla"
		best, err := t.handshake(ctx, &tls.Config{})
		if errors.Is(err, probe.ErrNoTLS) {
			return check.Unseen("%v", err)
		}
		if err != nil {
			return check.Unseen("no handshake with TLS 1.2 or 1.3: %v", err)
		}
		var taken []string
		for _, version := range []uint16{0x0300, tls.VersionTLS10, tls.VersionTLS11} {
			suite, err := t.Client.Hello(ctx, t.site(), version, probe.EverySuite())
			switch {
			case err == nil:
				taken = append(taken, fmt.Sprintf("%s with %s", probe.VersionName(version), probe.SuiteName(suite)))
			case !probe.Refused(err):
				return check.Unseen("no answer to a handshake with %s: %v", probe.VersionName(version), err)
			}
		}
		// Each answer names one suite: ask again without it until there is none.
		weak := slices.DeleteFunc(probe.EverySuite(), func(id uint16) bool { return slices.Contains(strongSuites, id) })
		for range 8 {
			suite, err := t.Client.Hello(ctx, t.site(), tls.VersionTLS12, weak)
			if err != nil {
				if !probe.Refused(err) {
					return check.Unseen("no answer to a handshake with weak suites: %v", err)
				}
				break
			}
			taken = append(taken, "TLS 1.2 with "+probe.SuiteName(suite))
			weak = slices.DeleteFunc(weak, func(id uint16) bool { return id == suite })
		}
		got := fmt.Sprintf("%s, %s", tls.VersionName(best.Version), tls.CipherSuiteName(best.CipherSuite))
		if len(taken) > 0 {
			return check.Failed("the server takes "+strings.Join(taken, ", "), want, fix)
		}
		return check.Passed("%s; SSL 3.0 to TLS 1.1 and every weak suite of 1.2 were refused", got)
	},
}

// handshake makes one as clients do, save that it does not judge the
// certificate.
func (t *Target) handshake(ctx context.Context, cfg *tls.Config) (*tls.ConnectionState, error) {
	cfg.ServerName = t.site()
	cfg.InsecureSkipVerify = true // outside/certificate judges it
	conn, err := t.Client.Handshake(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	state := conn.ConnectionState()
	return &state, nil
}
