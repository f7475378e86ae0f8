package edge_test

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/policy"
)

func gatePolicy(waivers ...policy.Waiver) *policy.Policy {
	p := policy.Default()
	p.Site, p.Waivers = "api.example.com", waivers
	return p
}

func waiver(control string, until time.Time) policy.Waiver {
	return policy.Waiver{Control: control, Reason: "the load balancer does it", Until: until}
}

func TestGuardNamesTheControlThatRefuses(t *testing.T) {
	g, err := edge.NewGuard(gatePolicy(), &edge.State{})
	if err != nil {
		t.Fatal(err)
	}
	v := scannerVisit("/.env")
	v.Client, v.Now = netip.MustParseAddr("192.0.2.1"), time.Now()
	if r := g.Judge(v); r == nil || r.Control != "edge/scanners" || !r.Hangup {
		t.Errorf("/.env: %+v", r)
	}
	v.Request = &http.Request{URL: scannerVisit("/api/notes").Request.URL}
	for range 21 {
		if r := g.Judge(v); r != nil {
			t.Fatalf("within the rate: %+v", r)
		}
	}
	if r := g.Judge(v); r == nil || r.Control != "edge/rate" || r.Status != http.StatusTooManyRequests {
		t.Errorf("over the rate: %+v", r)
	}
}

func TestGuardObeysWaivers(t *testing.T) {
	today := time.Now().UTC().Truncate(24 * time.Hour)
	for name, tt := range map[string]struct {
		waiver policy.Waiver
		passes bool
		wrong  string
	}{
		"waived":           {waiver("edge/scanners", today.AddDate(0, 1, 0)), true, ""},
		"until today":      {waiver("edge/scanners", today), true, ""},
		"expired":          {waiver("edge/scanners", today.AddDate(0, 0, -1)), false, ""},
		"another":          {waiver("edge/rate", today), false, ""},
		"of the app":       {waiver("app/hsts", today), false, ""},
		"no such":          {waiver("edge/scanner", today), false, `waivers[0].control`},
		"a type, not more": {waiver("edge/upstream", today), false, `"edge/upstream"`},
	} {
		g, err := edge.NewGuard(gatePolicy(tt.waiver), &edge.State{})
		if tt.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), tt.wrong) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if r := g.Judge(scannerVisit("/.env")); (r == nil) != tt.passes {
			t.Errorf("%s: /.env: %+v", name, r)
		}
	}
}

func TestGuardSaysAllThatIsWrong(t *testing.T) {
	p := gatePolicy(waiver("edge/none", time.Now()))
	p.Edge.Rate, p.Edge.Scanners.Allow = policy.Rate{}, []string{"report.php"}
	_, err := edge.NewGuard(p, &edge.State{})
	for _, part := range []string{"edge/none", "edge.rate", "edge.scanners.allow[0]"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("nothing of %s in: %v", part, err)
		}
	}
}
