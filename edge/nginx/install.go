package nginx

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/policy"
)

// An Installer puts a policy in force on the nginx of this machine.
type Installer struct {
	Host    Host
	Options Options // its Version is the host's

	// Backups is the folder where what was there before is kept; "": beside the
	// policy's edge.nginx.folder.
	Backups string

	// Owner is who runs ringwall serve, and writes edge.nginx.state; nil: whoever
	// installs.
	Owner *Owner

	// Check looks at the site from outside once the configuration is in force. An
	// error takes it back. Nil: nobody looks.
	Check func(context.Context) error

	// Adopt is a file of a site that this one takes the place of; "": none.
	Adopt string

	// Say tells of each step; nil: nobody is told.
	Say func(format string, args ...any)
}

// ErrNeedsCertificate is what Install returns when all is well and port 80
// alone is in force, because there is no certificate yet: certbot can now get it.
var ErrNeedsCertificate = errors.New("there is no certificate yet, so port 80 alone is served, for certbot to get one")

// Install writes the configuration, has nginx test it, has it reloaded, and
// checks. When any of it fails, everything is as before, and nginx goes on with
// what it had. Before anything is written it is an error when
//
//   - nginx is not there, does not run, or its own configuration fails already;
//   - another site has the name, or is the default of the port;
//   - a control would be missing that this nginx cannot do, and is not waived;
//   - nothing answers on edge.nginx.listen;
//   - another install is at work.
//
// An install that was killed is taken back by the next one, on the disk and in the
// nginx that runs, before it begins. When that fails, the one after it tries again.
func (in *Installer) Install(ctx context.Context, p *policy.Policy) error {
	say := in.Say
	if say == nil {
		say = func(string, ...any) {}
	}
	in.defaults()
	lock, err := lockInstall(in.backups(p))
	if err != nil {
		return err
	}
	defer lock.Close()
	old, err := unfinished(in.backups(p))
	if err != nil {
		return err
	}
	if old != nil {
		if err := in.takeBackOld(ctx, old); err != nil {
			return fmt.Errorf("an earlier install was broken off, and cannot be taken back: %w", err)
		}
		say("an earlier install was broken off: what it had written was taken back")
	}
	files, pid, err := in.ready(ctx, p)
	if err != nil {
		return err
	}
	changes, waits, err := in.Plan(p, files)
	if err != nil {
		return err
	}
	set, err := beginChanges(in.backups(p), changes, in.Options.Now())
	if err != nil {
		return err
	}
	say("what was there is in %s", set.folder)
	if err := in.act(ctx, p, set, changes, pid, waits, say); err != nil {
		return in.takeBack(set, pid, err)
	}
	if err := set.finish(); err != nil {
		return in.takeBack(set, pid, err)
	}
	forget(in.backups(p))
	if waits {
		return ErrNeedsCertificate
	}
	return nil
}

func (in *Installer) defaults() {
	if in.Options.Now == nil {
		in.Options.Now = time.Now
	}
}

func (in *Installer) backups(p *policy.Policy) string {
	if in.Backups != "" {
		return in.Backups
	}
	return p.Edge.Nginx.Folder + "-backups"
}

// lockInstall keeps every other install away until the file is closed, which the end
// of the process does, too.
func lockInstall(root string) (*os.File, error) {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(root, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		f.Close()
		return nil, fmt.Errorf("another install is at work, and has %s locked: let it end", f.Name())
	case err != nil:
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return f, nil
}

// ready sees whether an install can begin.
func (in *Installer) ready(ctx context.Context, p *policy.Policy) (files []File, pid int, err error) {
	if in.Options.Version, files, err = in.nginx(ctx); err != nil {
		return nil, 0, err
	}
	pid, err = in.Host.Running(ctx, files)
	if err != nil {
		return nil, 0, err
	}
	if pid == 0 {
		return nil, 0, errors.New("nginx does not run: systemctl start nginx")
	}
	if err := in.capable(p); err != nil {
		return nil, 0, err
	}
	return files, pid, in.ringAnswers(ctx, p)
}

// nginx asks the host's nginx which it is and what it reads. An error when its own
// configuration is wrong.
func (in *Installer) nginx(ctx context.Context) (v Version, files []File, err error) {
	if v, err = in.Host.Version(ctx); err != nil {
		return v, nil, err
	}
	if err := in.Host.Test(ctx); err != nil {
		return v, nil, fmt.Errorf("nginx's configuration is wrong as it is, before anything of Ringwall's: %w", err)
	}
	files, err = in.Host.Files(ctx)
	return v, files, err
}

// capable is an error for controls that this nginx cannot do, and that are not
// waived.
func (in *Installer) capable(p *policy.Policy) error {
	v, now := in.Options.Version, in.Options.Now()
	until := now.UTC().AddDate(0, 6, 0).Format(time.DateOnly)
	for _, lack := range []struct {
		control        string
		can            bool
		what, get, why string
	}{
		{"edge/key-exchange", v.Hybrid(), fmt.Sprintf("nginx here runs with OpenSSL %d.%d, which cannot agree on keys that stay secret from quantum computers", v.OpenSSL[0], v.OpenSSL[1]),
			"an nginx with OpenSSL 3.5, such as Debian 13's", "this server's OpenSSL is older than 3.5"},
		{"edge/framing", v.StrictFraming(), "nginx " + v.String() + " drops a header with a space before its colon, and serves the request, where it must be refused",
			"nginx 1.21.1 or newer, such as Debian 12's", "this server's nginx is older than 1.21.1"},
	} {
		if lack.can || !edge.Enforced(p, lack.control, now) {
			continue
		}
		return p.Errorf("edge.engine", "take "+lack.get+", or say in the policy that you do without:\n"+
			"    waivers:\n      - {control: "+lack.control+", reason: \""+lack.why+"\", until: "+until+"}", "%s", lack.what)
	}
	return nil
}

// ringAnswers sees that Ringwall listens, and refuses who is not nginx.
func (in *Installer) ringAnswers(ctx context.Context, p *policy.Policy) error {
	network, address := "tcp", p.Edge.Nginx.Listen
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, address = "unix", path
	}
	d := net.Dialer{Timeout: 5 * time.Second}
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return p.Errorf("edge.nginx.listen", "start Ringwall first: ringwall serve", "nothing answers there: %w", err)
	}
	return conn.Close()
}

// act is what may fail and is then taken back.
func (in *Installer) act(ctx context.Context, p *policy.Policy, set *changeSet, changes []Change, pid int, waits bool, say func(string, ...any)) error {
	if err := set.write(changes); err != nil {
		return err
	}
	fault("written")
	if err := in.Host.Test(ctx); err != nil {
		return err
	}
	files, err := in.Host.Files(ctx)
	if err != nil {
		return err
	}
	if !includes(files, p.Edge.Nginx.Conf) {
		return p.Errorf("edge.nginx.conf", "have nginx.conf say include "+filepath.Dir(p.Edge.Nginx.Conf)+"/*.conf; in its http block, or name a file that it reads",
			"nginx does not read %s", p.Edge.Nginx.Conf)
	}
	say("written, and nginx -t finds it good")
	if err := in.Host.Reload(ctx, pid); err != nil {
		return err
	}
	fault("taken")
	say("nginx has taken it")
	if in.Check == nil || waits {
		return nil
	}
	return in.Check(ctx)
}

// takeBack puts everything back as it was and has nginx take that, too.
func (in *Installer) takeBack(set *changeSet, pid int, why error) error {
	// What was asked to stop is still to leave a whole configuration behind.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := set.undo()
	if err == nil {
		err = in.retake(ctx, set, pid)
	}
	if err != nil {
		return fmt.Errorf("%w\n\nand it could not be taken back: %w\nwhat was there before is in %s", why, err, set.folder)
	}
	return &TakenBack{why}
}

// takeBackOld is takeBack for an install that was killed: nginx may run with what
// it had written.
func (in *Installer) takeBackOld(ctx context.Context, old *changeSet) error {
	if err := old.undo(); err != nil {
		return err
	}
	files, err := in.Host.Files(ctx)
	if err != nil {
		return err
	}
	pid, err := in.Host.Running(ctx, files)
	if err != nil {
		return err
	}
	if pid == 0 { // it starts with what is on the disk
		return old.finish()
	}
	return in.retake(ctx, old, pid)
}

// retake has nginx take what was put back. Until it has, the set is not finished, so
// that the next install tries again.
func (in *Installer) retake(ctx context.Context, set *changeSet, pid int) error {
	if err := in.Host.Test(ctx); err != nil {
		return err
	}
	if err := in.Host.Reload(ctx, pid); err != nil {
		return err
	}
	return set.finish()
}

// TakenBack is an install that failed and left everything as it was.
type TakenBack struct{ Why error }

func (e *TakenBack) Error() string {
	return e.Why.Error() + "\n\neverything is as it was before: nginx serves with its old configuration"
}
func (e *TakenBack) Unwrap() error { return e.Why }

func includes(files []File, name string) bool {
	for _, f := range files {
		if f.Name == name {
			return true
		}
	}
	return false
}

// Plan lists the files of an install, beside what nginx reads now. waits says
// that there is no certificate yet, so that port 443 is left out.
func (in *Installer) Plan(p *policy.Policy, files []File) (changes []Change, waits bool, err error) {
	if !p.Edge.Nginx.Proof.Set() {
		return nil, false, p.Errorf("edge.nginx.proof", "ringwall nginx install makes it", "there is no secret that nginx could prove itself with")
	}
	return in.plan(p, files)
}

func (in *Installer) plan(p *policy.Policy, files []File) (changes []Change, waits bool, err error) {
	in.defaults()
	o := in.Options
	cert, _ := Certificate(p)
	if _, err := os.Stat(cert); errors.Is(err, fs.ErrNotExist) && !p.Edge.TLS.ACME.Enabled() {
		if p.Edge.Redirect == "" {
			return nil, false, p.Errorf("edge.tls.cert", "", "there is no certificate at %s", cert)
		}
		waits, o.WithoutTLS = true, true
	}
	gone, err := in.conflicts(p, files)
	if err != nil {
		return nil, false, err
	}
	text, err := Render(p, o)
	if err != nil {
		return nil, false, err
	}
	n := p.Edge.Nginx
	changes = append(gone,
		Change{Path: n.Folder, Folder: true, Mode: 0o700},
		Change{Path: n.State, Folder: true, Mode: 0o700, Owner: in.Owner, Keep: true},
		Change{Path: n.Webroot, Folder: true, Mode: 0o755, Keep: true})
	private := Private(p)
	for _, name := range sorted(private) {
		c := Change{Path: name, Text: private[name], Mode: 0o600, Secret: true}
		if c.Text == noBans { // the ring knows better
			c.Owner, c.Keep, c.Secret = in.Owner, true, false
		}
		changes = append(changes, c)
	}
	if !o.Version.rejectsHandshake() {
		crt, k, err := selfSigned("nobody.invalid", o.Now())
		if err != nil {
			return nil, false, err
		}
		changes = append(changes, Change{Path: filepath.Join(n.Folder, nobodyCert), Text: crt, Mode: 0o644, Keep: true},
			Change{Path: filepath.Join(n.Folder, nobodyKey), Text: k, Mode: 0o600, Secret: true, Keep: true})
	}
	if p.Edge.TLS.ACME.Enabled() {
		// Until the authority has issued one, nginx needs something to start with.
		crt, k, err := selfSigned(p.Site, o.Now())
		if err != nil {
			return nil, false, err
		}
		changes = append(changes, Change{Path: cert, Text: pair(crt, k), Mode: 0o600, Owner: in.Owner, Secret: true, Keep: true})
	}
	system, err := in.system(p)
	if err != nil {
		return nil, false, err
	}
	changes = append(changes, system...)
	return append(changes, Change{Path: n.Conf, Text: text, Mode: 0o644}), waits, nil
}

// selfSigned makes a certificate that nobody trusts.
func selfSigned(name string, now time.Time) (cert, key string, err error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return "", "", err
	}
	leaf := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(10, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, &k.PublicKey, k)
	if err != nil {
		return "", "", err
	}
	pk, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return "", "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pk})), nil
}
