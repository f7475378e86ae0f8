package edge

import (
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"net/http"
	"net/netip"
	"strings"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/policy"
)

// What an nginx that edge/nginx set up says of each request. It writes all four
// over whatever the client sent under these names.
const (
	ProofHeader  = "X-Ringwall-Proof" // the secret edge_nginx_proof
	clientHeader = "X-Real-Ip"        // the client's address, as nginx's limits count it
	forHeader    = "X-Forwarded-For"  // the same
	protoHeader  = "X-Forwarded-Proto"
)

// HangupLocation is the named location of nginx's configuration that closes a
// client's connection without an answer.
const HangupLocation = "@ringwall_hangup"

// Behind serves requests that came through the nginx of the policy, as if their
// client had connected here: secure those over HTTPS, plain those over HTTP. To
// both, RemoteAddr is the client's address, and what nginx wrote of it is gone.
//
// A request without nginx's proof came around nginx. It is answered 403 and
// raises an event without a client: who sends it is on this machine, and its
// address says nothing. So is everything while the policy has no proof, and a
// request of which nginx does not say whose it is.
//
// Where the ring behind hangs up, nginx is told to.
func Behind(p *policy.Policy, st *State, secure, plain http.Handler) http.Handler {
	proof := []byte(p.Edge.Nginx.Proof.Reveal())
	overTLS := &tls.ConnectionState{HandshakeComplete: true} // all that is known of it here
	around := refusalBody(http.StatusForbidden, "This server is reached through its proxy only.", "edge-behind")
	headers := map[string]string{}
	if st.Headers != nil {
		headers = st.Headers(p, false)
	}
	refuse := func(w http.ResponseWriter, r *http.Request, why string) {
		st.record(audit.Event{Time: st.now(), Kind: audit.ProtocolRefused, Outcome: audit.Failure, Control: behind.ID,
			Method: r.Method[:min(len(r.Method), 32)], Status: http.StatusForbidden, Detail: why})
		h := w.Header()
		for name, v := range headers {
			h.Set(name, v)
		}
		h.Set("Cache-Control", "no-store")
		h.Set("Connection", "close")
		h.Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write(around) // a client that is gone
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given := r.Header[ProofHeader]
		if len(given) != 1 || len(proof) == 0 || subtle.ConstantTimeCompare([]byte(given[0]), proof) != 1 {
			refuse(w, r, "a request that did not come through nginx")
			return
		}
		client, proto := toldByNginx(r.Header)
		if !client.IsValid() {
			refuse(w, r, "nginx does not say whose request it is: ringwall nginx diff shows what was changed there")
			return
		}
		for _, name := range []string{ProofHeader, clientHeader, forHeader, protoHeader} {
			delete(r.Header, name)
		}
		r.RemoteAddr = netip.AddrPortFrom(client, 0).String()
		out := &behindWriter{ResponseWriter: w}
		defer out.hangup()
		if proto == "https" {
			r.TLS = overTLS
			secure.ServeHTTP(out, r)
			return
		}
		plain.ServeHTTP(out, r)
	})
}

// toldByNginx reads what nginx wrote; the address is the zero one if it is not
// exactly that.
func toldByNginx(h http.Header) (client netip.Addr, proto string) {
	addr, also, p := h[clientHeader], h[forHeader], h[protoHeader]
	if len(addr) != 1 || len(also) != 1 || also[0] != addr[0] || len(p) != 1 || p[0] != "https" && p[0] != "http" {
		return netip.Addr{}, ""
	}
	client, err := netip.ParseAddr(addr[0])
	if err != nil || client.Zone() != "" {
		return netip.Addr{}, ""
	}
	return client.Unmap(), p[0]
}

// behindWriter keeps what is behind from giving nginx orders, but gives it the
// one to hang up.
type behindWriter struct {
	http.ResponseWriter
	began bool
}

// Unwrap is for http.ResponseController.
func (w *behindWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *behindWriter) WriteHeader(status int) {
	if !w.began {
		w.began = status >= 200 || status == http.StatusSwitchingProtocols
		h := w.Header()
		for name := range h {
			if strings.HasPrefix(name, "X-Accel-") {
				delete(h, name)
			}
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *behindWriter) Write(p []byte) (int, error) {
	if !w.began {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(p)
}

func (w *behindWriter) FlushError() error {
	if !w.began {
		w.WriteHeader(http.StatusOK)
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

func (w *behindWriter) Flush() { _ = w.FlushError() }

// hangup turns an aborted answer of which no byte was sent into nginx's order.
func (w *behindWriter) hangup() {
	v := recover()
	if v == nil {
		return
	}
	err, ok := v.(error)
	if !ok || !errors.Is(err, http.ErrAbortHandler) || w.began {
		panic(v)
	}
	h := w.ResponseWriter.Header()
	clear(h)
	h["X-Accel-Redirect"] = []string{HangupLocation}
	w.ResponseWriter.WriteHeader(http.StatusOK)
}
