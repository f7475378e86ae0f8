package edge

import (
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// siteTLS is TLSConfig, judged by the handshakes that a server takes. TLS is
// never made weaker: a waiver only silences the proof, for a site whose TLS
// ends at something in front.
var siteTLS = Control{
	Meta: check.Meta{
		ID:    "edge/tls",
		Most:  4,
		Title: "Nobody on the way can read or change what is sent",
		Why:   "Old versions, CBC and static RSA let an attacker on the way read or change what is sent, or read later what he recorded.",
		Ref:   "RFC 9325, 4; RFC 8446; ASVS 5.0 V12.1; blueprint E2, T6, checklist 1",
	},
	Verify: verifyTLS,
}

// For TLS 1.2: ephemeral keys and authenticated encryption. Those of 1.3 are all
// good and cannot be chosen.
var cipherSuites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// keyExchanges are what keys are agreed by; crypto/tls takes the first of the
// hybrids with ML-KEM that the client offers, before all others.
var keyExchanges = []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384}

// ACMEProtocol is what an authority that validates by TLS-ALPN-01 offers, and
// nothing besides (RFC 8737, section 4).
const ACMEProtocol = "acme-tls/1"

// TLSConfig is TLS 1.2 and 1.3 with forward secrecy and authenticated encryption
// only, with X25519MLKEM768 for every client that knows it. Session tickets are
// on; crypto/tls makes a new key for them each day and forgets it after a week.
//
// served says which names there is a certificate for. A client that asks for
// another, or for none, is refused by the alert unrecognized_name (RFC 6066,
// section 3), also when it has a ticket: it learns no name. certificate is asked
// at each handshake of the others, so that a new one is there for the next
// client. Its error ends the handshake with internal_error. acme offers
// ACMEProtocol besides h2 and http/1.1.
func TLSConfig(served func(serverName string) bool, certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error), acme bool) *tls.Config {
	protocols := []string{"h2", "http/1.1"}
	if acme {
		protocols = append(protocols, ACMEProtocol)
	}
	// Without any certificate, crypto/tls says unrecognized_name.
	refusing := &tls.Config{MinVersion: tls.VersionTLS12, CipherSuites: cipherSuites, CurvePreferences: keyExchanges, SessionTicketsDisabled: true}
	return &tls.Config{
		MinVersion:       tls.VersionTLS12,
		CipherSuites:     cipherSuites,
		CurvePreferences: keyExchanges,
		NextProtos:       protocols,
		GetCertificate:   certificate,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			if served(hello.ServerName) {
				return nil, nil // the one around
			}
			return refusing, nil
		},
	}
}

// ServedName reports whether there is a certificate for a client that asks for
// serverName, "" when it asks for none: for the site alone. Where the site is
// this machine, under --dev, all its names and addresses will do, and none, since
// addresses are not sent as names (RFC 6066, section 3).
func ServedName(site, serverName string) bool {
	if !loopbackHost(site) {
		return strings.EqualFold(serverName, site)
	}
	return serverName == "" || loopbackHost(serverName)
}

// verifyTLS makes handshakes that must fail, and one that must not.
func verifyTLS(ctx context.Context, p *policy.Policy, c *probe.Client) check.Finding {
	const fix = "put Ringwall's edge in front of the API, or allow ECDHE with AES-GCM or ChaCha20 in TLS 1.2 and 1.3 alone"
	const want = "TLS 1.2 and 1.3 with ECDHE and authenticated encryption alone"
	handshake := func(cfg *tls.Config) (*tls.ConnectionState, error) {
		cfg.ServerName = serverName(p, c)
		cfg.InsecureSkipVerify = true // whose it is, edge/certificate looks at
		conn, err := c.Handshake(ctx, cfg)
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		state := conn.ConnectionState()
		return &state, nil
	}
	best, err := handshake(&tls.Config{CurvePreferences: keyExchanges})
	if err != nil {
		return check.Unseen("no handshake with TLS 1.2 or 1.3: %v", err)
	}
	for _, weak := range []*tls.Config{
		{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11, CipherSuites: everySuite()},
		{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12, CipherSuites: weakSuites()},
	} {
		switch state, err := handshake(weak); {
		case err == nil:
			return check.Failed(fmt.Sprintf("a client that knows nothing better was served %s with %s", tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite)), want, fix)
		case !probe.Refused(err):
			return check.Unseen("no answer to a handshake with %s: %v", tls.VersionName(weak.MaxVersion), err)
		}
	}
	got := fmt.Sprintf("%s, %s, %v", tls.VersionName(best.Version), tls.CipherSuiteName(best.CipherSuite), best.CurveID)
	if best.Version != tls.VersionTLS13 {
		return check.Failed(got, want, "serve TLS 1.3")
	}
	return check.Passed("%s; TLS 1.0 and 1.1, CBC and static RSA were refused", got)
}

// serverName is the name that a client of the site asks for.
func serverName(p *policy.Policy, c *probe.Client) string {
	if p.Site == "" {
		return c.Base().Hostname()
	}
	return p.Site
}

func everySuite() []uint16 {
	var all []uint16
	for _, s := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		all = append(all, s.ID)
	}
	return all
}

// weakSuites are those of TLS 1.2 that crypto/tls can speak and TLSConfig does
// not offer.
func weakSuites() []uint16 {
	return slices.DeleteFunc(everySuite(), func(id uint16) bool { return slices.Contains(cipherSuites, id) })
}
