package report

import (
	"encoding/json"
	"io"
	"net/url"
	"time"

	"github.com/ringwall/ringwall/check"
)

// SARIF writes the report as SARIF 2.1.0 (OASIS), which code hosts show as alerts.
// Every control that was looked at is a rule and a result: kind pass, fail, open
// (unknown) or notApplicable (waived). A result has no file to point at: its
// location is the target.
func SARIF(w io.Writer, r check.Report) error {
	log := sarifLog{Schema: "https://json.schemastore.org/sarif-2.1.0.json", Version: "2.1.0"}
	run := sarifRun{Tool: sarifTool{sarifDriver{Name: "ringwall check", Version: r.Version, InformationURI: "https://github.com/ringwall/ringwall", Rules: []sarifRule{}}},
		Results: []sarifResult{}, ColumnKind: "utf16CodeUnits"}
	if !r.Time.IsZero() {
		at := r.Time.UTC().Format(time.RFC3339)
		_, seen := worst(r)
		run.Invocations = []sarifInvocation{{ExecutionSuccessful: seen, StartTimeUTC: at}}
	}
	at := sarifLocation{Logical: []sarifLogical{{Name: r.Target, Kind: "resource"}}}
	if u, err := url.Parse(r.Target); err == nil && u.Scheme != "" && u.Host != "" {
		at.Physical = &sarifPhysical{Artifact: sarifArtifact{URI: u.String()}}
	}
	if r.Target == "" {
		at.Logical[0].Name = "this machine"
	}
	for i, res := range r.Results {
		rule := sarifRule{ID: res.ID, Name: res.ID, Short: sarifText{res.Title}, HelpURI: link(res.ID)}
		if res.Why != "" {
			rule.Full = &sarifText{res.Why}
		}
		refs := res.References()
		rule.Properties = &sarifTags{Tags: append(append(append([]string{"security"}, refs.CWE...), refs.ASVS...), refs.API...)}
		if res.Fix != "" {
			rule.Help = &sarifText{res.Fix}
		}
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, rule)

		out := sarifResult{RuleID: res.ID, RuleIndex: i, Message: sarifText{message(res)}, Locations: []sarifLocation{at},
			// The verdict of a control on a target stays one alert over runs.
			Fingerprints: map[string]string{"ringwall/v1": res.ID + " " + r.Target}}
		switch res.Verdict {
		case check.Pass:
			out.Kind, out.Level = "pass", "none"
		case check.Waived:
			// Not a suppression, which would say that a result is there.
			out.Kind, out.Level = "notApplicable", "none"
		case check.Fail:
			out.Kind, out.Level = "fail", "error"
		default:
			out.Kind, out.Level = "open", "none" // the level of all that is no failure (3.27.10)
		}
		run.Results = append(run.Results, out)
	}
	log.Runs = []sarifRun{run}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(log)
}

// message is a finding in one text.
func message(r check.Result) string {
	s := r.Title + ": " + r.Verdict.String()
	if r.Got != "" {
		s += ". Got: " + r.Got
	}
	if r.Want != "" {
		s += ". Want: " + r.Want
	}
	if r.Fix != "" {
		s += ". Fix: " + r.Fix
	}
	return s
}

// worst is the verdict of the whole; seen, whether everything could be looked at.
func worst(r check.Report) (v check.Verdict, seen bool) {
	s := r.Summary()
	switch {
	case s.Fail > 0:
		v = check.Fail
	case s.Unknown > 0 || len(r.Results) == 0:
		v = check.Unknown
	default:
		v = check.Pass
	}
	return v, s.Unknown == 0 && len(r.Results) > 0
}

type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool        sarifTool         `json:"tool"`
		Invocations []sarifInvocation `json:"invocations,omitempty"`
		Results     []sarifResult     `json:"results"`
		ColumnKind  string            `json:"columnKind"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name           string      `json:"name"`
		Version        string      `json:"version,omitempty"`
		InformationURI string      `json:"informationUri"`
		Rules          []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID         string     `json:"id"`
		Name       string     `json:"name"`
		Short      sarifText  `json:"shortDescription"`
		Full       *sarifText `json:"fullDescription,omitempty"`
		Help       *sarifText `json:"help,omitempty"`
		HelpURI    string     `json:"helpUri"`
		Properties *sarifTags `json:"properties,omitempty"`
	}
	sarifTags struct {
		Tags []string `json:"tags"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifInvocation struct {
		ExecutionSuccessful bool   `json:"executionSuccessful"`
		StartTimeUTC        string `json:"startTimeUtc"`
	}
	sarifResult struct {
		RuleID       string            `json:"ruleId"`
		RuleIndex    int               `json:"ruleIndex"`
		Kind         string            `json:"kind"`
		Level        string            `json:"level"`
		Message      sarifText         `json:"message"`
		Locations    []sarifLocation   `json:"locations"`
		Fingerprints map[string]string `json:"partialFingerprints"`
	}
	sarifLocation struct {
		Physical *sarifPhysical `json:"physicalLocation,omitempty"`
		Logical  []sarifLogical `json:"logicalLocations"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifLogical struct {
		Name string `json:"name"`
		Kind string `json:"kind"`
	}
)
