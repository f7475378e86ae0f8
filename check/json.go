package check

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Schema is the version of the report's JSON. Members are added without a new
// one; it changes when one goes, or means something else.
const Schema = 1

type reportJSON struct {
	Schema   int          `json:"schema"`
	Target   string       `json:"target,omitempty"`
	Version  string       `json:"version,omitempty"`
	Time     time.Time    `json:"time,omitzero"`
	Host     *Host        `json:"host,omitempty"`
	Requests int          `json:"requests,omitempty"`
	Results  []Result     `json:"results"`
	Inside   []insideJSON `json:"inside,omitempty"`
	Summary  Summary      `json:"summary"`
}

type metaJSON struct {
	Why       string   `json:"why,omitempty"`
	Ring      string   `json:"ring,omitempty"`
	Checklist []int    `json:"checklist,omitempty"`
	Threats   []string `json:"threats,omitempty"`
	Blueprint []string `json:"blueprint,omitempty"`
	ASVS      []string `json:"asvs,omitempty"`
	API       []string `json:"api,omitempty"`
	CIS       []string `json:"cis,omitempty"`
	CWE       []string `json:"cwe,omitempty"`
}

type resultJSON struct {
	ID      string  `json:"id"`
	Title   string  `json:"title"`
	Verdict Verdict `json:"verdict"`
	Got     string  `json:"got"`
	Want    string  `json:"want"`
	Fix     string  `json:"fix"`
	Ref     string  `json:"ref"`
	metaJSON
	Unmade    bool       `json:"unmade,omitempty"`
	Seen      time.Time  `json:"seen,omitzero"`
	Missed    int        `json:"missed,omitempty"`
	Addresses []string   `json:"addresses,omitempty"`
	Evidence  []Exchange `json:"evidence,omitempty"`
}

type insideJSON struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	How   string `json:"how"`
	Ref   string `json:"ref,omitempty"`
	metaJSON
}

func (m Meta) json() metaJSON {
	r := m.References()
	return metaJSON{m.Why, m.Ring(), r.Checklist, r.Threats, r.Blueprint, r.ASVS, r.API, r.CIS, r.CWE}
}

// MarshalJSON gives {"schema","target","version","time","results":[...],
// "inside":[...],"summary":{...}}, with "host" when it was made on the server. Results is an array even when it is empty.
func (r Report) MarshalJSON() ([]byte, error) {
	results := r.Results
	if results == nil {
		results = []Result{}
	}
	var inside []insideJSON
	for _, in := range r.Inside {
		in.clean()
		inside = append(inside, insideJSON{in.ID, in.Title, in.How, in.Ref, in.Meta.json()})
	}
	return json.Marshal(reportJSON{Schema, clean(r.Target), clean(r.Version), r.Time, r.Host.clean(), r.Requests, results, inside, r.Summary()})
}

// UnmarshalJSON reads what MarshalJSON wrote, of this schema or none: reports
// had no number before the first.
func (r *Report) UnmarshalJSON(b []byte) error {
	var j reportJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	switch {
	case j.Schema > Schema:
		return fmt.Errorf("the report has schema %d, and this program knows %d: read it with a newer one", j.Schema, Schema)
	case j.Results == nil:
		return errors.New("there are no results in it: is it a report of ringwall check --format json?")
	}
	*r = Report{Target: clean(j.Target), Version: clean(j.Version), Time: j.Time, Host: j.Host.clean(), Requests: j.Requests, Results: j.Results}
	for _, in := range j.Inside {
		apart := Inside{Meta{ID: in.ID, Title: in.Title, Why: in.Why, Ref: in.Ref, Layer: in.Ring}, in.How}
		apart.clean()
		r.Inside = append(r.Inside, apart)
	}
	return nil
}

// MarshalJSON gives {"id","title","verdict","got","want","fix","ref"}, every one
// of them always there, and what else is known: "why", "ring", "checklist",
// "threats", "blueprint", "asvs", "api", "cis", "cwe", "unmade", "seen", "missed",
// "addresses", "evidence".
func (r Result) MarshalJSON() ([]byte, error) {
	r.clean()
	return json.Marshal(resultJSON{r.ID, r.Title, r.Verdict, r.Got, r.Want, r.Fix, r.Ref, r.Meta.json(), r.Unmade, r.Seen, r.Missed, r.Addresses, r.Evidence})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (r *Result) UnmarshalJSON(b []byte) error {
	var j resultJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	r.Meta = Meta{ID: j.ID, Title: j.Title, Why: j.Why, Ref: j.Ref, Layer: j.Ring}
	r.Finding = Finding{Verdict: j.Verdict, Got: j.Got, Want: j.Want, Fix: j.Fix, Unmade: j.Unmade && j.Verdict == Unknown, Seen: j.Seen, Missed: max(0, j.Missed), Addresses: j.Addresses, Evidence: j.Evidence}
	r.clean() // a file may have been written by anybody
	return nil
}

// WriteJSON writes the report indented, with a line break at its end.
func (r Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
