package probe

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// oldSuites are those that crypto/tls cannot speak and servers once did: finite
// field Diffie-Hellman, Camellia, SEED, IDEA, DES, export, null and anonymous.
// Names are IANA's without TLS_.
var oldSuites = map[uint16]string{
	0x0001: "RSA_WITH_NULL_MD5", 0x0002: "RSA_WITH_NULL_SHA", 0x003b: "RSA_WITH_NULL_SHA256",
	0x0003: "RSA_EXPORT_WITH_RC4_40_MD5", 0x0006: "RSA_EXPORT_WITH_RC2_CBC_40_MD5", 0x0008: "RSA_EXPORT_WITH_DES40_CBC_SHA", 0x0014: "DHE_RSA_EXPORT_WITH_DES40_CBC_SHA",
	0x0004: "RSA_WITH_RC4_128_MD5", 0x0007: "RSA_WITH_IDEA_CBC_SHA", 0x0009: "RSA_WITH_DES_CBC_SHA", 0x0015: "DHE_RSA_WITH_DES_CBC_SHA",
	0x0016: "DHE_RSA_WITH_3DES_EDE_CBC_SHA", 0x0033: "DHE_RSA_WITH_AES_128_CBC_SHA", 0x0039: "DHE_RSA_WITH_AES_256_CBC_SHA",
	0x0067: "DHE_RSA_WITH_AES_128_CBC_SHA256", 0x006b: "DHE_RSA_WITH_AES_256_CBC_SHA256",
	0x0032: "DHE_DSS_WITH_AES_128_CBC_SHA", 0x0038: "DHE_DSS_WITH_AES_256_CBC_SHA",
	0x0018: "DH_anon_WITH_RC4_128_MD5", 0x001b: "DH_anon_WITH_3DES_EDE_CBC_SHA", 0x0034: "DH_anon_WITH_AES_128_CBC_SHA", 0x003a: "DH_anon_WITH_AES_256_CBC_SHA", 0x00a6: "DH_anon_WITH_AES_128_GCM_SHA256",
	0xc015: "ECDH_anon_WITH_NULL_SHA", 0xc017: "ECDH_anon_WITH_3DES_EDE_CBC_SHA", 0xc018: "ECDH_anon_WITH_AES_128_CBC_SHA", 0xc019: "ECDH_anon_WITH_AES_256_CBC_SHA",
	0xc006: "ECDHE_ECDSA_WITH_NULL_SHA", 0xc010: "ECDHE_RSA_WITH_NULL_SHA", 0xc008: "ECDHE_ECDSA_WITH_3DES_EDE_CBC_SHA",
	0xc024: "ECDHE_ECDSA_WITH_AES_256_CBC_SHA384", 0xc028: "ECDHE_RSA_WITH_AES_256_CBC_SHA384", 0x003d: "RSA_WITH_AES_256_CBC_SHA256",
	0x0041: "RSA_WITH_CAMELLIA_128_CBC_SHA", 0x0084: "RSA_WITH_CAMELLIA_256_CBC_SHA", 0x0045: "DHE_RSA_WITH_CAMELLIA_128_CBC_SHA", 0x0088: "DHE_RSA_WITH_CAMELLIA_256_CBC_SHA",
	0xc076: "ECDHE_RSA_WITH_CAMELLIA_128_CBC_SHA256", 0xc077: "ECDHE_RSA_WITH_CAMELLIA_256_CBC_SHA384", 0x0096: "RSA_WITH_SEED_CBC_SHA", 0x009a: "DHE_RSA_WITH_SEED_CBC_SHA",
	0xc09c: "RSA_WITH_AES_128_CCM", 0xc09d: "RSA_WITH_AES_256_CCM", 0xc0a0: "RSA_WITH_AES_128_CCM_8",
}

// EverySuite are the suites of TLS 1.2 and before that Hello can offer, but for
// DHE and CCM with authenticated encryption and forward secrecy, which are sound.
func EverySuite() []uint16 {
	var all []uint16
	for id := range oldSuites {
		all = append(all, id)
	}
	for _, s := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		if s.ID>>8 != 0x13 { // of TLS 1.3
			all = append(all, s.ID)
		}
	}
	slices.Sort(all)
	return all
}

// SuiteName is IANA's, without TLS_.
func SuiteName(id uint16) string {
	if s, ok := oldSuites[id]; ok {
		return s
	}
	s := tls.CipherSuiteName(id)
	if len(s) > 4 && s[:4] == "TLS_" {
		return s[4:]
	}
	return s
}

// VersionName is tls.VersionName's, and SSL 3.0 in the same way.
func VersionName(v uint16) string {
	if v == 0x0300 {
		return "SSL 3.0"
	}
	return tls.VersionName(v)
}

// Hello offers one version of TLS before 1.3 with suites, which crypto/tls need
// not be able to speak, and returns the one that the server takes. It goes no
// further. What the server refuses is an error that Refused knows; so is a server
// that answers with another version.
func (c *Client) Hello(ctx context.Context, serverName string, version uint16, suites []uint16) (suite uint16, err error) {
	if c.base.Scheme == "http" {
		return 0, ErrNoTLS
	}
	ctx, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()
	log := logOf(ctx)
	e := log.begin()
	said := fmt.Sprintf("[TLS hello to %s for %s: %s with %d suites]", c.Host(), serverName, VersionName(version), len(suites))
	defer func() {
		if err != nil {
			log.note(e, said, "["+err.Error()+"]")
		} else {
			log.note(e, said, "["+SuiteName(suite)+"]")
		}
	}()
	conn, err := c.connect(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if _, err := conn.Write(clientHello(serverName, version, suites)); err != nil {
		return 0, &handshakeError{err}
	}
	got, suite, err := serverHello(conn)
	switch {
	case err != nil:
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		return 0, &handshakeError{err}
	case got != version:
		return 0, &handshakeError{fmt.Errorf("the server answers with %s", VersionName(got))}
	}
	return suite, nil
}

// clientHello is a handshake message in a record (RFC 5246, 7.4.1.2).
func clientHello(serverName string, version uint16, suites []uint16) []byte {
	u16 := binary.BigEndian.AppendUint16
	body := u16(nil, version)
	random := make([]byte, 32)
	_, _ = rand.Read(random) // never fails
	body = append(append(body, random...), 0)
	body = u16(body, uint16(2*len(suites)))
	for _, s := range suites {
		body = u16(body, s)
	}
	body = append(body, 1, 0) // no compression
	if version > 0x0300 {
		var ext []byte
		add := func(id uint16, data []byte) { ext = append(u16(u16(ext, id), uint16(len(data))), data...) }
		if serverName != "" {
			name := append(append([]byte{0}, u16(nil, uint16(len(serverName)))...), serverName...)
			add(0, append(u16(nil, uint16(len(name))), name...))
		}
		add(10, []byte{0, 8, 0, 29, 0, 23, 0, 24, 0, 25}) // X25519, P-256, P-384, P-521
		add(11, []byte{1, 0})
		if version == tls.VersionTLS12 {
			add(13, []byte{0, 20, 4, 3, 8, 4, 4, 1, 5, 3, 8, 5, 5, 1, 8, 6, 6, 1, 2, 1, 2, 3})
		}
		body = append(u16(body, uint16(len(ext))), ext...)
	}
	message := append([]byte{1, 0, byte(len(body) >> 8), byte(len(body))}, body...)
	record := []byte{22, 3, 1}
	if version == 0x0300 {
		record[2] = 0
	}
	return append(u16(record, uint16(len(message))), message...)
}

var errAlert = errors.New("the server ends the handshake")

// serverHello reads the first record of a server.
func serverHello(r io.Reader) (version, suite uint16, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, 0, err
	}
	n := int(binary.BigEndian.Uint16(head[3:]))
	if n > 1<<14+256 {
		return 0, 0, errors.New("what the server answers is not TLS")
	}
	b := make([]byte, min(n, 1<<14))
	if _, err := io.ReadFull(r, b); err != nil {
		return 0, 0, err
	}
	switch {
	case head[0] == 21 && len(b) >= 2:
		return 0, 0, fmt.Errorf("%w: %w", errAlert, tls.AlertError(b[1]))
	case head[0] != 22 || len(b) < 4+2+32+1 || b[0] != 2:
		return 0, 0, errors.New("what the server answers is not TLS")
	}
	b = b[4:]
	version = binary.BigEndian.Uint16(b)
	id := int(b[34])
	if len(b) < 35+id+2 {
		return 0, 0, errors.New("the server's hello is cut short")
	}
	return version, binary.BigEndian.Uint16(b[35+id:]), nil
}
