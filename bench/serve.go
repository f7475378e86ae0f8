package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
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
func serve(name, logFile string) error {
	handler := http.Handler(http.HandlerFunc(hello))
	inside, token, err := ring(handler, logFile)
	if err != nil {
		return err
	}
	if name != subjects[0] { // the bare handler gets the same request, token and all
		handler = inside
	}
	cert, err := certificate()
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: handler, TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}}
	go srv.ServeTLS(ln, "", "")
	fmt.Printf("https://%s/api/notes/4f2c %s\n", ln.Addr(), token)
	io.Copy(io.Discard, os.Stdin)
	return srv.Close()
}

func certificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
