package policy

import (
	"net/mail"
	"net/url"
	"slices"
	"strings"
	"time"
)

// gate judges what the edge does before it looks at a request.
func (l *loader) gate(now time.Time) {
	r := l.p.Edge.Rate
	if r.Requests > 0 && r.Per/time.Duration(r.Requests)*time.Duration(r.Burst+1) > 31*24*time.Hour {
		l.errorf("edge.rate.burst", "give a smaller burst, or a faster rate", "a burst of %d takes longer than 31 days to refill", r.Burst)
	}
	if b := l.p.Edge.Bans; b.Most < b.For {
		l.errorf("edge.bans.most", "write edge.bans.for or more", "the longest ban, %s, is shorter than the first, %s", formatDuration(b.Most), formatDuration(b.For))
	}
	for i, s := range l.p.Edge.Scanners.Allow {
		at := item("edge.scanners.allow", i)
		switch p, err := ParsePattern(s); {
		case err != nil:
			l.errorf(at, patternHint, "%v", err)
		case p.Subtree && len(p.Segments) == 0:
			l.errorf(at, "name the paths that are the API's, or waive edge/scanners", "/ allows every path that scanners ask for")
		}
	}
	l.securityTxt(now)
}

// securityTxt judges what becomes a file of lines (RFC 9116, 2.5).
func (l *loader) securityTxt(now time.Time) {
	const at = "edge.security_txt"
	s := l.p.Edge.SecurityTxt
	if len(s.Contact) == 0 && (s.Policy != "" || len(s.Languages) > 0 || !s.Expires.IsZero()) {
		l.errorf(at, "add contact: [mailto:security@example.com]", "there is no contact, and a security.txt needs one")
	}
	for i, c := range s.Contact {
		u, err := url.Parse(c)
		switch a, notMail := mail.ParseAddress(c); {
		case notMail == nil && a.Address == c:
			l.errorf(item(at+".contact", i), "write mailto:"+c, "%s is not a URI", quote(c))
		case err != nil || !slices.Contains([]string{"https", "mailto", "tel"}, u.Scheme) || u.Host == "" && u.Opaque == "" || u.User != nil || !isLine(c):
			l.errorf(item(at+".contact", i), "write mailto:security@example.com, https://example.com/report or tel:+1-201-555-0123", "%s is not a contact", quote(c))
		}
	}
	if s.Policy != "" {
		if u, err := url.Parse(s.Policy); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || !isLine(s.Policy) {
			l.errorf(at+".policy", "write https:// and the page's address", "%s is not a page", quote(s.Policy))
		}
	}
	for i, tag := range s.Languages {
		if !isName(strings.ToLower(tag), "-") || len(tag) < 2 {
			l.errorf(item(at+".languages", i), "write a tag such as en or pt-BR", "%s is not a language tag (RFC 5646)", quote(tag))
		}
	}
	switch year := now.UTC().AddDate(0, 0, 366); {
	case s.Expires.IsZero():
	case !now.Before(s.Expires.AddDate(0, 0, 1)):
		l.errorf(at+".expires", "see that the contact still holds, and give a new day, or remove the key", "the day has passed, so that nobody would trust the contact")
	case s.Expires.After(year):
		l.errorf(at+".expires", "give a day up to "+year.Format(time.DateOnly)+", or remove the key", "%s is more than a year ahead", s.Expires.Format(time.DateOnly))
	}
}

// isLine reports printable ASCII without blanks, which cannot begin a new line.
func isLine(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}
