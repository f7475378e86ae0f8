package nginx

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ringwall/ringwall/policy"
)

// conflicts are the files that must go for the configuration to be the site's:
// Debian's page of welcome, if nobody changed it, and the site that is adopted.
// Any other site that has the name, or is the default of a port, is left alone
// and is an error that says where it is.
func (in *Installer) conflicts(p *policy.Policy, files []File) (gone []Change, err error) {
	adopt := ""
	if in.Adopt != "" {
		var err error
		if adopt, err = filepath.Abs(in.Adopt); err != nil {
			return nil, err
		}
	}
	ports := map[string]bool{}
	for _, at := range []string{p.Edge.Listen, p.Edge.Redirect} {
		if _, port, err := net.SplitHostPort(at); err == nil {
			ports[port] = true
		}
	}
	var errs []error
	adopted := false
	for _, f := range files {
		if f.Name == p.Edge.Nginx.Conf {
			continue
		}
		ds, err := Parse(f.Name, f.Text)
		if err != nil {
			continue // nginx has found it good; what it says in another language is not about sites
		}
		if adopt != "" && (f.Name == adopt || sameFile(f.Name, adopt)) {
			gone, adopted = append(gone, Change{Path: f.Name, Remove: true}), true
			continue
		}
		if isWelcome(ds) {
			gone = append(gone, Change{Path: f.Name, Remove: true})
			continue
		}
		for _, s := range serversIn(ds) {
			if what := s.collides(p.Site, ports); what != "" {
				errs = append(errs, fmt.Errorf("%s:%d: %s\n  hint: take it out of there, or have this site take its place: ringwall nginx install --adopt %s", f.Name, s.Line, what, f.Name))
			}
		}
	}
	if adopt != "" && !adopted {
		errs = append(errs, fmt.Errorf("--adopt %s: nginx does not read that file", in.Adopt))
	}
	return gone, errors.Join(errs...)
}

func sameFile(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

// serversIn are the server blocks of a file, wherever they stand.
func serversIn(ds []Directive) (out []server) {
	for _, d := range ds {
		switch {
		case d.Name == "server" && d.IsBlock:
			out = append(out, server{d})
		case d.IsBlock && (d.Name == "http"):
			out = append(out, serversIn(d.Block)...)
		}
	}
	return out
}

// A server is a server block.
type server struct{ Directive }

// collides says what of a site is in the way.
func (s server) collides(site string, ports map[string]bool) string {
	onPort := false
	listens := false
	for _, d := range s.Block {
		if d.Name != "listen" || len(d.Args) == 0 {
			continue
		}
		listens = true
		port := listenPort(d.Args[0])
		if !ports[port] {
			continue
		}
		onPort = true
		if slices.Contains(d.Args[1:], "default_server") || slices.Contains(d.Args[1:], "default") {
			return "this site is the default of port " + port + ", which strangers are then shown"
		}
	}
	onPort = onPort || !listens && ports["80"]
	for _, d := range s.Block {
		if d.Name == "server_name" && onPort && slices.ContainsFunc(d.Args, func(name string) bool { return strings.EqualFold(name, site) }) {
			return "another site is called " + site
		}
	}
	return ""
}

// listenPort is the port of a listen's address.
func listenPort(address string) string {
	if strings.HasPrefix(address, "unix:") {
		return ""
	}
	if strings.Trim(address, "0123456789") == "" {
		return address
	}
	if _, port, err := net.SplitHostPort(address); err == nil {
		return port
	}
	return "80"
}

// isWelcome recognizes the site that Debian's and Ubuntu's package comes with.
func isWelcome(ds []Directive) bool {
	if len(ds) != 1 || ds[0].Name != "server" {
		return false
	}
	var said []string
	for _, d := range ds[0].Block {
		line := strings.Join(append([]string{d.Name}, d.Args...), " ")
		for _, in := range d.Block {
			line += " {" + strings.Join(append([]string{in.Name}, in.Args...), " ") + "}"
		}
		said = append(said, line)
	}
	return slices.Equal(said, []string{
		"listen 80 default_server", "listen [::]:80 default_server", "root /var/www/html",
		"index index.html index.htm index.nginx-debian.html", "server_name _", "location / {try_files $uri $uri/ =404}",
	})
}
