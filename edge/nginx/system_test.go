package nginx_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/edge/nginx"
	"github.com/ringwall/ringwall/policy"
)

// What others run names the nginx that was named to install: another one would
// be told of bans and new log files.
func TestUnitsNameTheNginx(t *testing.T) {
	p := nginxPolicy(t)
	p.Edge.Nginx.Proof = policy.NewSecret(testProof)
	dir := t.TempDir()
	nginx.MachineAt(t, dir, true)
	in := &nginx.Installer{Host: nginx.Host{Binary: "/opt/openresty/nginx", Conf: "/opt/openresty/nginx.conf", Prefix: "/opt/openresty"},
		Options: nginx.Options{Version: nginx.Version{Major: 1, Minor: 22}, Headers: headers, WithoutTLS: true, Now: time.Now}}
	changes, _, err := in.Plan(p, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"ringwall-nginx":         "\t/opt/openresty/nginx -s reopen -c /opt/openresty/nginx.conf -p /opt/openresty >/dev/null",
		"ringwall-nginx.service": "ExecStart=/opt/openresty/nginx -s reload -c /opt/openresty/nginx.conf -p /opt/openresty\n",
		"ringwall-nginx.path":    "PathExists=/var/lib/ringwall/nginx/nginx-reload-wanted\n",
	}
	for _, c := range changes {
		if text := want[filepath.Base(c.Path)]; text != "" && filepath.Dir(c.Path) == dir {
			if !strings.Contains(c.Text, text) {
				t.Errorf("%s does not say %q:\n%s", c.Path, text, c.Text)
			}
			delete(want, filepath.Base(c.Path))
		}
	}
	if len(want) > 0 {
		t.Errorf("not written: %v", want)
	}
	for _, odd := range []string{"/opt/a b", "/opt/%n", "/opt/$HOME", "/opt/a\nExecStart=/bin/sh", "/opt/'"} {
		in.Host.Prefix = odd
		if _, _, err := in.Plan(p, nil); err == nil || !strings.Contains(err.Error(), "cannot be written to a unit") {
			t.Errorf("%q: %v", odd, err)
		}
	}
}
