package edge

import (
	"log/slog"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/policy"
)

// State is what controls keep over reloads of the policy, and what they are
// given. Its zero fields work: Log and Audit drop what they get, Now is
// time.Now.
type State struct {
	Log   *slog.Logger
	Audit audit.Sink
	Now   func() time.Time

	// Headers gives those that every answer has, for refusals of what cannot be
	// read; nil: none. secure tells answers over HTTPS.
	Headers func(p *policy.Policy, secure bool) map[string]string

	// Bans keeps who is banned; nil: nobody ever is.
	Bans *Bans

	rates       rateState
	connections connectionCounts
	open        openConnections
}

func (s *State) now() time.Time {
	if s.Now == nil {
		return time.Now()
	}
	return s.Now()
}

func (s *State) record(e audit.Event) {
	if s.Audit != nil {
		s.Audit.Record(e)
	}
}
