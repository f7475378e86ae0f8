package nginx_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/edge/nginx"
)

// Who does not have the secret cannot have anybody banned.
func TestEventsAreNginxsAlone(t *testing.T) {
	for _, kind := range []string{"udp", "unix"} {
		s := newSite(t, "")
		if kind == "unix" {
			s.policy.Edge.Nginx.Listen = "unix:" + s.dir + "/n.sock"
		}
		events, err := nginx.ListenEvents(s.policy, nil, s, nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { events.Run(ctx); close(done) }()
		network, at := "udp", s.policy.Edge.Nginx.Listen
		if kind == "unix" {
			network, at = "unixgram", s.dir+"/n.sock.log"
		}
		conn, err := net.Dial(network, at)
		if err != nil {
			t.Fatal(err)
		}
		const scanner = `{"why":"scanner","client":"192.0.2.1","method":"GET","path":"/.env","request":"GET /.env HTTP/1.1"}`
		send := func(text string) {
			if _, err := conn.Write([]byte("<190>Nov 26 01:02:03 ringwall: " + text)); err != nil {
				t.Fatal(err)
			}
		}
		for _, forged := range []string{scanner, strings.ToLower(testProof) + " " + scanner, testProof[:43] + " " + scanner, "", testProof, testProof + " {", testProof + ` {"why":"other","client":"192.0.2.1"}`,
			testProof + ` {"why":"scanner","client":"everybody"}`, strings.Repeat("x", 9000)} {
			send(forged)
		}
		rate := `{"why":"rate","client":"192.0.2.2","method":"GET","path":"/"}`
		for range 50 {
			send(testProof + " " + rate)
		}
		send(testProof + " " + scanner)
		await(func() bool {
			return s.count(func(e audit.Event) bool { return e.Kind == audit.ScannerRefused }) > 0
		})
		if n := s.count(func(e audit.Event) bool {
			return e.Kind == audit.ScannerRefused && e.Client.String() == "192.0.2.1" && e.Control == "edge/scanners" && strings.Contains(e.Detail, "/.env")
		}); n != 1 {
			t.Errorf("%s: %d events of the scanner: %+v", kind, n, s.events)
		}
		if n := s.count(func(e audit.Event) bool { return e.Kind == audit.RateBlocked }); n < 1 || n > 5 {
			t.Errorf("%s: %d events of 50 refusals at once", kind, n)
		}
		if n := s.count(func(audit.Event) bool { return true }); n > 6 {
			t.Errorf("%s: %+v", kind, s.events)
		}
		conn.Close()
		stop()
		<-done
	}
}

// Nothing is removed for the socket that is no socket, such as a log of the same name.
func TestEventsRemoveSocketsOnly(t *testing.T) {
	s := newSite(t, "")
	s.policy.Edge.Nginx.Listen = "unix:" + s.dir + "/n.sock"
	log := s.dir + "/n.sock.log"
	if err := os.WriteFile(log, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if e, err := nginx.ListenEvents(s.policy, nil, s, nil); err == nil || !strings.Contains(err.Error(), "n.sock.log is a file that is no socket") {
		if e != nil {
			e.Close()
		}
		t.Errorf("%v", err)
	}
	if b, err := os.ReadFile(log); err != nil || string(b) != "precious" {
		t.Errorf("%q, %v", b, err)
	}
}

// A new certificate is written and told once; what goes wrong is an event.
func TestKeepCertificate(t *testing.T) {
	s := newSite(t, "")
	s.policy.Edge.TLS.Cert, s.policy.Edge.TLS.Key = "", ""
	s.policy.Edge.TLS.ACME.Email = "ops@example.com"
	pair, _ := nginx.Certificate(s.policy)
	n, reloads := 0, 0
	source := func(context.Context) ([]byte, []byte, error) {
		if n++; n == 1 {
			return nil, nil, errors.New("none yet")
		}
		return []byte("cert"), []byte("key"), nil
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithTimeout(t.Context(), 4*time.Second) // it looks again after three
		defer stop()
		nginx.KeepCertificate(ctx, s.policy, source, func() error {
			reloads++
			return fmt.Errorf("nginx does not run")
		}, s)
	})
	if b, err := os.ReadFile(pair); err != nil || string(b) != "cert\nkey" {
		t.Errorf("%s: %v %q", pair, err, b)
	}
	if fi, err := os.Stat(pair); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", err, fi)
	}
	if reloads != 1 || s.count(func(e audit.Event) bool { return e.Kind == audit.CertificateFailed }) != 1 {
		t.Errorf("%d reloads, %+v", reloads, s.events)
	}
}

// What a process wrote that was killed before nginx was told of it, nginx is told of
// by the next one: a certificate, and bans.
func TestKilledBeforeNginxWasTold(t *testing.T) {
	s := newSite(t, "")
	s.policy.Edge.TLS.Cert, s.policy.Edge.TLS.Key = "", ""
	s.policy.Edge.TLS.ACME.Email = "ops@example.com"
	pair, _ := nginx.Certificate(s.policy)
	if err := os.MkdirAll(s.policy.Edge.Nginx.State, 0o700); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{pair: "cert\nkey", filepath.Join(s.policy.Edge.Nginx.State, "bans.conf"): "# Who is banned. Written by ringwall serve; ringwall ban list shows more.\n192.0.2.1/32 1;\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	source := func(context.Context) ([]byte, []byte, error) { return []byte("cert"), []byte("key"), nil }
	for name, run := range map[string]func(context.Context, func() error){
		"certificate": func(ctx context.Context, reload func() error) {
			nginx.KeepCertificate(ctx, s.policy, source, reload, s)
		},
		"bans": func(ctx context.Context, reload func() error) {
			b := nginx.NewBanner(s.policy, reload, s)
			b.Ban(edge.Ban{Prefix: netip.MustParsePrefix("192.0.2.1/32")})
			b.Run(ctx, time.Millisecond)
		},
	} {
		ctx, stop := context.WithTimeout(t.Context(), patience)
		reloads := 0
		run(ctx, func() error { reloads++; stop(); return nil })
		if reloads != 1 {
			t.Errorf("%s: nginx was told %d times", name, reloads)
		}
		stop()
	}
}
