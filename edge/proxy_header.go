package edge

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// With edge.proxy_protocol a connection begins with a PROXY protocol header,
// version 1 or 2, of a peer in edge.trusted_proxies. The client that it names is
// the one that connections and bans count and that requests come from. A peer
// that is not trusted, and a header that is missing or not well-formed, end the
// connection. Where the proxy speaks for itself (LOCAL, UNKNOWN), as for its
// health checks, the peer's own address stays.

// readProxyHeader reads exactly the header, no byte of what follows.
func (c *acceptedConn) readProxyHeader(guard *Guard) error {
	if !slices.ContainsFunc(guard.trusted, func(p netip.Prefix) bool { return p.Contains(c.client) }) {
		return errors.New("the peer is not in edge.trusted_proxies, and edge.proxy_protocol is on")
	}
	from, err := readProxyHeader(c.Conn)
	if err != nil {
		return fmt.Errorf("PROXY protocol: %w", err)
	}
	if from.IsValid() {
		c.client = from.Addr()
		c.remote = net.TCPAddrFromAddrPort(from)
	}
	return nil
}

var proxySignature = []byte("\r\n\r\n\x00\r\nQUIT\n") // of version 2

var errNoProxyHeader = errors.New("the connection does not begin with a header")

// readProxyHeader follows https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt,
// version 1 in section 2.1 and version 2 in 2.2. The source is invalid where the
// proxy speaks for itself.
func readProxyHeader(r io.Reader) (source netip.AddrPort, err error) {
	var b [16]byte
	if _, err := io.ReadFull(r, b[:len(proxySignature)]); err != nil {
		return source, err
	}
	if bytes.Equal(b[:len(proxySignature)], proxySignature) {
		if _, err := io.ReadFull(r, b[12:]); err != nil {
			return source, err
		}
		return readProxyV2(r, b[12], b[13], binary.BigEndian.Uint16(b[14:]))
	}
	if !bytes.HasPrefix(b[:], []byte("PROXY ")) {
		return source, errNoProxyHeader
	}
	const longest = 107 // CR LF included
	line := append(make([]byte, 0, longest), b[:len(proxySignature)]...)
	for line[len(line)-1] != '\n' {
		if len(line) == longest {
			return source, errors.New("the line is longer than 107 bytes")
		}
		if _, err := io.ReadFull(r, b[:1]); err != nil { // what follows is not ours
			return source, err
		}
		line = append(line, b[0])
	}
	text, ok := strings.CutSuffix(string(line), "\r\n")
	if !ok {
		return source, errors.New("the line does not end with CR LF")
	}
	return parseProxyV1(text)
}

func parseProxyV1(line string) (source netip.AddrPort, err error) {
	f := strings.Split(line, " ")
	if f[1] == "UNKNOWN" { // whatever follows is ignored
		return source, nil
	}
	if len(f) != 6 {
		return source, errors.New("the line does not have six words")
	}
	var at [2]netip.AddrPort
	for i := range at {
		a, err := netip.ParseAddr(f[2+i])
		if err != nil || a.Zone() != "" || a.Is4() != (f[1] == "TCP4") || f[1] != "TCP4" && f[1] != "TCP6" {
			return source, errors.New("an address is not one of the family that the line names")
		}
		port, err := strconv.ParseUint(f[4+i], 10, 16)
		if err != nil || strconv.FormatUint(port, 10) != f[4+i] {
			return source, errors.New("a port is not a number up to 65535")
		}
		at[i] = netip.AddrPortFrom(a.Unmap(), uint16(port))
	}
	return at[0], nil
}

// readProxyV2 reads what follows the signature and four bytes.
func readProxyV2(r io.Reader, command, family byte, length uint16) (source netip.AddrPort, err error) {
	const most = 4096 // of addresses and extensions
	if length > most {
		return source, errors.New("it is longer than 4096 bytes")
	}
	rest := make([]byte, length)
	if _, err := io.ReadFull(r, rest); err != nil {
		return source, err
	}
	switch command {
	case 0x20: // LOCAL
		return source, nil
	case 0x21: // PROXY
	default:
		return source, fmt.Errorf("version and command %#x are unknown", command)
	}
	size := map[byte]int{0x11: 4, 0x21: 16}[family] // TCP over IPv4 and IPv6
	switch {
	case size == 0:
		return source, fmt.Errorf("family %#x is not TCP over IPv4 or IPv6", family)
	case len(rest) < 2*size+4:
		return source, errors.New("it is too short for its addresses")
	}
	a, _ := netip.AddrFromSlice(rest[:size])
	return netip.AddrPortFrom(a.Unmap(), binary.BigEndian.Uint16(rest[2*size:])), nil
}
