package edge_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/policy"
)

// The fields of RFC 9116, 2.5, and how each is written (its section 4, as far as
// this server goes).
var securityTxtFields = map[string]*regexp.Regexp{
	"Contact":             regexp.MustCompile(`^(https://|mailto:|tel:)[!-~]+$`),
	"Expires":             regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)$`),
	"Preferred-Languages": regexp.MustCompile(`^[A-Za-z0-9-]+( ?, ?[A-Za-z0-9-]+)*$`),
	"Canonical":           regexp.MustCompile(`^https://[!-~]+$`),
	"Policy":              regexp.MustCompile(`^https://[!-~]+$`),
}

func TestSecurityTxt(t *testing.T) {
	now := time.Date(2026, 7, 1, 15, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		given policy.SecurityTxt
		want  []string
	}{
		"least": {policy.SecurityTxt{Contact: []string{"mailto:security@example.com"}}, []string{
			"Contact: mailto:security@example.com", "Expires: 2026-09-29T23:59:59Z", "Canonical: https://api.example.com/.well-known/security.txt"}},
		"most": {policy.SecurityTxt{Contact: []string{"https://example.com/report", "tel:+1-201-555-0123"}, Policy: "https://example.com/policy",
			Languages: []string{"en", "pt-BR"}, Expires: time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)}, []string{
			"Contact: https://example.com/report", "Contact: tel:+1-201-555-0123", "Expires: 2027-01-31T23:59:59Z", "Preferred-Languages: en, pt-BR",
			"Canonical: https://api.example.com/.well-known/security.txt", "Policy: https://example.com/policy"}},
	} {
		p := policy.Default()
		p.Site, p.Edge.SecurityTxt = "api.example.com", tt.given
		if err := p.Validate(now); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := edge.SecurityTxt(p, now)
		if got != strings.Join(tt.want, "\n")+"\n" {
			t.Errorf("%s:\n%swant\n%s", name, got, strings.Join(tt.want, "\n"))
		}
		seen := map[string]int{}
		for line := range strings.Lines(got) {
			field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			if form := securityTxtFields[field]; form == nil || !form.MatchString(value) {
				t.Errorf("%s: the line %q is not as RFC 9116 has it", name, line)
			}
			seen[field]++
		}
		if seen["Contact"] < 1 || seen["Expires"] != 1 || seen["Preferred-Languages"] > 1 {
			t.Errorf("%s: fields %v", name, seen)
		}
	}
}

func TestSecurityTxtOfThePastIsAnError(t *testing.T) {
	p := policy.Default()
	p.Site = "api.example.com"
	p.Edge.SecurityTxt = policy.SecurityTxt{Contact: []string{"mailto:a@example.com"}, Expires: time.Date(2026, 6, 30, 0, 0, 0, 0, time.UTC)}
	for day, ok := range map[string]bool{"2025-06-01": false, "2025-07-01": true, "2026-06-30": true, "2026-07-01": false} {
		now, err := time.Parse(time.DateOnly, day)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Validate(now); (err == nil) != ok {
			t.Errorf("on %s: %v", day, err)
		}
	}
}

func TestWellKnown(t *testing.T) {
	p := policy.Default()
	p.Site = "api.example.com"
	open := edge.WellKnown(p, time.Now)
	if len(open) != 1 || open["/robots.txt"] == nil {
		t.Errorf("by default %d paths are served", len(open))
	}
	p.Edge.Robots, p.Edge.SecurityTxt.Contact = false, []string{"mailto:a@example.com"}
	open2 := edge.WellKnown(p, time.Now)
	if len(open2) != 1 || open2["/.well-known/security.txt"] == nil {
		t.Errorf("%d paths are served", len(open2))
	}
	for _, tt := range []struct {
		h            http.Handler
		method       string
		status       int
		begin, allow string
	}{
		{open["/robots.txt"], "GET", 200, "User-agent: *\nDisallow: /\n", ""},
		{open["/robots.txt"], "HEAD", 200, "", ""},
		{open["/robots.txt"], "POST", 405, "", "GET, HEAD"},
		{open2["/.well-known/security.txt"], "GET", 200, "Contact: mailto:a@example.com\nExpires: ", ""},
	} {
		w := httptest.NewRecorder()
		tt.h.ServeHTTP(w, httptest.NewRequest(tt.method, "/", nil))
		res := w.Result()
		body, _ := io.ReadAll(res.Body)
		if res.StatusCode != tt.status || !strings.HasPrefix(string(body), tt.begin) || res.Header.Get("Allow") != tt.allow || tt.begin == "" && len(body) > 0 {
			t.Errorf("%s: %d %v %q", tt.method, res.StatusCode, res.Header, body)
		}
		if tt.status == 200 && res.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("%s: %v", tt.method, res.Header)
		}
	}
}

// A file that the edge did not write is judged as RFC 9116 has it.
func TestVerifySecurityTxt(t *testing.T) {
	const contact, expires = "Contact: mailto:security@example.com\n", "Expires: %s\n"
	day := func(n int) string { return time.Now().AddDate(0, 0, n).UTC().Format(time.RFC3339) }
	for name, tt := range map[string]struct {
		body, media string
		status      int
		want        check.Verdict
	}{
		"good":                     {contact + fmt.Sprintf(expires, day(30)), "text/plain; charset=utf-8", 200, check.Pass},
		"comments and other lines": {"# hello\r\n\r\n" + contact + "Preferred-Languages: en\n" + fmt.Sprintf(expires, day(30)), "text/plain", 200, check.Pass},
		"run out":                  {contact + fmt.Sprintf(expires, day(-1)), "text/plain", 200, check.Fail},
		"too far ahead":            {contact + fmt.Sprintf(expires, day(400)), "text/plain", 200, check.Fail},
		"no date":                  {contact, "text/plain", 200, check.Fail},
		"two dates":                {contact + fmt.Sprintf(expires+expires, day(3), day(30)), "text/plain", 200, check.Fail},
		"a date that is none":      {contact + fmt.Sprintf(expires, "soon"), "text/plain", 200, check.Fail},
		"another contact":          {"Contact: mailto:evil@example.com\n" + fmt.Sprintf(expires, day(30)), "text/plain", 200, check.Fail},
		"one contact more":         {contact + "Contact: mailto:evil@example.com\n" + fmt.Sprintf(expires, day(30)), "text/plain", 200, check.Fail},
		"a page":                   {contact + fmt.Sprintf(expires, day(30)), "text/html", 200, check.Fail},
		"not there":                {"", "text/plain", 404, check.Fail},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", tt.media)
			w.WriteHeader(tt.status)
			_, _ = io.WriteString(w, tt.body)
		}))
		c, err := probe.New(s.URL, probe.Options{})
		if err != nil {
			t.Fatal(err)
		}
		p := policy.Default()
		p.Edge.SecurityTxt.Contact = []string{"mailto:security@example.com"}
		for _, ctl := range edge.Controls() {
			if ctl.ID == "edge/security-txt" {
				if f := ctl.Verify(t.Context(), p, c); f.Verdict != tt.want {
					t.Errorf("%s: %v %q, want %v", name, f.Verdict, f.Got, tt.want)
				}
				p.Edge.SecurityTxt.Contact = nil
				if f := ctl.Verify(t.Context(), p, c); f.Verdict != check.Unknown || !f.Moot {
					t.Errorf("%s, without a contact: %+v", name, f)
				}
			}
		}
		s.Close()
	}
}
