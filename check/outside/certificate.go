package outside

import (
	"context"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/ringwall/ringwall/check"
)

// certificate judges chain, name, time left, key, and a stapled answer of the
// authority.
var certificate = Check{
	Meta: check.Meta{
		ID:    "outside/certificate",
		Most:  1,
		Title: "The certificate is one that clients trust, with time left",
		Why:   "Clients that meet a bad certificate stop working, or are taught to ignore it.",
		Ref:   "RFC 5280; RFC 9525; RFC 6066, 8; RFC 7633; ASVS 5.0 V12.1.4, V12.2.2; blueprint E2, T6, checklist 1",
		Layer: "edge",
	},
	Verify: func(ctx context.Context, t *Target) check.Finding {
		const want = "a chain that clients trust, for the host, with time left"
		conn, err := t.Client.Handshake(ctx, &tls.Config{ServerName: t.site()})
		var untrusted *tls.CertificateVerificationError
		switch {
		case errors.As(err, &untrusted):
			return check.Failed("clients refuse it: "+untrusted.Err.Error(), want,
				"get one from an ACME authority: certbot --nginx, or edge.tls.acme; name a private authority with --cacert")
		case err != nil:
			return check.Unseen("no handshake: %v", err)
		}
		state := conn.ConnectionState()
		conn.Close()
		leaf := state.PeerCertificates[0]
		left, life := time.Until(leaf.NotAfter), leaf.NotAfter.Sub(leaf.NotBefore)
		least := min(14*24*time.Hour, life/6)
		switch key, ok := leaf.PublicKey.(*rsa.PublicKey); {
		case left < least:
			return check.Failed(fmt.Sprintf("%d days are left of %d", int(left.Hours()/24), int(life.Hours()/24)), fmt.Sprintf("%d days or more", int(least.Hours()/24)),
				"see why it was not renewed: systemctl list-timers, certbot renew --dry-run")
		case ok && key.Size() < 2048/8:
			return check.Failed(fmt.Sprintf("an RSA key of %d bits", key.Size()*8), "2048 bits or more, or ECDSA", "make a new key and get a certificate for it")
		}
		stapled, problem := staple(state, leaf)
		if problem != "" {
			return check.Failed(problem, want, "let the server fetch and staple the authority's answer (nginx: ssl_stapling on), or get a certificate that is not revoked")
		}
		return check.Passed("by %s, %d days left of %d; %s", leaf.Issuer.CommonName, int(left.Hours()/24), int(life.Hours()/24), stapled)
	},
}

var mustStaple = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24} // RFC 7633, 6

// staple judges the authority's answer that came with the handshake. Most
// authorities have none any more: then there is nothing to staple.
func staple(state tls.ConnectionState, leaf *x509.Certificate) (said, problem string) {
	if len(state.OCSPResponse) == 0 {
		for _, e := range leaf.Extensions {
			if e.Id.Equal(mustStaple) {
				return "", "the certificate says that an OCSP answer is stapled, and none is"
			}
		}
		if len(leaf.OCSPServer) > 0 {
			return "no OCSP answer is stapled", ""
		}
		return "its authority has no OCSP", ""
	}
	var issuer *x509.Certificate
	if len(state.VerifiedChains) > 0 && len(state.VerifiedChains[0]) > 1 {
		issuer = state.VerifiedChains[0][1]
	}
	answer, err := ocsp.ParseResponseForCert(state.OCSPResponse, leaf, issuer)
	switch {
	case err != nil:
		return "", "the stapled OCSP answer is none: " + err.Error()
	case answer.Status == ocsp.Revoked:
		return "", "the certificate was revoked on " + answer.RevokedAt.UTC().Format(time.DateOnly)
	case !answer.NextUpdate.IsZero() && time.Now().After(answer.NextUpdate):
		return "", "the stapled OCSP answer ended on " + answer.NextUpdate.UTC().Format(time.DateOnly)
	}
	return "an OCSP answer is stapled", ""
}
