package edge

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

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

// ownerOnly refuses a key that group or others can read.
func ownerOnly(path string) error {
	fi, err := os.Stat(path)
	if err != nil {
		return err
	}
	if fi.Mode().Perm()&0o077 != 0 {
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

// TLSConfig is TLS 1.2 and later with forward secrecy and authenticated
// encryption only. Curves are Go's: X25519MLKEM768 first, so that what is
// recorded today cannot be read by a quantum computer later. The function is
// asked at each handshake, so that a reload takes effect for the next client.
func TLSConfig(certificate func() *tls.Certificate) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		// For TLS 1.2; those of 1.3 are all good and cannot be chosen.
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return certificate(), nil
		},
	}
}
