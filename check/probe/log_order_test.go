package probe

import (
	"io"
	"net"
	"testing"
)

// peeking looks at the log when something is written.
type peeking struct {
	net.Conn
	log  *Log
	told int
}

func (p *peeking) Write(b []byte) (int, error) {
	p.told = len(p.log.Exchanges())
	return len(b), nil
}

// TestEvidenceComesBeforeTheAnswer: a target may have answered before the write
// returns, and the check that asked looks at its evidence then.
func TestEvidenceComesBeforeTheAnswer(t *testing.T) {
	log := new(Log)
	p := &peeking{log: log}
	c := &loggedConn{Conn: p, log: log, e: log.begin()}
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\n\r\n"); err != nil || p.told != 1 {
		t.Errorf("%d exchanges are known of as the request leaves, %v", p.told, err)
	}
}
