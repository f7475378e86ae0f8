package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/edge/nginx"
	"github.com/ringwall/ringwall/internal/state"
	"github.com/ringwall/ringwall/policy"
)

// A beside is what serve does for the nginx in front of it: it tells nginx who is
// banned, hears what nginx refused, and hands it the certificate.
type beside struct {
	banner *nginx.Banner
	given  *os.File // the socket of the server whose place this one takes; nil: none
	events *nginx.Events
	source func(context.Context) (cert, key []byte, err error) // nil: nginx has files of somebody else's
}

// openBans makes the list of bans, with the kernel as who is told of them, where
// ringwall host apply has set that up, and nginx when it is the edge.
func (s *server) openBans(dir state.Dir, p *policy.Policy, given *os.File) {
	told := kernel()
	if p.NginxIsEdge() {
		s.beside = &beside{given: given, banner: nginx.NewBanner(p, nginxReload(p), sinkOf{s})}
		told = append(told, s.beside.banner)
	}
	c := edge.BansConfig{Dir: dir}
	if len(told) > 0 {
		c.Banner = told
	}
	s.bans = edge.NewBans(c)
}

// sinkOf is the sink that a server will have.
type sinkOf struct{ s *server }

func (o sinkOf) Record(e audit.Event) {
	if o.s.audit != nil {
		o.s.audit.Record(e)
	}
}

// openBeside listens for nginx's events.
func (s *server) openBeside(p *policy.Policy, certificates edge.Certificates) (err error) {
	if s.beside == nil {
		return nil
	}
	if c, ok := certificates.(interface {
		PEM(context.Context) ([]byte, []byte, error)
	}); ok {
		s.beside.source = c.PEM
	}
	s.beside.events, err = nginx.ListenEvents(p, s.beside.given, audit.Tee(s.audit, s.bans), time.Now)
	return err
}

// run serves nginx until ctx ends.
func (b *beside) run(ctx context.Context, s *server) {
	if b == nil {
		return
	}
	go b.events.Run(ctx)
	go b.banner.Run(ctx, 0)
	if b.source != nil {
		go nginx.KeepCertificate(ctx, s.Policy(), b.source, nginxReload(s.Policy()), sinkOf{s})
	}
}

// hand is a copy of the socket for the next server; nil: there is no nginx.
func (b *beside) hand() (*os.File, error) {
	if b == nil {
		return nil, nil
	}
	return b.events.File()
}

// yield leaves nginx's events to the next server.
func (b *beside) yield() {
	if b != nil {
		b.events.Close()
	}
}

// nginxUnit has nginx read what was written, where systemd runs.
const nginxUnit = "ringwall-nginx.path"

// nginxReload has the nginx that the policy was installed on read what was written,
// which root may do. Everybody else, and root where install has enabled it, has the
// unit do it. Without an install no nginx is touched, and the error says so.
func nginxReload(p *policy.Policy) func() error {
	_, err := os.Lstat("/etc/systemd/system/multi-user.target.wants/" + nginxUnit)
	if os.Geteuid() != 0 || err == nil {
		return func() error { return nginx.Wake(p) }
	}
	return func() error {
		h, err := nginx.InstalledOn(p)
		if err != nil {
			return err
		}
		out, err := exec.Command(h.Binary, h.Args("-s", "reload")...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w: %s", h.Command("-s", "reload"), err, strings.TrimSpace(string(out)))
		}
		return nil
	}
}
