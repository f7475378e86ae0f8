package edge_test

import (
	"encoding/xml"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ringwall/ringwall/policy"
)

// notStrict are the cases that Go's HTTP/2 server answers otherwise. None lets
// anything through.
var notStrict = []string{
	// It ends the connection: a setting given twice is nothing that clients do.
	"6.5.3: Sends multiple values of SETTINGS_INITIAL_WINDOW_SIZE",
	// It answers 400 instead of resetting the stream; no handler is called.
	"8.1.2.2: Sends a HEADERS frame that contains the connection-specific header field",
	"8.1.2.2: Sends a HEADERS frame that contains the TE header field with any value other than \"trailers\"",
}

// TestH2spec runs the conformance suite of https://github.com/summerwind/h2spec,
// strictly.
func TestH2spec(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a build and some seconds")
	}
	dir := t.TempDir()
	tool := filepath.Join(dir, "h2spec")
	build := exec.Command("go", "build", "-modfile", filepath.Join("..", "tools", "go.mod"), "-o", tool, "github.com/summerwind/h2spec/cmd/h2spec")
	if out, err := build.CombinedOutput(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("h2spec cannot be built: %v\n%s", err, out)
		}
		t.Skipf("h2spec cannot be built: %v\n%s", err, out)
	}
	f := newDoor(t, doorPolicy(func(p *policy.Policy) { p.Edge.Connections = 1000 }), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		_, _ = w.Write(make([]byte, 100)) // some cases need a body
	}), doorTLS(t))
	_, port, _ := net.SplitHostPort(f.address)
	report := filepath.Join(dir, "report.xml")
	out, err := exec.Command(tool, "-h", "127.0.0.1", "-p", port, "-t", "-k", "--strict", "-o", "2", "-j", report).CombinedOutput()
	b, readErr := os.ReadFile(report)
	if readErr != nil {
		t.Fatalf("%v, %v\n%s", readErr, err, out)
	}
	var suites struct {
		Suites []struct {
			ID    string `xml:"id,attr"`
			Cases []struct {
				Class  string    `xml:"classname,attr"`
				Failed *struct{} `xml:"failure"`
				Error  *struct{} `xml:"error"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(b, &suites); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, s := range suites.Suites {
		for _, c := range s.Cases {
			n++
			name := s.ID + ": " + c.Class
			if bad := c.Failed != nil || c.Error != nil; bad != slices.Contains(notStrict, name) {
				t.Errorf("%q: failed %v", name, bad)
			}
		}
	}
	if n < 100 {
		t.Errorf("%d cases were run, want more than 100", n)
	}
	t.Logf("%d cases, %d exceptions", n, len(notStrict))
}
