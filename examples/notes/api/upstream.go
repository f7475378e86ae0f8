package api

import (
	_ "embed"
	"net/http"
)

// Policy protects this API, and Schema describes it, when it is an upstream.
var (
	//go:embed ringwall.yaml
	Policy []byte
	//go:embed openapi.yaml
	Schema []byte
)

func document(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write(Schema)
}

// FromHeader is the owner function of a server that Ringwall proxies to: only
// Ringwall writes the header. Listen on loopback, as anybody else could too.
func FromHeader(r *http.Request) string { return r.Header.Get("X-Ringwall-User") }
