package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// answer is what both subjects serve: an ordinary small JSON answer.
var answer = []byte(`{"id":"4f2c","title":"Shopping","text":"Bread, butter, two lemons and a bag of flour.","owner":"alice","created":"2026-11-01T08:30:00Z"}`)

func hello(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Write(answer)
}

// serve is one subject. It prints its URL and a token, and ends with its
// standard input.
func serve(name, logFile string, more []string) error {
	switch name {
	case "upstream":
		return serveUpstream()
	case "proxy":
		return serveProxy(logFile, more[0], more[1])
	}

	listen, err := freeAddress()
	if err != nil {
		return err
	}
	whole, token, err := ring(http.HandlerFunc(hello), listen, logFile)
	if err != nil {
		return err
	}
	handler := http.Handler(http.HandlerFunc(hello)) // the bare handlers get the same request, token and all
	var reserve []byte
	switch name {
	case subjects[1]:
		reserve = make([]byte, 16<<20)
	case subjects[2]:
		handler = whole.Handler()
	case subjects[3]:
		handler = nil
	}
	defer runtime.KeepAlive(reserve)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	done := make(chan error, 1)
	if handler == nil {
		go func() { done <- whole.Run(ctx) }()
	} else {
		dir := filepath.Dir(logFile)
		srv := &http.Server{Addr: listen, Handler: handler, ErrorLog: log.New(io.Discard, "", 0)}
		go func() { done <- srv.ListenAndServeTLS(dir+"/site.pem", dir+"/site.key") }()
		defer srv.Close()
	}
	if err := answers(listen); err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(listen)
	fmt.Printf("https://localhost:%s/api/notes/4f2c %s\n", port, token)
	go func() {
		io.Copy(io.Discard, os.Stdin)
		stop()
		done <- nil
	}()
	return <-done
}

func certificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
