package edge_test

import (
	"crypto/tls"
	"crypto/x509"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/internal/state"
)

func devState(t *testing.T) state.Dir {
	t.Helper()
	d, err := state.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func ensure(t *testing.T, d state.Dir, now time.Time) edge.DevCert {
	t.Helper()
	c, err := edge.EnsureDevCert(d, now)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// trusts verifies the certificate as a client does that trusts the authority.
func trusts(t *testing.T, c edge.DevCert, name string, now time.Time) error {
	t.Helper()
	ca, err := os.ReadFile(c.CA)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		t.Fatalf("%s holds no certificate", c.CA)
	}
	pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		t.Fatal(err)
	}
	_, err = pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, CurrentTime: now})
	return err
}

func contents(t *testing.T, d state.Dir) map[string]string {
	t.Helper()
	m := map[string]string{}
	for _, name := range []string{"ca.pem", "ca.key", "localhost.pem", "localhost.key"} {
		b, err := os.ReadFile(d.Path(name))
		if err != nil {
			t.Fatal(err)
		}
		m[name] = string(b)
	}
	return m
}

func TestDevCert(t *testing.T) {
	d, now := devState(t), time.Now()
	c := ensure(t, d, now)
	if !c.Made {
		t.Error("a first start made no authority")
	}
	for _, name := range []string{"localhost", "127.0.0.1", "::1"} {
		if err := trusts(t, c, name, now); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := trusts(t, c, "example.com", now); err == nil {
		t.Error("the certificate is for example.com too")
	}
	for name, want := range map[string]fs.FileMode{"ca.key": 0o600, "localhost.key": 0o600, "ca.pem": 0o644} {
		if fi, err := os.Stat(d.Path(name)); err != nil || fi.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want mode %v", name, fi.Mode(), err, want)
		}
	}

	first := contents(t, d)
	if again := ensure(t, d, now); again.Made || contents(t, d)["localhost.pem"] != first["localhost.pem"] {
		t.Error("a second start made a certificate anew")
	}
	later := now.Add(70 * 24 * time.Hour)
	if c := ensure(t, d, later); c.Made || trusts(t, c, "localhost", later.Add(80*24*time.Hour)) != nil {
		t.Error("a certificate near its end was not renewed by the same authority")
	}
	if contents(t, d)["ca.pem"] != first["ca.pem"] {
		t.Error("a renewal changed the authority")
	}
	if c := ensure(t, d, now.Add(10*365*24*time.Hour)); !c.Made {
		t.Error("an authority at its end was kept")
	}
}

func TestDevAuthorityIsOnlyForThisMachine(t *testing.T) {
	d, now := devState(t), time.Now()
	c := ensure(t, d, now)
	pair, err := tls.LoadX509KeyPair(c.CA, d.Path("ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"localhost": true, "api.localhost": true, "example.com": false, "localhost.evil.example": false} {
		der, err := x509.CreateCertificate(nil, &x509.Certificate{SerialNumber: pair.Leaf.SerialNumber, DNSNames: []string{name},
			NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}, pair.Leaf, pair.Leaf.PublicKey, pair.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		leaf, _ := x509.ParseCertificate(der)
		roots := x509.NewCertPool()
		roots.AddCert(pair.Leaf)
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); (err == nil) != want {
			t.Errorf("a certificate of the authority for %s: %v, want good %v", name, err, want)
		}
	}
}

func TestTrapDevFilesThatDoNotLoad(t *testing.T) {
	now := time.Now()
	for _, name := range []string{"ca.pem", "ca.key", "localhost.pem", "localhost.key"} {
		for how, spoil := range map[string]func(path string) error{
			"missing":  os.Remove,
			"empty":    func(p string) error { return os.Truncate(p, 0) },
			"half":     func(p string) error { return os.Truncate(p, 100) },
			"rubbish":  func(p string) error { return os.WriteFile(p, []byte("rubbish"), 0o600) },
			"readable": func(p string) error { return os.Chmod(p, 0o666) },
		} {
			t.Run(name+" "+how, func(t *testing.T) {
				d := devState(t)
				ensure(t, d, now)
				before := contents(t, d)
				if err := spoil(d.Path(name)); err != nil {
					t.Fatal(err)
				}
				c := ensure(t, d, now)
				if err := trusts(t, c, "localhost", now); err != nil {
					t.Errorf("after it: %v", err)
				}
				isCA := strings.HasPrefix(name, "ca.") && !(name == "ca.pem" && how == "readable")
				if c.Made != isCA {
					t.Errorf("authority made anew: %v, want %v", c.Made, isCA)
				}
				if strings.HasSuffix(name, ".key") && contents(t, d)[name] == before[name] {
					t.Error("a key that was spoilt or seen is still used")
				}
			})
		}
	}
}

func TestDevFileThatIsNotAFile(t *testing.T) {
	d := devState(t)
	if err := os.MkdirAll(d.Path("ca.key/x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := edge.EnsureDevCert(d, time.Now()); err == nil || !strings.Contains(err.Error(), "ca.key") {
		t.Errorf("error %v, want one that names ca.key", err)
	}
}

func TestDevCertTwoStartsAtOnce(t *testing.T) {
	d, now := devState(t), time.Now()
	var wg sync.WaitGroup
	made := make(chan bool, 8)
	for range 8 {
		wg.Go(func() {
			c, err := edge.EnsureDevCert(d, now)
			if err != nil {
				t.Error(err)
			}
			made <- c.Made
		})
	}
	wg.Wait()
	close(made)
	n := 0
	for m := range made {
		if m {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d authorities were made, want 1", n)
	}
}
