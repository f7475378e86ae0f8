package watch

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/ringwall/ringwall/audit"
)

// A message is what is told at once.
type message struct {
	id      string
	site    string
	time    time.Time
	notices []notice
	more    map[audit.Kind]int
	lost    int
	test    bool
	done    map[string]bool // addresses that have it
}

// events counts what the message tells.
func (m *message) events() (n int) {
	for _, x := range m.notices {
		n += x.count
	}
	for _, x := range m.more {
		n += x
	}
	return n
}

// meanings say in words what a kind is.
var meanings = map[audit.Kind]string{
	audit.AccountLocked:       "an operator locked an account",
	audit.AuditBroken:         "the audit trail does not hold what was written",
	audit.AuditLost:           "events could not be stored",
	audit.BanAdded:            "an address is banned for a while",
	audit.BanFailed:           "a ban was not kept or not taken",
	audit.CertificateExpiring: "the certificate ends soon",
	audit.CertificateFailed:   "no certificate was issued",
	audit.CertificateKept:     "the new certificate does not load",
	audit.CheckDrifted:        "a control that was proved is not any more",
	audit.HandlerPanicked:     "the API's code panicked",
	audit.KeyRevoked:          "a signing key was revoked",
	audit.MailFailed:          "a mail was not sent",
	audit.NoticeFailed:        "one of the ways to tell you does not work",
	audit.PolicyKept:          "the new policy is wrong, and the old one stays in force",
	audit.StoreFailed:         "the store could not be read or written",
	audit.TokenReused:         "a stolen session was used, and is ended",
	audit.TrafficCalmed:       "a spike is over",
	audit.TrafficSpiked:       "far more than usual",
	audit.UpstreamDown:        "an upstream gets no requests",
	audit.UpstreamFailed:      "the API could not be reached",
	audit.UpstreamUp:          "an upstream gets requests again",
}

// mostLines bounds a text; chat services cut longer ones.
const mostLines = 20

// text is the message for people, in lines of printable ASCII: what attackers
// had a hand in is between backquotes and can neither end the line nor mention
// somebody nor make a link.
func (m *message) text() string {
	var b strings.Builder
	if m.test {
		fmt.Fprintf(&b, "%s: this is a test of `ringwall watch test`. Security events will come this way.", plain(m.site))
		return b.String()
	}
	fmt.Fprintf(&b, "%s: %s", plain(m.site), count(m.events(), "security event"))
	lines := m.fair()
	for _, n := range lines {
		b.WriteString("\n- " + n.line())
	}
	if left := len(m.notices) - len(lines); left > 0 {
		fmt.Fprintf(&b, "\n- %s more, which the log has", count(left, "notice"))
	}
	for _, kind := range slices.Sorted(maps.Keys(m.more)) {
		fmt.Fprintf(&b, "\n- %s: %d more about others, which the log has", kind, m.more[kind])
	}
	if m.lost > 0 {
		fmt.Fprintf(&b, "\n- %s before could not be told; the log has them", count(m.lost, "event"))
	}
	return b.String()
}

// fair is the notices that a text has room for: of every kind some, so that
// many of one hide none of another.
func (m *message) fair() []notice {
	if len(m.notices) <= mostLines {
		return m.notices
	}
	var out []notice
	for turn := 1; len(out) < mostLines; turn++ {
		seen := map[audit.Kind]int{}
		for _, n := range m.notices {
			if seen[n.event.Kind]++; seen[n.event.Kind] == turn && len(out) < mostLines {
				out = append(out, n)
			}
		}
	}
	return out
}

func (n notice) line() string {
	e := n.event
	var b strings.Builder
	b.WriteString(string(e.Kind))
	if s := meanings[e.Kind]; s != "" {
		b.WriteString(" (" + s + ")")
	}
	b.WriteString(", " + n.first.UTC().Format("2006-01-02 15:04:05"))
	if n.count > 1 {
		fmt.Fprintf(&b, " to %s UTC, %d times", n.last.UTC().Format("15:04:05"), n.count)
	} else {
		b.WriteString(" UTC")
	}
	if e.Client.IsValid() {
		b.WriteString(", client " + e.Client.WithZone("").String())
	}
	if e.Subject != "" {
		b.WriteString(", caller `" + plain(e.Subject) + "`")
	}
	if e.Detail != "" {
		b.WriteString(": `" + plain(e.Detail) + "`")
	}
	return b.String()
}

// plain leaves printable ASCII without the characters that chat services read
// as a mention, a link or the end of a quotation.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r < ' ' || r > '~', strings.ContainsRune("`<>&@", r):
			return '?'
		}
		return r
	}, s)
}

// printable keeps what shows as itself and escapes the rest.
func printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) && r != unicode.ReplacementChar {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "\\u%04x", r)
		}
	}
	return b.String()
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// subject is the subject of a mail: one line of ASCII, with nothing in it that
// a client said.
func (m *message) subject() string {
	site := plain(m.site)
	switch {
	case m.test:
		return "Ringwall: a test (" + site + ")"
	case len(m.notices) == 0:
		return "Ringwall: " + count(m.events(), "event") + " (" + site + ")"
	}
	kinds := map[audit.Kind]bool{}
	for _, n := range m.notices {
		kinds[n.event.Kind] = true
	}
	for kind := range m.more {
		kinds[kind] = true
	}
	first := string(m.notices[0].event.Kind)
	if len(kinds) > 1 {
		first += fmt.Sprintf(" and %d more", len(kinds)-1)
	}
	return "Ringwall: " + first + " (" + site + ")"
}

// version of the webhook's format. It changes when a receiver could misread
// what he knows, not when there is something new.
const version = 1

// payload is what the webhook gets. There is no "type": Mattermost takes none
// that it does not know.
type payload struct {
	Version int                `json:"version"`
	ID      string             `json:"id"`
	Site    string             `json:"site"`
	Time    time.Time          `json:"time"`
	Test    bool               `json:"test,omitempty"`
	Text    string             `json:"text"`
	Notices []told             `json:"notices"`
	More    map[audit.Kind]int `json:"more,omitempty"`
	Lost    int                `json:"lost,omitempty"`
}

type told struct {
	Kind      audit.Kind    `json:"kind"`
	Count     int           `json:"count"`
	First     time.Time     `json:"first"`
	Last      time.Time     `json:"last"`
	Outcome   audit.Outcome `json:"outcome,omitempty"`
	Control   string        `json:"control,omitempty"`
	Client    netip.Addr    `json:"client,omitzero"`
	Subject   string        `json:"subject,omitempty"`
	RequestID string        `json:"request_id,omitempty"`
	Status    int           `json:"status,omitempty"`
	Detail    string        `json:"detail,omitempty"`
}

func (m *message) json() []byte {
	p := payload{Version: version, ID: m.id, Site: m.site, Time: m.time.UTC(), Test: m.test, Text: m.text(), Notices: []told{}, More: m.more, Lost: m.lost}
	for _, n := range m.notices {
		e := n.event
		p.Notices = append(p.Notices, told{e.Kind, n.count, n.first.UTC(), n.last.UTC(), e.Outcome, e.Control, e.Client,
			printable(e.Subject), printable(e.RequestID), e.Status, printable(e.Detail)})
	}
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(p); err != nil {
		panic("watch: " + err.Error()) // it holds texts, numbers and times
	}
	return b.Bytes()
}
