package edge_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/internal/porttest"
)

// eventLog keeps the kinds of upstream events.
type eventLog struct {
	mu    sync.Mutex
	kinds []audit.Kind
}

func (l *eventLog) Record(e audit.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kinds = append(l.kinds, e.Kind)
}

func (l *eventLog) list() []audit.Kind {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.kinds)
}

func severalUpstreams(t *testing.T, health string, urls ...string) (addr string, proxy *edge.Proxy, events *eventLog) {
	t.Helper()
	p := proxyPolicy("")
	p.Upstreams = urls
	p.Edge.Health.Path, p.Edge.Health.Every = health, 10*time.Millisecond
	events = &eventLog{}
	proxy, err := edge.NewProxy(p, edge.Deps{Audit: events, Origin: func(*http.Request) edge.Origin { return alice }})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(proxy)
	t.Cleanup(srv.Close)
	t.Cleanup(proxy.Close)
	return srv.Listener.Addr().String(), proxy, events
}

func named(name string) func(net.Conn, *bufio.Reader) {
	return answering("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n"+name, false)
}

func TestRequestsAreShared(t *testing.T) {
	a, b := newRawUpstream(t, named("a")), newRawUpstream(t, named("b"))
	addr, _, _ := severalUpstreams(t, "", a.url, b.url)
	got := map[string]int{}
	for i := range 20 {
		extra := ""
		if i%2 == 1 {
			extra = throughHTTPUtil
		}
		got[askRaw(t, addr, get("GET", extra)).body]++
		got[askRaw(t, addr, get("GET", extra)).body]++
	}
	if got["a"] != 20 || got["b"] != 20 {
		t.Errorf("40 requests were shared %v", got)
	}
}

// One that is busy gets no more while another is not.
func TestBusyUpstreamGetsFewer(t *testing.T) {
	release, busy := make(chan struct{}), make(chan string, 1)
	api := func(name string) string {
		return newRawUpstream(t, func(c net.Conn, br *bufio.Reader) {
			for {
				r, _, err := readRequest(br)
				if err != nil {
					return
				}
				if r.URL.Path == "/slow" {
					busy <- name
					<-release
				}
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n"+name)
			}
		}).url
	}
	addr, _, _ := severalUpstreams(t, "", api("a"), api("b"))
	for _, extra := range []string{"", throughHTTPUtil} {
		var waiting sync.WaitGroup
		waiting.Go(func() { askRaw(t, addr, "GET /slow HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"+extra+"\r\n") })
		slow := <-busy
		for range 10 {
			if got := askRaw(t, addr, get("GET", "")); got.body == slow {
				t.Errorf("%q: the busy one was asked", extra)
			}
		}
		release <- struct{}{}
		waiting.Wait()
	}
}

// One that takes no connection costs no request, and is out.
func TestUpstreamThatIsDownIsPassedOver(t *testing.T) {
	down := porttest.Address(t)
	b := newRawUpstream(t, named("b"))
	addr, proxy, events := severalUpstreams(t, "", "http://"+down, b.url)
	for i, request := range []string{get("GET", ""), get("POST", "Content-Length: 2\r\n") + "hi", get("POST", throughHTTPUtil+"Content-Length: 2\r\n") + "hi", get("GET", throughHTTPUtil)} {
		if got := askRaw(t, addr, request); got.body != "b" {
			t.Errorf("request %d: %+v", i, got)
		}
	}
	if err := proxy.Reachable(t.Context()); err != nil {
		t.Errorf("one is up, and yet %v", err)
	}
	if k := events.list(); len(k) != 1 || k[0] != audit.UpstreamDown {
		t.Errorf("events %v", k)
	}
	// It comes back.
	l, err := net.Listen("tcp", down)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "a") })}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close() })
	for askRaw(t, addr, get("GET", "")).body != "a" {
		runtime.Gosched()
	}
	if k := events.list(); len(k) != 2 || k[1] != audit.UpstreamUp {
		t.Errorf("events %v", k)
	}
}

func TestAllUpstreamsDown(t *testing.T) {
	addr, proxy, events := severalUpstreams(t, "", "http://"+porttest.Address(t), "http://"+porttest.Address(t))
	for range 3 {
		for _, extra := range []string{"", throughHTTPUtil} {
			if got := askRaw(t, addr, get("GET", extra)); got.status != 502 {
				t.Errorf("%+v", got)
			}
		}
	}
	if proxy.Reachable(t.Context()) == nil {
		t.Error("nothing is up, and yet it is reachable")
	}
	if k := events.list(); len(k) != 2 {
		t.Errorf("events %v", k)
	}
}

// A sick upstream is out from its second bad answer until a good one.
func TestHealthChecks(t *testing.T) {
	var sick atomic.Bool
	api := func(name string) *httptest.Server {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/healthz" {
				if r.Host != "api.example.com" {
					t.Errorf("the check is for %q", r.Host)
				}
				if name == "a" && sick.Load() {
					w.WriteHeader(503)
				}
				return
			}
			fmt.Fprint(w, name)
		}))
		t.Cleanup(srv.Close)
		return srv
	}
	a, b := api("a"), api("b")
	addr, proxy, events := severalUpstreams(t, "/healthz", a.URL, b.URL)
	both := func() string {
		return strings.Join([]string{askRaw(t, addr, get("GET", "")).body, askRaw(t, addr, get("GET", "")).body}, "")
	}
	if got := both(); got != "ab" && got != "ba" {
		t.Errorf("got %q", got)
	}
	until := func(kind audit.Kind) {
		for k := events.list(); len(k) == 0 || k[len(k)-1] != kind; k = events.list() {
			runtime.Gosched()
		}
	}
	sick.Store(true)
	until(audit.UpstreamDown)
	if got := both() + both(); got != "bbbb" {
		t.Errorf("got %q", got)
	}
	sick.Store(false)
	until(audit.UpstreamUp)
	if got := both(); got != "ab" && got != "ba" {
		t.Errorf("got %q", got)
	}
	b.Close()
	sick.Store(true)
	if proxy.Reachable(t.Context()) == nil {
		t.Error("one is sick and one is down, and yet it is reachable")
	}
}

func TestAssertionIsSignedOncePerCaller(t *testing.T) {
	api := &seenBy{}
	up := httptest.NewServer(api)
	t.Cleanup(up.Close)
	var signed atomic.Int32
	var caller atomic.Pointer[edge.Origin]
	proxy, err := edge.NewProxy(proxyPolicy(up.URL), edge.Deps{
		Origin: func(*http.Request) edge.Origin { return *caller.Load() },
		Assert: func(o edge.Origin) string {
			signed.Add(1)
			return "assertion." + o.User + "." + o.Session + "." + strings.Join(o.Roles, "-")
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	bob, other, admin := alice, alice, alice
	bob.User, other.Session, admin.Roles = "bob", "s2", []string{"admin", "no,such", "no\nsuch"}
	for _, tt := range []struct {
		origin edge.Origin
		want   string
	}{
		{alice, "assertion.alice.s1.user-editor"}, {alice, "assertion.alice.s1.user-editor"}, {bob, "assertion.bob.s1.user-editor"},
		{other, "assertion.alice.s2.user-editor"}, {admin, "assertion.alice.s1.admin"}, {alice, "assertion.alice.s1.user-editor"},
		{edge.Origin{}, ""},
	} {
		caller.Store(&tt.origin)
		for _, te := range []string{"", "trailers"} {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set("X-Ringwall-Assertion", "forged")
			r.Header.Set("Te", te)
			proxy.ServeHTTP(httptest.NewRecorder(), r)
			if got := api.r.Header.Values(edge.AssertionHeader); strings.Join(got, "|") != tt.want {
				t.Errorf("%s: %q, want %q", tt.origin.User, got, tt.want)
			}
		}
	}
	if n := signed.Load(); n != 4 {
		t.Errorf("%d were signed, want 4", n)
	}
}
