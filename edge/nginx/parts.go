package nginx

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/ringwall/ringwall/policy"
)

// welcomePage is where Debian's and Ubuntu's package puts its page, the default of port 80.
const welcomePage = "/etc/nginx/sites-enabled/default"

// Parts are the files of an install, for who has a journal and a way back of his
// own, such as the host ring.
type Parts struct {
	Shown   []Change // what anybody may read, in the order in which it is written
	Private []string // files that Prepare writes, and that only root writes after it
	Left    []string // what is not there yet of edge.nginx.state, the folder first, which others write, too
	Ready   bool     // Prepare has nothing to do
}

// Parts lists what Install would write on the host's nginx, and judges it as Install
// does, but for whether it runs. With a version in the options nginx is not asked: it
// is one that is yet to come from the distribution's package, with its page of welcome.
// The policy may have no proof yet. It is ErrNeedsCertificate while there is none.
func (in *Installer) Parts(ctx context.Context, p *policy.Policy) (parts Parts, err error) {
	own := *in // the next call asks nginx anew
	in = &own
	in.defaults()
	var files []File
	if in.Options.Version == (Version{}) {
		if in.Options.Version, files, err = in.nginx(ctx); err != nil {
			return parts, err
		}
	} else {
		parts.Shown = []Change{{Path: welcomePage, Remove: true}}
	}
	if err := in.capable(p); err != nil {
		return parts, err
	}
	changes, waits, err := in.plan(p, files)
	switch {
	case err != nil:
		return parts, err
	case waits:
		return parts, ErrNeedsCertificate
	}
	parts.Ready = p.Edge.Nginx.Proof.Set()
	for _, c := range changes {
		if !c.private(p) {
			parts.Shown = append(parts.Shown, c)
			continue
		}
		if filepath.Dir(c.Path) == p.Edge.Nginx.Folder {
			parts.Private = append(parts.Private, c.Path)
		}
		if state := p.Edge.Nginx.State; (c.Path == state || filepath.Dir(c.Path) == state) && !c.stays() {
			parts.Left = append(parts.Left, c.Path)
		}
		done, err := c.done()
		if err != nil {
			return parts, err
		}
		parts.Ready = parts.Ready && done
	}
	return parts, nil
}

// Prepare writes what of an install is not shown: the files that hold the secret, and
// what nginx has to find until Ringwall has written it. It needs the folders of
// Parts, and touches neither nginx nor its configuration. Twice is once.
func (in *Installer) Prepare(ctx context.Context, p *policy.Policy) (err error) {
	own := *in
	in = &own
	in.defaults()
	var files []File
	if in.Options.Version, files, err = in.nginx(ctx); err != nil {
		return err
	}
	changes, _, err := in.Plan(p, files)
	if err != nil {
		return err
	}
	for _, c := range changes {
		if !c.private(p) {
			continue
		}
		if err := c.write(); err != nil {
			return fmt.Errorf("write %s: %w", c.Path, err)
		}
	}
	return nil
}

// private is what is secret, or is Ringwall's to write from then on.
func (c Change) private(p *policy.Policy) bool {
	return c.Secret || c.Keep && c.Path != p.Edge.Nginx.Webroot
}

// done reports that write would change nothing.
func (c Change) done() (bool, error) {
	if c.Keep {
		return c.stays(), nil
	}
	differs, err := c.diff()
	if errors.Is(err, os.ErrPermission) {
		return false, nil
	}
	return differs == "", err
}
