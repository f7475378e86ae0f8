//go:build unix

package edge

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"time"

	"github.com/ringwall/ringwall/internal/state"
)

// DevCert names the files of a certificate for this machine alone.
type DevCert struct {
	CA   string // PEM file of the local authority, for clients to trust
	Cert string // PEM file of the certificate and its chain
	Key  string // PEM file of the key, mode 0600
	Made bool   // the authority was made anew: clients must trust CA again
}

// How long the local certificates last. The authority outlives a machine's
// usual life; the certificate is renewed at a start in its last third.
const (
	devCALife   = 10 * 365 * 24 * time.Hour
	devLeafLife = 90 * 24 * time.Hour
	devLeafLeft = 30 * 24 * time.Hour
)

// EnsureDevCert keeps a local certificate authority in the state directory,
// and a certificate of it for localhost, 127.0.0.1 and ::1.
//
// The authority is constrained by name (RFC 5280, 4.2.1.10): with its key, one
// can pretend to be this machine to itself and nothing else, even where it is
// trusted. What is missing, broken, half-written, out of date, or a key that
// others could read, is made anew; the authority as a whole, so that its two
// files always belong together. Starts at the same time take turns. A file
// that cannot be read or written at all is an error that names it.
func EnsureDevCert(dir state.Dir, now time.Time) (DevCert, error) {
	d := DevCert{CA: dir.Path("ca.pem"), Cert: dir.Path("localhost.pem"), Key: dir.Path("localhost.key")}
	unlock, err := dir.Lock("ca.lock")
	if err != nil {
		return d, err
	}
	defer unlock()

	ca, err := loadDevCA(dir, now)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return d, fmt.Errorf("local authority: %w: give yourself the file, or delete it", err)
		}
		if ca, err = makeDevCA(dir, now); err != nil {
			return d, err
		}
		d.Made = true
	}
	if !d.Made && devLeafGood(d, ca, now) {
		return d, nil
	}
	return d, makeDevLeaf(dir, ca, now)
}

type devCA struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func loadDevCA(dir state.Dir, now time.Time) (*devCA, error) {
	certPEM, err := os.ReadFile(dir.Path("ca.pem"))
	if err != nil {
		return nil, err
	}
	keyPEM, err := dir.Secret("ca.key")
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, err
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	switch c := pair.Leaf; {
	case !ok || !c.IsCA || !c.PermittedDNSDomainsCritical || len(c.PermittedDNSDomains) != 1 || c.PermittedDNSDomains[0] != "localhost":
		return nil, errors.New("not a local authority of ours")
	case now.Before(c.NotBefore) || now.Add(devLeafLife).After(c.NotAfter):
		return nil, errors.New("the local authority is out of date")
	}
	return &devCA{pair.Leaf, key}, nil
}

func makeDevCA(dir state.Dir, now time.Time) (*devCA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the local authority: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, fmt.Errorf("make the local authority: %w", err)
	}
	host, _ := os.Hostname()
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "Ringwall local authority on " + host},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(devCALife),
		KeyUsage:              x509.KeyUsageCertSign,
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,

		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         []string{"localhost"},
		PermittedIPRanges: []*net.IPNet{
			{IP: net.IPv4(127, 0, 0, 0).To4(), Mask: net.CIDRMask(8, 32)},
			{IP: net.IPv6loopback, Mask: net.CIDRMask(128, 128)},
		},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make the local authority: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make the local authority: %w", err)
	}
	keyPEM, err := pemKey(key)
	if err != nil {
		return nil, err
	}
	if err := dir.Write("ca.key", keyPEM, 0o600); err != nil {
		return nil, err
	}
	return &devCA{cert, key}, dir.Write("ca.pem", pemCert(der), 0o644)
}

func devLeafGood(d DevCert, ca *devCA, now time.Time) bool {
	pair, err := LoadCertificate(d.Cert, d.Key, "localhost", now)
	return err == nil && pair.Leaf.CheckSignatureFrom(ca.cert) == nil && now.Add(devLeafLeft).Before(pair.Leaf.NotAfter)
}

func makeDevLeaf(dir state.Dir, ca *devCA, now time.Time) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make the local certificate: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return fmt.Errorf("make the local certificate: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "localhost"},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(devLeafLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		return fmt.Errorf("make the local certificate: %w", err)
	}
	keyPEM, err := pemKey(key)
	if err != nil {
		return err
	}
	if err := dir.Write("localhost.key", keyPEM, 0o600); err != nil {
		return err
	}
	return dir.Write("localhost.pem", pemCert(der), 0o644)
}

// newSerial is 127 random bits: positive, and more than the 64 that the CA/B
// Forum asks for.
func newSerial() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
}

func pemCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func pemKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
