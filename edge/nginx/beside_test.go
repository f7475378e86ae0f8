package nginx_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringwall/ringwall/audit"
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
		for range 200 {
			if s.count(func(e audit.Event) bool { return e.Kind == audit.ScannerRefused }) > 0 {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
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

// A new certificate is written and told once; what goes wrong is an event.
func TestKeepCertificate(t *testing.T) {
	s := newSite(t, "")
	s.policy.Edge.TLS.Cert, s.policy.Edge.TLS.Key = "", ""
	s.policy.Edge.TLS.ACME.Email = "ops@example.com"
	pair, _ := nginx.Certificate(s.policy)
	var mu sync.Mutex
	n, reloads := 0, 0
	source := func(context.Context) ([]byte, []byte, error) {
		mu.Lock()
		defer mu.Unlock()
		n++
		if n == 1 {
			return nil, nil, errors.New("none yet")
		}
		return []byte("cert"), []byte("key"), nil
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		nginx.KeepCertificate(ctx, s.policy, source, func() error {
			mu.Lock()
			defer mu.Unlock()
			reloads++
			return fmt.Errorf("nginx does not run")
		}, s)
		close(done)
	}()
	for range 300 {
		if s.count(func(e audit.Event) bool { return e.Kind == audit.CertificateFailed }) > 0 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	stop()
	<-done
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
