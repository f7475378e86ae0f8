package policy_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ringwall/ringwall/policy"
)

func TestShowRoundTrip(t *testing.T) {
	for name, src := range map[string]string{
		"template": string(policy.Template("api.example.com", "http://127.0.0.1:8000")),
		"socket":   string(policy.Template("xn--bcher-kva.example", "unix:/run/api.sock")),
		"shown":    strings.Replace(string(policy.Default().Show()), "site: localhost", "site: a.example.com", 1),
		"names that look like values": "site: \"1e3.example\"\nidentity: {roles: {\"true\": [], \"null\": [], \"on\": [\"y:n\"]}, audience: \"true\", issuer: \"\"}\n" +
			"app: {limits: {\"off\": {requests: 1, per: 1s, paths: [\"/-\"]}}, schema: \"0x10\"}\n",
	} {
		t.Run(name, func(t *testing.T) {
			p := mustParse(t, src)
			again := mustParse(t, string(p.Show()))
			sameValues(t, p, again)
			if !bytes.Equal(p.Show(), again.Show()) {
				t.Error("Show writes another text of the same policy")
			}
		})
	}
}

func TestShowSaysWhatTheEnvironmentSet(t *testing.T) {
	got := string(mustParse(t, "site: a.example.com\n", "RINGWALL_APP_BODY=1MB", "RINGWALL_APP_CORS_ORIGINS=https://b.example.com",
		"LOG_LEVEL=warn", "RINGWALL_IDENTITY_TOKEN_KEY="+keyA).Show())
	for _, line := range []string{
		"  body: 1MB # from RINGWALL_APP_BODY\n",
		"    origins: [\"https://b.example.com\"] # from RINGWALL_APP_CORS_ORIGINS\n",
		"  log: warn # from LOG_LEVEL\n",
		"  # token_key: [redacted] # from RINGWALL_IDENTITY_TOKEN_KEY\n",
	} {
		if !strings.Contains(got, line) {
			t.Errorf("no line %q in\n%s", line, got)
		}
	}
	if strings.Count(got, "# from") != 4 {
		t.Errorf("too much is from the environment:\n%s", got)
	}
}

// Any policy that holds valid values is shown in a way that Parse reads back.
func TestShowRoundTripOfAnyPolicy(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := policy.Default()
		seconds := func(label string, least, most int) time.Duration {
			return time.Duration(rapid.IntRange(least, most).Draw(t, label)) * time.Second
		}
		text := rapid.StringOf(rapid.RuneFrom([]rune(` "'\:#{}[]&*!|>%@,?-~é日✓azAZ09` + "`\u200d")))
		p.Site = "a.example.com"
		p.Identity.Audience = strings.ReplaceAll(text.Draw(t, "audience"), " ", "")
		p.App.Schema = text.Draw(t, "schema")
		p.App.Body = policy.Size(rapid.Int64Range(1e3, 1e9).Draw(t, "body"))
		p.App.LimitsMemory = policy.Size(rapid.Int64Range(1e6, 1e9).Draw(t, "memory"))
		p.App.Timeout = seconds("timeout", 1, 3600)
		p.App.CORS.MaxAge = seconds("max age", 0, 7200)
		p.App.Headers.HSTS.MaxAge = seconds("hsts", 3600, 730*86400)
		p.App.Headers.HSTS.Subdomains = rapid.Bool().Draw(t, "subdomains")
		p.App.CORS.Credentials = rapid.Bool().Draw(t, "credentials")
		p.App.JSONDepth = rapid.IntRange(1, 1000).Draw(t, "depth")
		for i := range rapid.IntRange(0, 14).Draw(t, "classes") {
			p.App.Limits[fmt.Sprintf("c%d", i)] = policy.Limit{
				Requests: rapid.IntRange(1, 1e6).Draw(t, "requests"), Per: seconds("per", 1, 86400),
				Paths: []string{fmt.Sprintf("/%d", i)}, Message: text.Draw(t, "message"),
				OnStoreError: rapid.SampledFrom([]string{"", "allow", "deny"}).Draw(t, "on store error"),
			}
		}
		for i := range rapid.IntRange(0, 5).Draw(t, "routes") {
			r := policy.Route{Path: fmt.Sprintf("/r%d/{id}/", i), Allow: []string{rapid.SampledFrom([]string{"anyone", "signed-in", "admin", "x:y"}).Draw(t, "allow")}}
			if rapid.Bool().Draw(t, "bounds") {
				r.Body, r.Timeout = 5e6, seconds("route timeout", 1, 3600)
				r.Methods, r.ContentTypes = []string{"GET", "POST"}, []string{"text/plain"}
			}
			p.App.Routes = append(p.App.Routes, r)
		}
		p.Identity.Roles = map[string][]string{"admin": {"*"}, "on": nil}
		addresses := rapid.SliceOfNDistinct(rapid.Uint32(), 0, 4, rapid.ID).Draw(t, "proxies")
		for _, n := range addresses {
			a := netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
			prefix := netip.PrefixFrom(a, rapid.IntRange(8, 32).Draw(t, "bits")).Masked()
			if !slices.Contains(p.Edge.TrustedProxies, prefix) {
				p.Edge.TrustedProxies = append(p.Edge.TrustedProxies, prefix)
			}
		}
		for i := range rapid.IntRange(0, 3).Draw(t, "waivers") {
			p.Waivers = append(p.Waivers, policy.Waiver{Control: fmt.Sprintf("app/c%d", i), Reason: "it is done elsewhere" + text.Draw(t, "reason"),
				Until: time.Date(2026, 1, rapid.IntRange(1, 600).Draw(t, "until"), 0, 0, 0, 0, time.UTC)})
		}
		shown := p.Show()
		again, err := policy.Parse("shown.yaml", shown, alone())
		if err != nil {
			t.Fatalf("%v\n%s", err, shown)
		}
		if d := difference(p, again); d != "" {
			t.Fatalf("%s\n%s", d, shown)
		}
	})
}
