package report

import (
	"encoding/xml"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/ringwall/ringwall/check"
)

// JUnit writes the report as JUnit XML, which build servers show as tests. A
// failed control is a failure, one that could not be seen an error, a waived one
// is skipped. Each ring is a suite. Times are what the checks took, added up: some are
// made beside each other, so that the run was shorter.
func JUnit(w io.Writer, r check.Report) error {
	all := junitSuites{Name: "ringwall check", Target: r.Target}
	at := map[string]int{}
	for _, res := range r.Results {
		ring := res.Ring()
		if ring == "" {
			ring = "other"
		}
		i, ok := at[ring]
		if !ok {
			i = len(all.Suites)
			at[ring] = i
			all.Suites = append(all.Suites, junitSuite{Name: "ringwall." + ring, Host: host(r.Target)})
			if !r.Time.IsZero() {
				all.Suites[i].Timestamp = r.Time.UTC().Format("2006-01-02T15:04:05")
			}
		}
		s := &all.Suites[i]
		c := junitCase{Name: res.ID + ": " + res.Title, Class: "ringwall." + ring, Time: seconds(res.Took)}
		s.Tests++
		s.took += res.Took
		switch res.Verdict {
		case check.Pass:
			c.Out = res.Got
		case check.Waived:
			s.Skipped++
			c.Skipped = &junitSkipped{res.Got}
		case check.Fail:
			s.Failures++
			c.Failure = &junitProblem{res.Got, "fail", detail(res)}
		default:
			s.Errors++
			c.Error = &junitProblem{res.Got, "unknown", detail(res)}
		}
		s.Cases = append(s.Cases, c)
	}
	var took time.Duration
	for i := range all.Suites {
		s := &all.Suites[i]
		s.Time = seconds(s.took)
		took += s.took
		all.Tests += s.Tests
		all.Failures += s.Failures
		all.Errors += s.Errors
	}
	all.Time = seconds(took)
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func detail(r check.Result) string {
	var b strings.Builder
	for _, l := range [][2]string{{"got: ", r.Got}, {"want: ", r.Want}, {"why: ", r.Why}, {"fix: ", r.Fix}, {"see: ", r.Ref}} {
		if l[1] != "" {
			b.WriteString(l[0] + l[1] + "\n")
		}
	}
	for _, e := range r.Evidence {
		b.WriteString("\n" + e.Sent + "\n\n" + e.Received + "\n")
	}
	return b.String()
}

// seconds is how JUnit writes a time.
func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 3, 64) }

func host(target string) string {
	_, rest, ok := strings.Cut(target, "://")
	if !ok {
		rest = target
	}
	rest, _, _ = strings.Cut(rest, "/")
	return rest
}

// Day is how reports write a time for people.
func day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2 January 2006, 15:04 UTC")
}

type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr"`
		Target   string       `xml:"-"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Time     string       `xml:"time,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name      string      `xml:"name,attr"`
		Timestamp string      `xml:"timestamp,attr,omitempty"`
		Host      string      `xml:"hostname,attr,omitempty"`
		Tests     int         `xml:"tests,attr"`
		Failures  int         `xml:"failures,attr"`
		Errors    int         `xml:"errors,attr"`
		Skipped   int         `xml:"skipped,attr"`
		Time      string      `xml:"time,attr"`
		Cases     []junitCase `xml:"testcase"`

		took time.Duration
	}
	junitCase struct {
		Name    string        `xml:"name,attr"`
		Class   string        `xml:"classname,attr"`
		Time    string        `xml:"time,attr"`
		Skipped *junitSkipped `xml:"skipped"`
		Error   *junitProblem `xml:"error"`
		Failure *junitProblem `xml:"failure"`
		Out     string        `xml:"system-out,omitempty"`
	}
	junitSkipped struct {
		Message string `xml:"message,attr"`
	}
	junitProblem struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr"`
		Text    string `xml:",chardata"`
	}
)
