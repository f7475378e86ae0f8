package edge

import (
	"context"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// siteCertificate is judged as a client does it, and as somebody who scans
// addresses does. A waiver only silences the proof.
var siteCertificate = Control{
	Meta: check.Meta{
		ID:    "edge/certificate",
		Most:  3,
		Title: "Clients of the site get a certificate that they trust, and nobody else learns its name",
		Why:   "An expired certificate stops every client; one that is given to whoever asks tells scanners of addresses which site is there.",
		Ref:   "RFC 5280; RFC 6066, 3; RFC 9525; ASVS 5.0 V12.2; blueprint E2, T7, checklist 1",
	},
	Verify: verifyCertificate,
}

// Certificates gets the site's certificate from somewhere else than files, and
// keeps it renewed. edge/acme has the one that asks an authority.
type Certificates interface {
	// GetCertificate is asked at each handshake for the site. It must not
	// block. An error, such as that there is none yet, ends the handshake.
	GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error)

	// Challenge answers what an authority asks over plain HTTP and leaves all
	// else to next.
	Challenge(next http.Handler) http.Handler

	// Run gets and renews the certificate until ctx ends. It is started once,
	// when the addresses are listened on: https, and redirect, "" when there is
	// none. When no certificate is to be had, it says so, and tries again later.
	Run(ctx context.Context, https, redirect string)
}

// LoadCertificate reads the site's certificate, with its chain, and its key.
//
// It is an error, with what to type next, when a file is missing or is not
// PEM, when the two do not belong together, when others than the owner can
// read the key, and when clients would refuse the certificate: not valid now,
// or not for the site's name.
func LoadCertificate(cert, key, site string, now time.Time) (*tls.Certificate, error) {
	if cert == "" || key == "" {
		return nil, errors.New("a certificate and its key are wanted")
	}
	if err := ownerOnly(key); err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("%s with %s: %w", cert, key, err)
	}
	leaf := pair.Leaf
	switch {
	case now.Before(leaf.NotBefore):
		err = fmt.Errorf("is valid from %s on only: see that the clock is right (timedatectl)", leaf.NotBefore.UTC().Format(time.RFC3339))
	case now.After(leaf.NotAfter):
		err = fmt.Errorf("expired on %s: renew it", leaf.NotAfter.UTC().Format(time.RFC3339))
	case leaf.VerifyHostname(site) != nil:
		err = fmt.Errorf("is not for %s but for %s: use the certificate of the site, or correct site", site, names(leaf))
	default:
		return &pair, nil
	}
	return nil, fmt.Errorf("the certificate in %s %w", cert, err)
}

// ownerOnly refuses a key that group or others can read. A credential of systemd
// may have the bit of the group: it is root's, and the bit is where an ACL shows
// that lets the service in, and nobody else (systemd.exec(5), LoadCredential=).
func ownerOnly(path string) error {
	fi, err := os.Stat(path)
	if err != nil {
		return err
	}
	others := fs.FileMode(0o077)
	if folder := os.Getenv("CREDENTIALS_DIRECTORY"); folder != "" && filepath.Dir(path) == filepath.Clean(folder) {
		others = 0o037
	}
	if fi.Mode().Perm()&others != 0 {
		return fmt.Errorf("%s can be read by others than its owner (mode %04o): type chmod 600 %s", path, fi.Mode().Perm(), path)
	}
	return nil
}

func names(c *x509.Certificate) string {
	all := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	if len(all) == 0 {
		return "no name at all"
	}
	return strings.Join(all, ", ")
}

// verifyCertificate makes a handshake as clients do, and others for a name that
// is not the site's and for none.
func verifyCertificate(ctx context.Context, p *policy.Policy, c *probe.Client) check.Finding {
	const want = "a chain that clients trust, for the site, with time left"
	conn, err := c.Handshake(ctx, &tls.Config{ServerName: serverName(p, c)})
	var untrusted *tls.CertificateVerificationError
	switch {
	case errors.As(err, &untrusted):
		return check.Failed("clients refuse it: "+untrusted.Err.Error(), want,
			"get a certificate for the site: edge.tls.acme in the policy; name a private authority's CA with --cacert")
	case probe.Alerted(err): // it speaks TLS, and has none
		return check.Failed("no certificate for the site: "+err.Error(), want, "read the server's log for certificate.failed")
	case err != nil:
		return check.Unseen("no handshake: %v", err)
	}
	leaf := conn.ConnectionState().PeerCertificates[0]
	conn.Close()
	left := time.Until(leaf.NotAfter)
	if left < leastLeft(leaf) {
		return check.Failed(fmt.Sprintf("%s are left, of %s", days(left), days(leaf.NotAfter.Sub(leaf.NotBefore))),
			fmt.Sprintf("%s or more", days(leastLeft(leaf))), "see why it was not renewed: the server's log has certificate.failed")
	}
	if key, ok := leaf.PublicKey.(*rsa.PublicKey); ok && key.Size() < 2048/8 {
		return check.Failed(fmt.Sprintf("an RSA key of %d bits", key.Size()*8), "2048 bits or more, or ECDSA", "make a new key and get a certificate for it")
	}
	strangers := []string{"ringwall-check.invalid"}
	if !loopbackHost(serverName(p, c)) {
		strangers = append(strangers, "")
	}
	for _, name := range strangers {
		asked := "a client that asked for " + name
		if name == "" {
			asked = "a client that asked for no name"
		}
		conn, err := c.Handshake(ctx, &tls.Config{ServerName: name, InsecureSkipVerify: true})
		if err != nil {
			if !probe.Refused(err) {
				return check.Unseen("no answer to %s: %v", asked, err)
			}
			continue
		}
		given := conn.ConnectionState().PeerCertificates[0]
		conn.Close()
		if given.VerifyHostname(serverName(p, c)) == nil {
			return check.Failed(asked+" was given the site's", "no certificate that names the site",
				"put Ringwall's edge in front of the API, or refuse the handshake for other names (nginx: ssl_reject_handshake on, in a default server)")
		}
	}
	return check.Passed("%s left, for %s; who asks for another name gets none", days(left), names(leaf))
}

// leastLeft is when somebody must look: two weeks before the end, and a sixth of
// their life for those whose life is short.
func leastLeft(leaf *x509.Certificate) time.Duration {
	return min(14*day, leaf.NotAfter.Sub(leaf.NotBefore)/6)
}

const day = 24 * time.Hour

func days(d time.Duration) string {
	switch n := int(d / day); {
	case d < 0:
		return "0 days"
	case n == 0:
		return d.Round(time.Minute).String()
	case n == 1:
		return "1 day"
	default:
		return fmt.Sprintf("%d days", n)
	}
}
