package main

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/internal/quicktest"
)

// TestUpgradeHandsBansOver: who was banned a moment before is shut out by the new
// server as well, and so is who attacks the old one on connections that he kept.
func TestUpgradeHandsBansOver(t *testing.T) {
	quicktest.Skip(t, "starts processes")
	s := newUpgradeSite(t)
	s.start(t, s.command("serve"))
	at := strings.TrimPrefix(s.url, "https://")
	_, port, err := net.SplitHostPort(at)
	if err != nil {
		t.Fatal(err)
	}
	dial := func(from string) *tls.Conn {
		d := &tls.Dialer{NetDialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: patience},
			Config: &tls.Config{ServerName: upgradeName, InsecureSkipVerify: true}}
		c, err := d.DialContext(t.Context(), "tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c.(*tls.Conn)
	}
	attack := func(c net.Conn) {
		_ = c.SetDeadline(time.Now().Add(patience))
		_, _ = io.WriteString(c, "GET /.env HTTP/1.1\r\nHost: "+upgradeName+"\r\n\r\n")
		if b, _ := io.ReadAll(c); len(b) > 0 {
			t.Errorf("an attack was answered %q", b)
		}
	}
	served := func(from string) bool {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: patience}
		raw, err := d.Dial("tcp", "127.0.0.1:"+port)
		if err != nil {
			return false
		}
		defer raw.Close()
		_ = raw.SetDeadline(time.Now().Add(patience))
		return tls.Client(raw, &tls.Config{ServerName: upgradeName, InsecureSkipVerify: true}).Handshake() == nil
	}
	var kept, others []net.Conn // before the first attack: points are forgotten while handshakes are made
	for range 5 {
		kept, others = append(kept, dial("127.0.0.9")), append(others, dial("127.0.0.8"))
	}
	for _, c := range others {
		attack(c)
	}
	if served("127.0.0.8") {
		t.Fatal("the old server does not ban")
	}
	if out, err := s.command("ban", "spare", "127.0.0.7").Output(); err != nil {
		t.Fatal(err, string(out))
	}
	if out, err := s.upgrade(); err != nil {
		t.Fatal(out, err)
	}
	if served("127.0.0.8") {
		t.Error("the new server lets in whom the old one had banned")
	}
	if !served("127.0.0.9") || !served("127.0.0.10") {
		t.Error("the new server bans others")
	}
	for range 6 {
		attack(dial("127.0.0.7"))
	}
	if !served("127.0.0.7") {
		t.Error("the new server bans whom the old one had spared")
	}
	for _, c := range kept {
		attack(c) // of the old server
	}
	for deadline := time.Now().Add(patience); served("127.0.0.9"); time.Sleep(10 * time.Millisecond) { // it is told within 200 ms
		if time.Now().After(deadline) {
			t.Fatal("the new server does not know of the old one's ban")
		}
	}
	out, err := s.command("ban", "list").Output()
	if err != nil || strings.Count(string(out), "100 points: 5 scanner.refused") != 2 {
		t.Errorf("%v %s", err, out)
	}
}
