package report_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/report"
)

// hostile is what a target might say to whoever reads a report of it.
const hostile = `"><script>alert(1)</script>]]></failure><!--'&{{.}}` + "\x1b[2J\x00\u202e\ufffe\xff" + `javascript:alert(1)`

func sample() check.Report {
	meta := func(id, title string) check.Meta {
		return check.Meta{ID: id, Title: title, Why: "Somebody on the way reads it.", Ref: "RFC 6797; ASVS 5.0 V3.4.1; OWASP API8 2023; CWE-319; blueprint A1, T6, checklist 1"}
	}
	checks := []check.Check{
		{Meta: meta("app/hsts", "Browsers use HTTPS only")},
		{Meta: meta("app/cors", "Only listed origins may read answers")},
		{Meta: meta("edge/tls", "TLS is 1.2 or newer")},
		{Meta: meta("edge/rate", "No client asks faster than the edge allows")},
	}
	findings := []check.Finding{
		check.Passed("Strict-Transport-Security: max-age=31536000"),
		check.Failed("Access-Control-Allow-Origin: "+hostile, "no Access-Control-Allow-Origin", "name the origins in app.cors.origins"),
		check.Unseen("the connection ended: %s", hostile),
		{Verdict: check.Waived, Got: "until 2027-01-31: the gateway does it"},
	}
	findings[1].Evidence = []check.Exchange{{Sent: "GET / HTTP/1.1\nOrigin: https://evil.example", Received: "HTTP/1.1 200 OK\nX-Hostile: " + hostile}}
	r := check.Report{}
	for i, c := range checks {
		r.Results = append(r.Results, check.Result{Meta: c.Meta, Finding: findings[i]})
	}
	// As a run cleans what it found.
	b, _ := json.Marshal(r)
	_ = json.Unmarshal(b, &r)
	r.Target, r.Version, r.Time = "https://api.example.com/v1", "0.2.0", time.Date(2026, 11, 26, 9, 0, 0, 0, time.UTC)
	r.Inside = []check.Inside{{Meta: meta("app/access-log", "Every request leaves a line"), How: "journalctl -u ringwall"}}
	return r
}

func written(t *testing.T, write func(io.Writer, check.Report) error, r check.Report) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestSARIFValidates(t *testing.T) {
	file, err := os.ReadFile("testdata/sarif-2.1.0.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("sarif.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("sarif.json")
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]check.Report{"sample": sample(), "empty": {}} {
		out, err := jsonschema.UnmarshalJSON(bytes.NewReader(written(t, report.SARIF, r)))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(out); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The schema is looked at, too: it refuses what is wrong.
	if schema.Validate(map[string]any{"version": "2.1.0"}) == nil {
		t.Error("a log without runs validates")
	}

	var log struct {
		Runs []struct {
			Results []struct{ RuleID, Kind, Level string }
		}
	}
	if err := json.Unmarshal(written(t, report.SARIF, sample()), &log); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range log.Runs[0].Results {
		got = append(got, r.RuleID+" "+r.Kind+" "+r.Level)
	}
	// 3.27.9 and 3.27.10: a level other than none needs kind fail.
	want := "app/hsts pass none, app/cors fail error, edge/tls open none, edge/rate notApplicable none"
	if s := strings.Join(got, ", "); s != want {
		t.Errorf("got  %s\nwant %s", s, want)
	}
}

func TestJUnitValidates(t *testing.T) {
	xmllint, err := exec.LookPath("xmllint")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("xmllint is not installed (libxml2-utils)")
	}
	for name, r := range map[string]check.Report{"sample": sample(), "empty": {}} {
		file := filepath.Join(t.TempDir(), name+".xml")
		if err := os.WriteFile(file, written(t, report.JUnit, r), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(xmllint, "--noout", "--schema", "testdata/junit-10.xsd", file).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	var got struct {
		Time   string `xml:"time,attr"`
		Suites []struct {
			Name  string `xml:"name,attr"`
			Tests int    `xml:"tests,attr"`
			Time  string `xml:"time,attr"`
			Cases []struct {
				Time string `xml:"time,attr"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	r := sample()
	for i := range r.Results {
		r.Results[i].Took = time.Duration(i+1) * 1500 * time.Millisecond
	}
	if err := xml.Unmarshal(written(t, report.JUnit, r), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Suites) != 2 || got.Suites[0].Name != "ringwall.app" || got.Suites[0].Tests != 2 {
		t.Errorf("%+v", got)
	}
	if got.Time != "15.000" || got.Suites[0].Time != "4.500" || got.Suites[1].Cases[1].Time != "6.000" {
		t.Errorf("times: %+v", got)
	}
}

// TestHTMLIsInert: whatever a target said, the page has no markup of its.
func TestHTMLIsInert(t *testing.T) {
	got := string(written(t, report.HTML, sample()))
	for _, never := range []string{"<script", "</failure>", "onerror", "{{", "http://", "@import", "url(", "src=", "ZgotmplZ", "\x1b", "\x00"} {
		if strings.Contains(strings.ReplaceAll(got, "{{.}}", ""), never) {
			t.Errorf("the page has %q", never)
		}
	}
	if !strings.Contains(got, "&lt;script&gt;alert(1)") {
		t.Error("what the target said is not shown")
	}
	for _, want := range []string{"default-src 'none'", "1 of 4 controls is not in force.", "name the origins in app.cors.origins", "Cross-site request forgery", "journalctl -u ringwall", `id="app-cors"`, "https://evil.example"} {
		if !strings.Contains(got, want) && !strings.Contains(got, strings.ReplaceAll(want, "'", "&#39;")) {
			t.Errorf("the page lacks %q", want)
		}
	}
	ids := map[string]bool{}
	for _, m := range regexp.MustCompile(` id="([^"]*)"`).FindAllStringSubmatch(got, -1) {
		if ids[m[1]] {
			t.Errorf("the id %s stands twice", m[1])
		}
		ids[m[1]] = true
	}
}

func TestBadge(t *testing.T) {
	r := sample()
	for _, tt := range []struct {
		verdicts []check.Verdict
		want     string
		bad      bool
	}{
		{nil, "nothing checked", true},
		{[]check.Verdict{check.Pass, check.Pass}, "2 of 2 proved", false},
		{[]check.Verdict{check.Pass, check.Waived}, "1 of 2 proved, 1 waived", false},
		{[]check.Verdict{check.Pass, check.Unknown}, "1 unknown", true},
		{[]check.Verdict{check.Unknown, check.Fail}, "1 failed", true},
	} {
		r.Results = nil
		for _, v := range tt.verdicts {
			r.Results = append(r.Results, check.Result{Finding: check.Finding{Verdict: v}})
		}
		svg := written(t, report.Badge, r)
		if err := xml.Unmarshal(svg, new(struct{})); err != nil || !bytes.Contains(svg, []byte(">"+tt.want+"<")) {
			t.Errorf("%s: %v\n%s", tt.want, err, svg)
		}
		var shield struct {
			SchemaVersion         int
			Label, Message, Color string
			IsError               bool
		}
		if err := json.Unmarshal(written(t, report.Shields, r), &shield); err != nil {
			t.Fatal(err)
		}
		if shield.SchemaVersion != 1 || shield.Label != "ringwall" || shield.Message != tt.want || shield.Color == "" || shield.IsError != tt.bad {
			t.Errorf("%+v, want %q", shield, tt.want)
		}
	}
}
