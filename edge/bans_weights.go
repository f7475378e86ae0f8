package edge

import "github.com/ringwall/ringwall/audit"

// A weight is how many points one event counts against its client.
type weight struct {
	kind    audit.Kind
	control string // "": of every control without a line of its own
	points  uint8
	pushed  bool // a page of another site can have its visitors' browsers do this: what such a page sent weighs nothing
}

// weights are the events that count; all others weigh nothing. So do refusals of
// foreign origins and of cross-site requests: only browsers send those, for a
// page of somebody else's, and the address is its victim's. What no honest
// client does weighs most. What a client with a mistake of its own does weighs
// little, so that it takes many in a few minutes. An expired token and one of an
// ended session weigh nothing: every client has some. docs/bans.md shows this
// table.
var weights = [...]weight{
	{audit.ScannerRefused, "", 20, true},
	{audit.TokenReused, "", 20, false},
	{audit.TokenForged, "", 10, false},
	{audit.HeaderForged, "", 10, false},
	{audit.AuthFailed, "", 4, false},                  // a wrong password, a mailed secret that there is not
	{audit.AuthFailed, "app/authentication", 1, true}, // no token at all, such as "undefined"
	{audit.AttemptDelayed, "", 2, false},
	{audit.ProtocolRefused, "", 2, true},
	{audit.ProtocolRefused, "app/host", 1, true}, // a health check by address asks for ever
	{audit.AccessDenied, "", 1, false},
	{audit.RateBlocked, "", 1, true},
}

// weigh finds the event's row in weights, or -1 where it weighs nothing.
//
// Who is no browser can write the headers that Event.Elsewhere goes by, and is
// then not banned for what a page could have had a browser ask for. It is refused
// all the same, each time; what needs a header that no foreign page can have sent,
// such as a token, counts in full.
func weigh(e *audit.Event) int {
	row := -1
	for i := range weights {
		w := &weights[i]
		if w.kind != e.Kind {
			continue
		}
		if w.control == e.Control {
			row = i
			break
		}
		if w.control == "" {
			row = i
		}
	}
	if row >= 0 && e.Elsewhere && weights[row].pushed {
		return -1
	}
	return row
}
