package ringwall

import (
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/edge"
)

// visits are used again: each request makes one.
var visits = sync.Pool{New: func() any { return new(edge.Visit) }}

// gate lets the edge judge requests where the ring has found the client.
func gate(g *edge.Guard, schema app.RequestSchema) app.Gate {
	out := app.Gate{}
	for _, c := range edge.Controls() {
		if c.Gate != nil {
			out.Controls = append(out.Controls, c.ID)
		}
	}
	var documented func(string) bool
	if schema != nil {
		documented = func(path string) bool {
			found, allow := schema.Find(http.MethodGet, path)
			return found || allow != nil
		}
	}
	out.Judge = func(r *http.Request, client netip.Addr, now time.Time) *app.Turned {
		v := visits.Get().(*edge.Visit)
		*v = edge.Visit{Request: r, Client: client, Now: now, Documented: documented}
		refusal := g.Judge(v)
		*v = edge.Visit{}
		visits.Put(v)
		if refusal == nil {
			return nil
		}
		return &app.Turned{
			Denied: app.Denied{Control: refusal.Control, Kind: refusal.Kind, Status: refusal.Status,
				Detail: refusal.Detail, Err: refusal.Err},
			RetryAfter: refusal.RetryAfter, Hangup: refusal.Hangup,
		}
	}
	return out
}
