// Package loopback looks at what only the server itself shows: what a proxy
// sends to the API behind it, and which processes that API is. It sees Linux
// alone, and needs root there.
package loopback

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strconv"
)

// ErrNotHere says that this machine, or this user, cannot look.
var ErrNotHere = errors.New("only root on Linux sees what passes on the loopback interface")

// Port is that of an upstream on loopback that speaks plain HTTP/1.1, which
// alone can be read from there.
func Port(upstream string) (port int, ok bool) {
	u, err := url.Parse(upstream)
	if err != nil || u.Scheme != "http" {
		return 0, false
	}
	if ip, err := netip.ParseAddr(u.Hostname()); u.Hostname() != "localhost" && (err != nil || !ip.IsLoopback()) {
		return 0, false
	}
	port, err = strconv.Atoi(u.Port())
	return port, err == nil
}

// Local reports whether a host is this machine.
func Local(host string) bool {
	ips, err := net.LookupIP(host)
	if err != nil {
		return false
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, ip := range ips {
		if ip.IsLoopback() {
			return true
		}
		for _, a := range own {
			if n, ok := a.(*net.IPNet); ok && n.IP.Equal(ip) {
				return true
			}
		}
	}
	return false
}

// payload is what a packet carries to a TCP port, nil where it goes elsewhere
// (RFC 791, 3.1; RFC 8200, 3, without extension headers; RFC 9293, 3.1).
func payload(packet []byte, port int) []byte {
	if len(packet) < 20 {
		return nil
	}
	var segment []byte
	switch packet[0] >> 4 {
	case 4:
		header, total := int(packet[0]&15)*4, int(binary.BigEndian.Uint16(packet[2:]))
		if total == 0 { // more than 64 kB, in one piece
			total = len(packet)
		}
		if packet[9] != 6 || header < 20 || total < header || total > len(packet) {
			return nil
		}
		segment = packet[header:total]
	case 6:
		if len(packet) < 40 || packet[6] != 6 {
			return nil
		}
		segment = packet[40:]
	}
	if len(segment) < 20 || int(binary.BigEndian.Uint16(segment[2:])) != port {
		return nil
	}
	offset := int(segment[12]>>4) * 4
	if offset < 20 || offset > len(segment) {
		return nil
	}
	return segment[offset:]
}

// head is the header of an HTTP/1.1 request that begins in b, nil when it does
// not end there.
func head(b []byte) []byte {
	if i := bytes.Index(b, []byte("\r\n\r\n")); i >= 0 {
		return b[:i+4]
	}
	return nil
}
