package edge_test

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/policy"
)

var nginxProof = base64.StdEncoding.EncodeToString([]byte("0123456789 a proof of 32 bytes !"))

func behindPolicy() *policy.Policy {
	p := policy.Default()
	p.Edge.Engine = "nginx"
	p.Edge.Nginx.Proof = policy.NewSecret(nginxProof)
	return p
}

// kept takes events.
type kept struct{ events []audit.Event }

func (k *kept) Record(e audit.Event) { k.events = append(k.events, e) }

// TRAP: X-Forwarded-For, identity headers and the proof of who comes around.
func TestTrapBehindTrustsNginxAlone(t *testing.T) {
	good := map[string][]string{edge.ProofHeader: {nginxProof}, "X-Real-Ip": {"192.0.2.7"}, "X-Forwarded-For": {"192.0.2.7"}, "X-Forwarded-Proto": {"https"}}
	with := func(name string, values ...string) map[string][]string {
		h := map[string][]string{}
		for n, v := range good {
			h[n] = v
		}
		if h[name] = values; len(values) == 0 {
			delete(h, name)
		}
		return h
	}
	for _, tt := range []struct {
		name    string
		headers map[string][]string
		served  string // "": refused
	}{
		{"through nginx", good, "secure 192.0.2.7:0"},
		{"through nginx over IPv6", map[string][]string{edge.ProofHeader: {nginxProof}, "X-Real-Ip": {"2001:db8::1"}, "X-Forwarded-For": {"2001:db8::1"}, "X-Forwarded-Proto": {"https"}}, "secure [2001:db8::1]:0"},
		{"on port 80", with("X-Forwarded-Proto", "http"), "plain 192.0.2.7:0"},
		{"without a proof", with(edge.ProofHeader), ""},
		{"with another proof", with(edge.ProofHeader, strings.ToUpper(nginxProof)), ""},
		{"with a part of it", with(edge.ProofHeader, nginxProof[:43]), ""},
		{"with an empty one", with(edge.ProofHeader, ""), ""},
		{"with two", with(edge.ProofHeader, nginxProof, nginxProof), ""},
		{"of an alias", with("X_Ringwall_Proof", nginxProof), "secure 192.0.2.7:0"}, // the good one is there as well
		{"of nobody", with("X-Real-Ip"), ""},
		{"of two", with("X-Real-Ip", "192.0.2.7", "192.0.2.8"), ""},
		{"that nginx appended to", with("X-Forwarded-For", "203.0.113.9, 192.0.2.7"), ""},
		{"of no address", with("X-Real-Ip", "unix:"), ""},
		{"without a scheme", with("X-Forwarded-Proto"), ""},
		{"with a scheme of its own", with("X-Forwarded-Proto", "https, http"), ""},
	} {
		seen := &kept{}
		served := ""
		answer := func(how string) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				served = how + " " + r.RemoteAddr
				if (r.TLS != nil) != (how == "secure") {
					t.Errorf("%s: TLS is %v", tt.name, r.TLS)
				}
				for _, name := range []string{edge.ProofHeader, "X-Real-Ip", "X-Forwarded-For", "X-Forwarded-Proto"} {
					if r.Header[name] != nil {
						t.Errorf("%s: %s is still there", tt.name, name)
					}
				}
			})
		}
		p := behindPolicy()
		h := edge.Behind(p, &edge.State{Audit: seen, Headers: func(p *policy.Policy, secure bool) map[string]string {
			return app.ConstantHeaders(p, secure, time.Now())
		}}, answer("secure"), answer("plain"))
		r := httptest.NewRequest("GET", "/x", nil)
		r.RemoteAddr = "@"
		for name, v := range tt.headers {
			r.Header[name] = v
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if served != tt.served {
			t.Errorf("%s: served %q, want %q", tt.name, served, tt.served)
		}
		if tt.served != "" {
			continue
		}
		if w.Code != 403 || w.Header().Get("X-Frame-Options") != "DENY" || !strings.Contains(w.Body.String(), `"status":403`) || strings.Contains(w.Body.String(), nginxProof) {
			t.Errorf("%s: %d %v %s", tt.name, w.Code, w.Header(), w.Body)
		}
		if len(seen.events) != 1 || seen.events[0].Control != "edge/behind" || seen.events[0].Client != (netip.Addr{}) || strings.Contains(seen.events[0].Detail, nginxProof) {
			t.Errorf("%s: %+v", tt.name, seen.events)
		}
	}
	p := behindPolicy()
	p.Edge.Nginx.Proof = policy.Secret{}
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/", nil)
	r.Header[edge.ProofHeader] = []string{""}
	if edge.Behind(p, &edge.State{}, http.NotFoundHandler(), http.NotFoundHandler()).ServeHTTP(w, r); w.Code != 403 {
		t.Errorf("without a secret: %d", w.Code)
	}
}

// What is behind gives nginx no orders, and its hang-up becomes nginx's.
func TestBehindAnswers(t *testing.T) {
	served := func(h http.HandlerFunc) (res *http.Response, err error) {
		srv := httptest.NewServer(edge.Behind(behindPolicy(), &edge.State{}, h, http.NotFoundHandler()))
		defer srv.Close()
		conn, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\n%s: %s\r\nX-Real-IP: 192.0.2.1\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n\r\n", edge.ProofHeader, nginxProof)
		res, err = http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return nil, err
		}
		_, err = io.ReadAll(res.Body)
		return res, err
	}
	res, err := served(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Secret", "1")
		panic(http.ErrAbortHandler)
	})
	if err != nil || res.Header.Get("X-Accel-Redirect") != edge.HangupLocation || res.Header.Get("X-Secret") != "" {
		t.Errorf("a hang-up: %v %v", res, err)
	}
	if res, err = served(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, strings.Repeat("x", 10000))
		panic(http.ErrAbortHandler)
	}); err == nil {
		t.Errorf("a broken answer looks whole: %v", res)
	}
	for name, h := range map[string]http.HandlerFunc{
		"write": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "x") },
		"header": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(100 + 3)
			w.WriteHeader(202)
		},
		"flush": func(w http.ResponseWriter, _ *http.Request) { http.NewResponseController(w).Flush() },
	} {
		res, err := served(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Accel-Redirect", "/elsewhere")
			w.Header().Set("x-accel-limit-rate", "1")
			h(w, r)
		})
		for err == nil && res.StatusCode == 103 {
			break
		}
		if err != nil || res.Header.Get("X-Accel-Redirect") != "" || res.Header.Get("X-Accel-Limit-Rate") != "" {
			t.Errorf("%s: %v %v", name, res, err)
		}
	}
}

func TestVerifyBehind(t *testing.T) {
	front := httptest.NewServer(http.NotFoundHandler())
	defer front.Close()
	find := func(p *policy.Policy) check.Finding {
		c, err := probe.New(front.URL, probe.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, ctl := range edge.Controls() {
			if ctl.ID == "edge/behind" {
				return ctl.Verify(t.Context(), p, c)
			}
		}
		t.Fatal("edge/behind is not listed")
		return check.Finding{}
	}
	handler := edge.Behind(behindPolicy(), &edge.State{}, http.NotFoundHandler(), http.NotFoundHandler())
	for _, kind := range []string{"tcp", "unix"} {
		for name, tt := range map[string]struct {
			h    http.Handler
			want check.Verdict
		}{"in force": {handler, check.Pass}, "open": {http.NotFoundHandler(), check.Fail}, "down": {nil, check.Unknown}} {
			p := behindPolicy()
			p.Edge.Nginx.Listen = "127.0.0.1:0"
			if kind == "unix" {
				p.Edge.Nginx.Listen = "unix:" + t.TempDir() + "/n.sock"
			}
			ls, err := new(edge.Sockets).Listen(t.Context(), edge.SocketNginx, p.Edge.Nginx.Listen)
			if err != nil {
				t.Fatal(err)
			}
			if kind == "tcp" {
				p.Edge.Nginx.Listen = ls[0].Addr().String()
			}
			if tt.h == nil {
				ls[0].Close()
			} else {
				srv := &http.Server{Handler: tt.h}
				go srv.Serve(ls[0])
				defer srv.Close()
			}
			if f := find(p); f.Verdict != tt.want {
				t.Errorf("%s, %s: %+v", kind, name, f)
			}
		}
	}
	if f := find(policy.Default()); f.Verdict != check.Pass {
		t.Errorf("without a proxy: %+v", f)
	}
}

// A socket that a dead process left behind is replaced; a live one is not, and
// neither is a file.
func TestUnixSocketIsTakenOver(t *testing.T) {
	path := t.TempDir() + "/run/n.sock"
	first, err := edge.Listen(t.Context(), "unix:"+path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := edge.Listen(t.Context(), "unix:"+path); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second process: %v", err)
	}
	first[0].Close()
	second, err := edge.Listen(t.Context(), "unix:"+path)
	if err != nil {
		t.Fatalf("after the first: %v", err)
	}
	second[0].Close()
	if _, err := edge.Listen(t.Context(), "unix:/etc/passwd"); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("a file: %v", err)
	}
}
