package identity_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/identity"
	"github.com/ringwall/ringwall/internal/race"
)

// alike reports how two answers differ to who may not tell them apart.
func alike(a, b reply) string {
	strip := func(r reply) string {
		m := map[string]any{}
		for k, v := range r.json {
			if k != "request_id" {
				m[k] = v
			}
		}
		text, _ := json.Marshal(m)
		h := r.header.Clone()
		for _, own := range []string{"X-Request-Id", "Date", "Ratelimit", "Content-Length"} {
			h.Del(own)
		}
		return fmt.Sprint(r.status, " ", string(text), " ", h)
	}
	if x, y := strip(a), strip(b); x != y {
		return x + "\nand\n" + y
	}
	return ""
}

// TRAPS: lockout that leaks: the same answer for unknown accounts.
func TestTrapUnknownAccountIsAnsweredAlike(t *testing.T) {
	s := openSite(t, true)
	b := s.browse("127.0.0.1")
	known := b.register(ada)
	first := s.secret(ada, "Confirm your address")
	b.must(204, "POST", "/api/auth/verify-email", fields{"token": first, "password": password})
	unknown := b.register("eve@example.org")
	taken := b.register(ada)
	if d := alike(unknown, taken) + alike(known, taken); d != "" {
		t.Errorf("a taken address is told apart at registration: %s", d)
	}
	wrong := b.login(ada, "not the password")
	if wrong.status != 401 || wrong.header.Get("Www-Authenticate") == "" {
		t.Fatalf("a wrong password: %v", wrong)
	}
	// Eve has not proved her address: with the right password she is nobody, so
	// that who registers with an address does not learn whether it was free.
	for name, other := range map[string]reply{
		"unknown":    b.login("nobody@example.org", "not the password"),
		"unverified": b.login("eve@example.org", password),
	} {
		if d := alike(wrong, other); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	locked, _ := s.svc.Accounts().Find(t.Context(), ada)
	if _, err := s.svc.Accounts().Lock(t.Context(), identity.Actor{ID: "os:root", Operator: true}, locked.ID); err != nil {
		t.Fatal(err)
	}
	if d := alike(wrong, b.login(ada, password)); d != "" {
		t.Errorf("locked: %s", d)
	}
	if d := alike(b.ask("POST", "/api/auth/password/forgot", fields{"email": "nobody@example.org"}), b.ask("POST", "/api/auth/password/forgot", fields{"email": "eve@example.org"})); d != "" {
		t.Errorf("forgot: %s", d)
	}
}

// TRAPS: timing compared. The work must be the same: hashes are what takes the
// time. Other load makes single requests slower and none quicker, so the quickest
// of many are compared, and of more while they differ.
func TestTrapTimingOfUnknownAccounts(t *testing.T) {
	if testing.Short() || race.Enabled {
		t.Skip("it measures time")
	}
	s := openCostlySite(t, fmt.Sprintf(siteRules, false))
	b := s.browse("127.0.0.1")
	b.register(ada)
	quickest := map[string]time.Duration{}
	measure := func(name string, do func()) {
		began := time.Now()
		do()
		if took := time.Since(began); quickest[name] == 0 || took < quickest[name] {
			quickest[name] = took
		}
	}
	apart := func() string {
		for _, pair := range [][2]string{{"known", "unknown"}, {"new", "taken"}} {
			x, y := quickest[pair[0]], quickest[pair[1]]
			if (x - y).Abs() > min(x, y)/3 {
				return fmt.Sprintf("%s takes %v and %s %v", pair[0], x, pair[1], y)
			}
		}
		return ""
	}
	for i := 0; i < 15 || i < 60 && apart() != ""; i++ {
		s.clock.set(s.clock.now().Add(time.Hour)) // no delay
		measure("known", func() { b.login(ada, "wrong password") })
		measure("unknown", func() { b.login("nobody"+strconv.Itoa(i)+"@example.org", "wrong password") })
		measure("new", func() { b.register("new" + strconv.Itoa(i) + "@example.org") })
		measure("taken", func() { b.register(ada) })
	}
	if d := apart(); d != "" {
		t.Errorf("the two are told apart: %s", d)
	}
	t.Log(quickest)
}

// TRAPS: account taken over before its owner arrives (GHSA-qq9h).
func TestTrapAccountTakenBeforeItsOwnerArrives(t *testing.T) {
	const attackers = "granite pillow saddle 3"
	t.Run("the owner is led to confirm", func(t *testing.T) {
		s := openSite(t, true)
		mallory, owner := s.browse("127.0.0.2"), s.browse("127.0.0.1")
		mallory.must(201, "POST", "/api/auth/register", fields{"name": "Ada", "email": ada, "password": attackers})
		secret := s.secret(ada, "Confirm your address")
		// The owner follows the link, with a password of her own: nothing is verified.
		r := owner.must(400, "POST", "/api/auth/verify-email", fields{"token": secret, "password": password})
		if !slices.Equal(r.codes(), []string{"/password wrong"}) {
			t.Errorf("verify: %v", r)
		}
		if r := mallory.login(ada, attackers); r.status != 401 {
			t.Fatalf("the attacker is in: %v", r)
		}
		// She registers herself, and gets to choose a password.
		owner.register(ada)
		secret = s.secret(ada, "Your account waits for you")
		owner.must(204, "POST", "/api/auth/password/reset", fields{"token": secret, "password": password})
		if r := mallory.login(ada, attackers); r.status != 401 {
			t.Errorf("the attacker is in: %v", r)
		}
		owner.enter(ada, password)
	})
	t.Run("addresses need no proof", func(t *testing.T) {
		s := openSite(t, false)
		mallory, owner := s.browse("127.0.0.2"), s.browse("127.0.0.1")
		mallory.must(201, "POST", "/api/auth/register", fields{"name": "Ada", "email": ada, "password": attackers})
		mallory.enter(ada, attackers)
		owner.must(204, "POST", "/api/auth/password/forgot", fields{"email": ada})
		secret := s.secret(ada, "Choose a new password")
		owner.must(204, "POST", "/api/auth/password/reset", fields{"token": secret, "password": password})
		mallory.must(401, "GET", "/api/me", nil)
		mallory.token = ""
		mallory.must(401, "POST", "/api/auth/refresh", nil)
		if r := mallory.login(ada, attackers); r.status != 401 {
			t.Errorf("the attacker is in: %v", r)
		}
		owner.enter(ada, password)
	})
}

func TestReset(t *testing.T) {
	s := openSite(t, true)
	b := s.browse("127.0.0.1")
	b.must(204, "POST", "/api/auth/password/forgot", fields{"email": ada}) // nobody: no mail
	b.register(ada)
	s.mailed(ada, "Confirm your address")
	b.must(204, "POST", "/api/auth/password/forgot", fields{"email": ada})
	secret := s.secret(ada, "Choose a new password")
	reset := func(token, pw string) reply {
		return b.ask("POST", "/api/auth/password/reset", fields{"token": token, "password": pw})
	}
	for _, bad := range []string{"", "x", secret[:42], secret + "A", strings.Repeat("A", 43), strings.ToLower(secret)} {
		if r := reset(bad, another); r.status != 400 || !slices.Equal(r.codes(), []string{"/token invalid"}) {
			t.Errorf("reset with %q: %v", bad, r)
		}
	}
	// A password that is refused does not use the secret up.
	if r := reset(secret, "password1234"); r.status != 400 || !slices.Equal(r.codes(), []string{"/password common"}) {
		t.Errorf("a common password: %v", r)
	}
	if r := reset(secret, "ada-example-org"); r.status != 400 || !slices.Equal(r.codes(), []string{"/password guessable"}) {
		t.Errorf("a password of the address: %v", r)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for range 8 {
		wg.Go(func() {
			if r := reset(secret, another); r.status == 204 {
				mu.Lock()
				won++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Fatalf("%d of 8 resets with one secret passed", won)
	}
	s.mailed(ada, "Your password was changed")
	b.enter(ada, another) // and the address is proved
	if s.recorded(audit.AccountVerified, audit.Success) != 1 || s.recorded(audit.PasswordReset, audit.Success) != 1 {
		t.Error("the events are missing")
	}
	// It ends after an hour, and mails are seldom.
	s.clock.set(s.clock.now().Add(25 * time.Hour))
	b.must(204, "POST", "/api/auth/password/forgot", fields{"email": ada})
	secret = s.secret(ada, "Choose a new password")
	for range 5 {
		b.must(204, "POST", "/api/auth/password/forgot", fields{"email": ada})
	}
	s.clock.set(s.clock.now().Add(time.Hour))
	if r := reset(secret, password); r.status != 400 {
		t.Errorf("after an hour: %v", r)
	}
	b.must(204, "POST", "/api/auth/password/forgot", fields{"email": ada})
	s.secret(ada, "Choose a new password") // the next one: none was sent in between
}

// TRAPS: lockout that is a weapon: the owner with a known device gets in.
func TestTrapLockoutLetsTheOwnerIn(t *testing.T) {
	s := openSite(t, false)
	owner := s.member("127.0.0.1", ada) // her browser is known now
	mallory := s.browse("127.0.0.2")
	delayed := 0
	for range 8 {
		switch r := mallory.login(ada, "wrong password"); r.status {
		case 401:
		case 429:
			delayed++
			if n, err := strconv.Atoi(r.header.Get("Retry-After")); err != nil || n < 1 || n > 900 {
				t.Errorf("Retry-After is %q", r.header.Get("Retry-After"))
			}
		default:
			t.Fatalf("login: %v", r)
		}
	}
	if delayed != 3 {
		t.Errorf("%d of 8 attempts were delayed, want 3", delayed)
	}
	// While delayed, the secret is not looked at.
	if r := mallory.login(ada, password); r.status != 429 {
		t.Errorf("the right password from elsewhere: %v", r)
	}
	owner.enter(ada, password)
	if s.recorded(audit.AttemptDelayed, audit.Failure) != 4 || s.recorded(audit.AuthFailed, audit.Failure) != 5 {
		t.Errorf("%d delayed and %d failed", s.recorded(audit.AttemptDelayed, audit.Failure), s.recorded(audit.AuthFailed, audit.Failure))
	}
	s.clock.set(s.clock.now().Add(2 * time.Second))
	mallory.enter(ada, password) // in the end anybody who has it gets in
	for range 4 {
		mallory.token = ""
		mallory.login(ada, "wrong password") // her success has reset the count
	}
	if r := s.browse("127.0.0.3").login(ada, password); r.status != 200 {
		t.Errorf("after a success: %v", r)
	}
}

// A device cookie that somebody planted does not become one of the account.
func TestTrapPlantedDevice(t *testing.T) {
	s := openSite(t, false)
	mallory := s.browse("127.0.0.2")
	mallory.register("mallory@example.org")
	planted := mallory.login("mallory@example.org", password).cookieNamed("__Host-device")
	owner := s.browse("127.0.0.1")
	owner.register(ada)
	site := &url.URL{Scheme: "https", Host: "example.com"}
	owner.http.Jar.SetCookies(site, []*http.Cookie{planted})
	r := owner.login(ada, password)
	if c := r.cookieNamed("__Host-device"); c == nil || c.Value == planted.Value {
		t.Fatalf("the device cookie is %+v", c)
	}
	own := r.cookieNamed("__Host-device")
	if r := owner.login(ada, password); r.cookieNamed("__Host-device") != nil {
		t.Error("a known device is given another cookie")
	}
	for range 8 {
		mallory.login(ada, "wrong password")
	}
	if r := mallory.login(ada, password); r.status != 429 {
		t.Errorf("the planted device: %v", r)
	}
	owner.http.Jar.SetCookies(site, []*http.Cookie{own})
	owner.enter(ada, password)
}

// Every path that checks a secret counts.
func TestTrapEverySecretIsGuarded(t *testing.T) {
	s := openSite(t, true)
	b := s.browse("127.0.0.1")
	b.register(ada)
	secret := s.secret(ada, "Confirm your address")
	count := func(name string, most int, ask func() reply) {
		t.Helper()
		for i := range most + 1 {
			r := ask()
			if r.status == 429 {
				if i < most {
					t.Errorf("%s: delayed after %d", name, i)
				}
				if r.header.Get("Retry-After") == "" {
					t.Errorf("%s: 429 without Retry-After", name)
				}
				s.clock.set(s.clock.now().Add(20 * time.Hour))
				return
			}
		}
		t.Errorf("%s: %d attempts were looked at", name, most+1)
	}
	count("verify-email", 5, func() reply {
		return b.ask("POST", "/api/auth/verify-email", fields{"token": secret, "password": "wrong"})
	})
	b.must(204, "POST", "/api/auth/verify-email", fields{"token": secret, "password": password}) // it was given back each time
	b.enter(ada, password)
	count("password", 5, func() reply {
		return b.ask("POST", "/api/auth/password", fields{"password": "wrong", "new_password": another})
	})
	b.enter(ada, password)
	count("delete", 5, func() reply { return b.ask("DELETE", "/api/me", fields{"password": "wrong"}) })
	elsewhere := s.browse("127.0.0.7")
	count("reset", 20, func() reply {
		return elsewhere.ask("POST", "/api/auth/password/reset", fields{"token": strings.Repeat("A", 43), "password": another})
	})
}

// TRAPS: redaction. A canary is in every secret; nothing of it is told.
func TestTrapNothingSecretIsTold(t *testing.T) {
	const canary = "c4n4ry93"
	s := openSite(t, true)
	secrets := []string{canary}
	b := s.browse("127.0.0.1")
	pw, next := "violet "+canary+" tunnel 9", "amber "+canary+" meadow 4"
	b.must(201, "POST", "/api/auth/register", fields{"name": "Ada", "email": ada, "password": pw})
	secret := s.secret(ada, "Confirm your address")
	secrets = append(secrets, secret)
	b.ask("POST", "/api/auth/verify-email", fields{"token": secret, "password": "wrong " + canary})
	b.must(204, "POST", "/api/auth/verify-email", fields{"token": secret, "password": pw})
	b.ask("POST", "/api/auth/login", fields{"email": ada, "password": "wrong " + canary})
	r := b.must(200, "POST", "/api/auth/login", fields{"email": ada, "password": pw, "token_delivery": "body"})
	b.token = r.json["access_token"].(string)
	refresh := r.json["refresh_token"].(string)
	secrets = append(secrets, b.token, refresh, refresh[len(refresh)-43:], r.cookieNamed("__Host-device").Value)
	r = b.must(200, "POST", "/api/auth/refresh", fields{"refresh_token": refresh})
	successor := r.json["refresh_token"].(string)
	secrets = append(secrets, r.json["access_token"].(string), successor, successor[len(successor)-43:])
	s.clock.set(s.clock.now().Add(2 * time.Minute))
	b.ask("POST", "/api/auth/refresh", fields{"refresh_token": refresh}) // theft
	if s.recorded(audit.TokenReused, audit.Failure) != 1 {
		t.Error("the theft was not recorded")
	}
	b.must(204, "POST", "/api/auth/password/forgot", fields{"email": ada})
	secret = s.secret(ada, "Choose a new password")
	secrets = append(secrets, secret)
	b.token = ""
	b.must(204, "POST", "/api/auth/password/reset", fields{"token": secret, "password": next})
	b.enter(ada, next)
	b.ask("POST", "/api/auth/password", fields{"password": next, "new_password": "x" + canary})
	s.store.fail(true)
	b.ask("POST", "/api/auth/login", fields{"email": ada, "password": next})
	s.store.fail(false)
	told := s.told()
	for _, x := range secrets {
		if len(x) < 8 || strings.Contains(told, x) {
			t.Errorf("%q is in the log or in an event", x)
		}
	}
	if !strings.Contains(told, "auth.failed") || strings.Contains(told, "argon2") {
		t.Error("the log is not as expected")
	}
}

// Bad input is 400 with the list, and nothing of it comes back.
func TestBadInput(t *testing.T) {
	s := openSite(t, false)
	b := s.browse("127.0.0.1")
	for _, tt := range []struct {
		path, body string
		status     int
		codes      string
	}{
		{"register", `{}`, 400, "/name required, /email required, /password required"},
		{"register", `{"name":"","email":"canary","password":"short"}`, 400, "/name format, /email format, /password too_short"},
		{"register", `{"name":"canary\u202etxt","email":"a@example.org","password":"violet harbour tunnel 9"}`, 400, "/name format"},
		{"register", `{"name":"\u3164","email":"a@example.org","password":"violet harbour tunnel 9"}`, 400, "/name format"},
		{"register", `{"name":"a\nBcc: x","email":"a@example.org","password":"violet harbour tunnel 9"}`, 400, "/name format"},
		{"register", `{"name":"a","email":"a@example.org","password":"violet harbour tunnel 9","role":"admin"}`, 400, " unknown"},
		{"register", `{"name":"a","email":"a@example.org","password":"violet harbour tunnel 9","roles":["admin"]}`, 400, " unknown"},
		{"register", `{"name":"a","email":{"$gt":""},"password":"violet harbour tunnel 9"}`, 400, "/email type"},
		{"register", `{"name":"a","email":"a@example.org\r\nBcc: b@example.org","password":"violet harbour tunnel 9"}`, 400, "/email format"},
		{"register", `{"name":"a","Email":"a@example.org","password":"violet harbour tunnel 9"}`, 400, "/email unknown, /email required"},
		{"login", `{"email":"a@example.org"}`, 400, "/password required"},
		{"login", `{"email":"canary@localhost","password":"canary"}`, 400, "/email format"},
		{"login", `{"email":"a@example.org","password":["canary"]}`, 400, "/password type"},
		{"login", `{"email":"a@example.org","password":"` + strings.Repeat("canary", 200) + `"}`, 400, "/password too_long"},
		{"login", `{"email":"a@example.org","password":null}`, 400, "/password type"},
		{"login", `{"email":"a@example.org","email":"b@example.org","password":"x"}`, 400, ""},
		{"login", `[]`, 400, " type"},
		{"login", ``, 400, "/email required, /password required"},
		{"login", `{"email":"a@example.org","password":"x"} x`, 400, ""},
		{"password/forgot", `{"email":"canary"}`, 400, "/email format"},
		{"login", strings.Repeat(" ", 20_000), 413, ""},
	} {
		req, err := http.NewRequest("POST", "https://example.com/api/auth/"+tt.path, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		res, err := b.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(res.Body)
		res.Body.Close()
		r := reply{status: res.StatusCode, header: res.Header, body: string(text)}
		_ = json.Unmarshal(text, &r.json)
		if got := strings.Join(r.codes(), ", "); r.status != tt.status || tt.codes != "" && got != tt.codes {
			t.Errorf("%s %.80s: %v", tt.path, tt.body, r)
		}
		if bytes.Contains(text, []byte("canary")) || bytes.Contains(text, []byte("Bcc")) {
			t.Errorf("%s %.80s: the answer repeats it: %s", tt.path, tt.body, text)
		}
		if res.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: Cache-Control is %q", tt.path, res.Header.Get("Cache-Control"))
		}
	}
	if r := b.must(405, "GET", "/api/auth/login", nil); r.header.Get("Allow") != "POST" {
		t.Errorf("Allow is %q", r.header.Get("Allow"))
	}
	b.must(404, "POST", "/api/auth/nothing", fields{})
}

// Another site's page can neither refresh nor sign out with a visitor's cookie.
func TestTrapCrossSiteRefresh(t *testing.T) {
	s := openSite(t, false)
	b := s.member("127.0.0.1", ada)
	for _, path := range []string{"/api/auth/refresh", "/api/auth/logout"} {
		req, _ := http.NewRequest("POST", "https://example.com"+path, nil)
		req.Header.Set("Origin", "https://evil.example")
		req.Header.Set("Sec-Fetch-Site", "cross-site")
		res, err := b.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 403 {
			t.Errorf("%s from another site: %d", path, res.StatusCode)
		}
	}
	b.token = ""
	b.must(200, "POST", "/api/auth/refresh", nil)
}

// What a store outage means: no sign-in and no refresh, tokens stay good.
func TestStoreOut(t *testing.T) {
	s := openSite(t, false)
	b := s.member("127.0.0.1", ada)
	s.store.fail(true)
	for _, path := range []string{"login", "refresh", "register", "password/reset"} {
		var body any
		switch path {
		case "login":
			body = fields{"email": ada, "password": password}
		case "register":
			body = fields{"name": "Eve", "email": "eve@example.org", "password": password}
		case "password/reset":
			body = fields{"token": strings.Repeat("A", 43), "password": another}
		}
		r := b.must(503, "POST", "/api/auth/"+path, body)
		if r.header.Get("Retry-After") == "" || strings.Contains(r.body, "disk") {
			t.Errorf("%s: %v", path, r)
		}
	}
	b.must(200, "GET", "/notes", nil)
	b.must(503, "GET", "/api/me", nil)
	if s.svc.Ready(t.Context()) == nil || s.recorded(audit.StoreFailed, audit.Failure) < 5 {
		t.Errorf("%d events", s.recorded(audit.StoreFailed, audit.Failure))
	}
	s.store.fail(false)
	b.token = ""
	b.must(200, "POST", "/api/auth/refresh", nil) // the cookie was not thrown away
	b.enter(ada, password)
}

// The handler refuses to work where nobody says who calls.
func TestHandlerOutsideTheRing(t *testing.T) {
	s := openSite(t, false)
	for _, path := range []string{"/api/admin/users", "/api/me", "/api/auth/login"} {
		w := httptest.NewRecorder()
		s.svc.Handler().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != 500 {
			t.Errorf("%s was answered %d", path, w.Code)
		}
	}
	if !strings.Contains(s.told(), "did not come through the ring") {
		t.Error("nobody was told why")
	}
}
