package main

import (
	"encoding/json"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/ringwall/ringwall/internal/state"
)

// A handover gives the bans of this server to the one that takes its place. What
// there was before is in the file when the new one starts and reads it; what this
// one bans meanwhile, and on the connections that it still has, is told to the
// new one over the control socket.
type handover struct {
	server *server
	dir    string // of the control socket

	mu    sync.Mutex
	since time.Time // bans of before are known
}

// handoverEvery is how late the new server may hear of a ban.
const handoverEvery = 200 * time.Millisecond

func newHandover(s *server) *handover {
	h := &handover{server: s, since: time.Now().Add(-time.Second)}
	if err := s.bans.Save(); err != nil { // an event says so
		h.since = time.Time{}
	}
	return h
}

// begin hands over what the new server does not know, and goes on to for as long
// as this process lives.
func (h *handover) begin() {
	h.server.bans.Retire()
	var err error
	if h.dir, err = state.Path(os.Getenv); err != nil {
		h.server.log.Error("bans were not handed over", "error", err)
		return
	}
	for _, r := range h.server.bans.Reprieves() {
		h.tell(banOrder{Do: "spare", Prefix: r.Prefix, For: time.Until(r.Until), By: r.By})
	}
	h.bans()
	go func() {
		for range time.Tick(handoverEvery) {
			h.bans()
		}
	}()
}

// bans tells of those since the last time. Telling of one twice does no harm.
func (h *handover) bans() {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now().Add(-handoverEvery)
	for _, b := range h.server.bans.Since(h.since) {
		if !h.tell(banOrder{Do: "adopt", Ban: &b}) {
			return // tried again
		}
	}
	h.since = now
}

// end hands over the last ones, as the process ends.
func (h *handover) end() {
	if h != nil && h.dir != "" {
		h.bans()
	}
}

func (h *handover) tell(o banOrder) bool {
	line, err := json.Marshal(o)
	if err == nil {
		var said outcome
		if said, err = askServer(h.dir, banWord+string(line)); err == nil && !said.OK {
			err = errors.New(said.Message)
		}
	}
	if err != nil {
		h.server.log.Error("a ban was not handed over", "error", err)
	}
	return err == nil
}
