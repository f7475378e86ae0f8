package nginx_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringwall/ringwall/edge/nginx"
	"github.com/ringwall/ringwall/policy"
)

// TestPartsAreAnInstall: who writes what is shown and has the rest prepared has what
// install writes, once nginx has read it, and no secret was shown.
func TestPartsAreAnInstall(t *testing.T) {
	s := newServer(t)
	s.startRing(t, echo)
	s.policy.Edge.TLS.Cert, s.policy.Edge.TLS.Key, s.policy.Edge.TLS.ACME.Email = "", "", "ops@example.com"
	in := s.installer(t)
	proof := s.policy.Edge.Nginx.Proof
	s.policy.Edge.Nginx.Proof = policy.Secret{}
	first, err := in.Parts(t.Context(), s.policy)
	if err != nil || first.Ready {
		t.Fatalf("without a secret: %v, ready %v", err, first.Ready)
	}
	if err := in.Prepare(t.Context(), s.policy); err == nil {
		t.Error("prepared without a secret")
	}
	s.policy.Edge.Nginx.Proof = proof
	parts, err := in.Parts(t.Context(), s.policy)
	if err != nil || parts.Ready {
		t.Fatalf("before it is prepared: %v, ready %v", err, parts.Ready)
	}
	if state := s.policy.Edge.Nginx.State; len(parts.Left) != 3 || parts.Left[0] != state || filepath.Dir(parts.Left[1]) != state || filepath.Dir(parts.Left[2]) != state {
		t.Errorf("of the state %q is left", parts.Left)
	}
	for _, c := range parts.Shown {
		if strings.Contains(c.Text, testProof) || strings.Contains(c.Text, "PRIVATE KEY") {
			t.Errorf("%s shows a secret", c.Path)
		}
		if c.Remove {
			t.Errorf("%s is to go", c.Path)
		}
		if c.Folder {
			err = os.MkdirAll(c.Path, c.Mode)
		} else if err = os.MkdirAll(filepath.Dir(c.Path), 0o755); err == nil && c.Path != s.policy.Edge.Nginx.Conf {
			err = os.WriteFile(c.Path, []byte(c.Text), c.Mode)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := in.Prepare(t.Context(), s.policy); err != nil {
			t.Fatal(err)
		}
	}
	last := parts.Shown[len(parts.Shown)-1]
	if last.Path != s.policy.Edge.Nginx.Conf {
		t.Fatalf("%s comes after what includes it", last.Path)
	}
	s.put(t, "conf.d/ringwall.conf", last.Text)
	if now, err := in.Parts(t.Context(), s.policy); err != nil || !now.Ready || len(now.Left) > 0 {
		t.Errorf("prepared: %v, ready %v, left %q", err, now.Ready, now.Left)
	}
	for _, name := range parts.Private {
		if b, err := os.ReadFile(name); err != nil || !strings.Contains(string(b), testProof) {
			t.Errorf("%s: %v %s", name, err, b)
		}
	}

	d, err := in.Diff(t.Context(), s.policy)
	if err != nil || !strings.Contains(d, "ringwall.conf: "+nginx.NotRead) || strings.Contains(d, "+++") {
		t.Errorf("before nginx reads it: %v %s", err, d)
	}
	s.reload(t, in)
	if d, err := in.Diff(t.Context(), s.policy); err != nil || d != "" {
		t.Errorf("in force: %v %s", err, d)
	}
	if err := in.Install(t.Context(), s.policy); err != nil {
		t.Error(err)
	}
}

func (s *server) reload(t *testing.T, in *nginx.Installer) {
	t.Helper()
	files, err := in.Host.Files(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pid, err := in.Host.Running(t.Context(), files)
	if err == nil {
		err = in.Host.Reload(t.Context(), pid)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestDiffSeesWhatIsNotRead: what nginx was not told of, and what it would not take.
func TestDiffSeesWhatIsNotRead(t *testing.T) {
	s := newServer(t)
	s.startRing(t, echo)
	in := s.installer(t)
	if err := in.Install(t.Context(), s.policy); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{s.policy.Edge.Nginx.Conf, filepath.Join(s.dir, "ringwall/proof.conf"), s.policy.File(s.policy.Edge.TLS.Cert)} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		fi, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, fi.ModTime(), fi.ModTime()); err != nil { // who hides it
			t.Fatal(err)
		}
		if d, err := in.Diff(t.Context(), s.policy); err != nil || d != name+": "+nginx.NotRead+"\n" {
			t.Errorf("%s was written anew: %v %s", name, err, d)
		}
		s.reload(t, in)
		if d, err := in.Diff(t.Context(), s.policy); err != nil || d != "" {
			t.Errorf("%s was read: %v %s", name, err, d)
		}
	}
	// A reload that does not go well: the port is somebody else's.
	taken := "server { listen " + s.policy.Edge.Nginx.Listen + "; }\n"
	conf, err := os.ReadFile(s.policy.Edge.Nginx.Conf)
	if err != nil {
		t.Fatal(err)
	}
	s.put(t, "conf.d/taken.conf", taken)
	s.put(t, "conf.d/ringwall.conf", string(conf))
	_ = exec.Command(in.Host.Binary, in.Host.Args("-s", "reload")...).Run()
	if d, err := in.Diff(t.Context(), s.policy); err != nil || !strings.Contains(d, nginx.NotRead) {
		t.Errorf("a reload that failed: %v %s", err, d)
	}
}

// TestPartsOfAPackageToCome: nginx is not asked, and the package's page makes way.
func TestPartsOfAPackageToCome(t *testing.T) {
	p := nginxPolicy(t)
	nginx.MachineAt(t, t.TempDir(), true)
	v, err := nginx.ParseVersion("nginx/1.26.3 built with OpenSSL 3.5")
	if err != nil {
		t.Fatal(err)
	}
	p.Edge.TLS.Cert, p.Edge.TLS.Key, p.Edge.TLS.ACME.Email = "", "", "ops@example.com"
	in := &nginx.Installer{Host: nginx.Host{Binary: "/nowhere/nginx"}, Options: nginx.Options{Version: v, Headers: headers}}
	parts, err := in.Parts(t.Context(), p)
	if err != nil || parts.Ready || len(parts.Shown) < 6 || parts.Shown[0].Path != "/etc/nginx/sites-enabled/default" || !parts.Shown[0].Remove {
		t.Errorf("%v %+v", err, parts)
	}
	p.Edge.TLS.ACME.Email, p.Edge.TLS.Cert, p.Edge.TLS.Key = "", "/nowhere/cert.pem", "/nowhere/key.pem"
	if _, err := in.Parts(t.Context(), p); !errors.Is(err, nginx.ErrNeedsCertificate) {
		t.Errorf("without a certificate: %v", err)
	}
	in.Options.Version.OpenSSL = [2]int{3, 0}
	if _, err := in.Parts(t.Context(), p); err == nil || !strings.Contains(err.Error(), "edge/key-exchange") {
		t.Errorf("with an old OpenSSL: %v", err)
	}
}
