package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/inside"
	"github.com/ringwall/ringwall/check/outside"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/host"
	"github.com/ringwall/ringwall/identity"
	"github.com/ringwall/ringwall/policy"
	"github.com/ringwall/ringwall/watch"
)

// everyCheck is all that ringwall check knows, of every ring.
func everyCheck(t *testing.T) []check.Meta {
	t.Helper()
	c, err := probe.New("https://localhost", probe.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p := policy.Default()
	p.Identity.Registration = "open"
	var all []check.Meta
	for _, c := range slices.Concat(app.Checks(p, c, time.Now()), edge.Checks(p, c, time.Now()), identity.Checks(p, c, time.Now()), watch.Checks()) {
		all = append(all, c.Meta)
	}
	for _, c := range outside.Checks() {
		all = append(all, c.Meta)
	}
	for _, c := range slices.Concat(inside.Checks(inside.Here()), host.Checks(p, host.NewFacts(host.Live{}), time.Now())) {
		all = append(all, c.Meta)
	}
	return append(all, check.Both()...)
}

// TestEveryLineIsLookedAt: no line of the deployment checklist and no threat is
// without a check that speaks for it, and every check has its place.
func TestEveryLineIsLookedAt(t *testing.T) {
	known := map[string]*regexp.Regexp{
		"blueprint": regexp.MustCompile(`^(A([1-9]|10)|E[1-7]|H[1-7])$`),
		"asvs":      regexp.MustCompile(`^V([1-9]|1[0-7])\.[0-9]{1,2}(\.[0-9]{1,2})?$`),
		"api":       regexp.MustCompile(`^API([1-9]|10):2023$`),
	}
	seen := map[string]bool{}
	spoken := map[string]bool{}
	for _, m := range everyCheck(t) {
		if seen[m.ID] {
			t.Errorf("%s stands twice", m.ID)
		}
		seen[m.ID] = true
		if m.Ring() == "" {
			t.Errorf("%s belongs to no ring", m.ID)
		}
		if m.Title == "" || m.Why == "" {
			t.Errorf("%s: title %q, why %q", m.ID, m.Title, m.Why)
		}
		refs := m.References()
		if len(refs.Blueprint) == 0 {
			t.Errorf("%s names no line of the blueprint: %s", m.ID, m.Ref)
		}
		if m.ID != "edge/security-txt" && len(refs.ASVS)+len(refs.API)+len(refs.CIS)+len(refs.CWE) == 0 { // its RFC alone speaks of it
			t.Errorf("%s names no standard that others judge by: %s", m.ID, m.Ref)
		}
		for kind, list := range map[string][]string{"blueprint": refs.Blueprint, "asvs": refs.ASVS, "api": refs.API} {
			for _, s := range list {
				if !known[kind].MatchString(s) {
					t.Errorf("%s: %s has no %s", m.ID, kind, s)
				}
			}
		}
		r := check.Report{Results: []check.Result{{Meta: m}}}
		stands := 0
		for _, v := range check.Views() {
			for _, s := range r.Sections(v) {
				if len(s.Results) > 0 {
					spoken[string(v)+" "+s.ID] = true
					stands++
				}
			}
		}
		if stands < 2 { // what makes a server harder in general has its ring alone
			t.Logf("%s stands under no line of the checklist and no threat: %s", m.ID, m.Ref)
			if m.Ring() != "host" {
				t.Fail()
			}
		}
		// What was written is what is read.
		lines := refs.Blueprint
		lines = append(lines, refs.Threats...)
		if _, written, _ := strings.Cut(m.Ref, "blueprint "); len(strings.Split(written, ", ")) != len(lines)+len(refs.Checklist) {
			t.Errorf("%s: not all of %q is understood", m.ID, written)
		}
	}
	for _, v := range check.Views() {
		for _, h := range check.Headings(v) {
			if !spoken[string(v)+" "+h.ID] {
				t.Errorf("no check speaks for %s %s, %s", v, h.ID, h.Title)
			}
		}
	}
}

func TestPick(t *testing.T) {
	list := func() []check.Check {
		return []check.Check{{Meta: check.Meta{ID: "app/hsts"}}, {Meta: check.Meta{ID: "app/host"}}, {Meta: check.Meta{ID: "edge/tls"}}}
	}
	for _, tt := range []struct {
		only, skip []string
		want, err  string
	}{
		{want: "app/hsts app/host edge/tls"},
		{only: []string{"app/"}, want: "app/hsts app/host"},
		{only: []string{"app/hsts", "edge/tls"}, want: "app/hsts edge/tls"},
		{only: []string{"app/h"}, err: "no such check"}, // no beginning of a word
		{only: []string{"app/hots"}, err: "no such check here: did you mean app/hsts?"},
		{only: []string{"app/hotsts"}, err: "no such check here: did you mean app/hsts?"},
		{only: []string{"hsts"}, err: "did you mean app/hsts?"},
		{only: []string{"app"}, err: "did you mean app/?"},
		{only: []string{"egde/"}, err: "did you mean edge/?"},
		{only: []string{"host/"}, err: "no such check here: those of host/ are made on the server, with --inside"},
		{skip: []string{"edge/tsl=x"}, err: "did you mean edge/tls?"},
		{skip: []string{"edge/=later"}, want: "app/hsts app/host edge/tls waived"},
		{skip: []string{"edge/tls"}, err: "say why"},
		{skip: []string{"edge/nothing=x"}, err: "no such check"},
	} {
		got, err := pick(list(), tt.only, tt.skip)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%+v: %v", tt, err)
			}
			continue
		}
		var ids []string
		for _, c := range got {
			id := c.ID
			if c.Verify != nil {
				id += " " + c.Verify(t.Context()).Verdict.String()
			}
			ids = append(ids, id)
		}
		if s := strings.Join(ids, " "); err != nil || s != tt.want {
			t.Errorf("%+v: %q, %v", tt, s, err)
		}
	}
}
