package probe_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/internal/porttest"
)

// TestEvidenceHasNoSecrets: a canary in every place where secrets are sent or come
// back, and none in the log.
func TestEvidenceHasNoSecrets(t *testing.T) {
	const canary = "canary4711canary"
	const jwt = "eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiJjYW5hcnkifQ." + canary
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Add("Set-Cookie", "session="+canary+"; Path=/; HttpOnly")
		h.Set("Location", "/next?access_token="+canary+"&x=1&code="+canary)
		h.Set("X-Auth-Token", canary)
		h.Set("X-Api-Key", canary)
		h.Set("X-Jwt", jwt)
		h.Set("X-Kept", "kept")
		fmt.Fprint(w, `{"password":"`+canary+`"}`)
	}))
	defer s.Close()
	c := client(t, s.URL, probe.Options{})
	log := new(probe.Log)
	_, err := c.Do(probe.WithLog(t.Context(), log), probe.Request{Method: "POST", Target: "/a?token=" + canary + "&password=" + canary, Token: jwt, Body: canary, Headers: [][2]string{
		{"Cookie", "a=" + canary + "; b=" + canary}, {"Proxy-Authorization", "Basic " + canary}, {"X-Csrf-Token", canary}, {"Content-Type", "text/plain"}}})
	if err != nil {
		t.Fatal(err)
	}
	all := log.Exchanges()
	if len(all) != 1 {
		t.Fatalf("%d exchanges", len(all))
	}
	text := all[0].Sent + "\n" + all[0].Received
	if strings.Contains(text, canary) {
		t.Errorf("a secret is in the log:\n%s", text)
	}
	for _, want := range []string{"POST /a?token=[redacted]&password=[redacted] HTTP/1.1", "Authorization: Bearer [redacted]", "Cookie: a=[redacted]; b=[redacted]", "HTTP/1.1 200 OK", "Set-Cookie: session=[redacted]; Path=/; HttpOnly", "X-Kept: kept"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// TestLogKeepsTheFirstAndTheLast, whatever a check sends.
func TestLogKeepsTheFirstAndTheLast(t *testing.T) {
	url, _ := listen(t, answer("HTTP/1.1 204 No Content\r\n\r\n"))
	c := client(t, url, probe.Options{})
	log := new(probe.Log)
	for i := range 20 {
		if _, err := c.Do(probe.WithLog(t.Context(), log), probe.Request{Target: fmt.Sprintf("/%d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, e := range log.Exchanges() {
		line, _, _ := strings.Cut(e.Sent, " HTTP")
		got = append(got, strings.ReplaceAll(line, "\n", " "))
	}
	if s := strings.Join(got, ", "); s != "GET /0, [16 more before this] GET /17, GET /18, GET /19" {
		t.Error(s)
	}
	address := porttest.Address(t)
	log = new(probe.Log)
	_, _ = client(t, "http://"+address, probe.Options{}).Do(probe.WithLog(t.Context(), log), probe.Request{})
	if all := log.Exchanges(); len(all) != 1 || !strings.Contains(all[0].Received, "refused") {
		t.Errorf("%+v", all)
	}
}

// TestHeld: the target says how long it wants to be left alone, and is believed up
// to a day.
func TestHeld(t *testing.T) {
	for wait, most := range map[string]time.Duration{"30": 30 * time.Second, "999999999": 24 * time.Hour, "soon": 0, "-5": 0, "": 0,
		time.Now().Add(time.Hour).UTC().Format(http.TimeFormat): time.Hour, time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat): 0} {
		url, _ := listen(t, answer("HTTP/1.1 429 Too Many Requests\r\nRetry-After: "+wait+"\r\nContent-Length: 0\r\n\r\n"))
		c := client(t, url, probe.Options{})
		if c.Held() != 0 {
			t.Error("held before anything was asked")
		}
		if _, err := c.Do(t.Context(), probe.Request{}); err != nil {
			t.Fatal(err)
		}
		if got := c.Held(); got > most || got < most-10*time.Second {
			t.Errorf("%q: held for %v", wait, got)
		}
		if fresh, ok := c.Fresh(); ok && fresh.Held() != 0 {
			t.Error("another address is held, too")
		}
	}
}

// FuzzHello: whatever a server answers to a hello, there is an error or a
// suite, and no more is read than there is.
func FuzzHello(f *testing.F) {
	f.Add([]byte{22, 3, 3, 0, 4, 2, 0, 0, 0})
	f.Add([]byte{21, 3, 3, 0, 2, 2, 40})
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 1<<12))
			_, _ = c.Write(b)
			c.Close()
		}()
		c, err := probe.New("https://"+l.Addr().String(), probe.Options{Timeout: 2 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Hello(t.Context(), "localhost", 0x0303, probe.EverySuite())
	})
}
