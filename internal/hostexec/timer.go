package hostexec

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	unitDir     = "/etc/systemd/system"
	rollUnit    = "ringwall-host-rollback"
	wantedBy    = unitDir + "/multi-user.target.wants/" + rollUnit + ".service"
	serviceFile = unitDir + "/" + rollUnit + ".service"
	timerFile   = unitDir + "/" + rollUnit + ".timer"
)

// serviceText restores, when the timer ends and after every start of the
// machine, as long as there is something to restore.
const serviceText = `# Written by ringwall host apply, and removed by ringwall host confirm.
[Unit]
Description=Put the server back as it was: a change was not confirmed
ConditionPathExists=%[1]s/pending
After=local-fs.target network.target dbus.service ssh.service ufw.service
StartLimitIntervalSec=0

[Service]
Type=oneshot
ExecStart=%[1]s/ringwall host rollback --unattended
Restart=on-failure
RestartSec=10s
TimeoutStartSec=20min

[Install]
WantedBy=multi-user.target
`

const timerText = `# Written by ringwall host apply, and removed by ringwall host confirm.
[Unit]
Description=Time to confirm a change of the server

[Timer]
OnActiveSec=%ds
AccuracySec=1s
Unit=` + rollUnit + `.service
`

func (m *Machine) pending() string { return filepath.Join(m.dir, "pending") }

// arm has systemd undo everything at the end of a window, and after a restart,
// with a copy of this program that nobody else can write. It returns once the
// timer runs.
func (m *Machine) arm(window time.Duration) error {
	if err := m.copyProgram(); err != nil {
		return err
	}
	if err := replace(m.pending(), nil, 0o600, 0, 0); err != nil {
		return err
	}
	for path, text := range map[string]string{
		serviceFile: fmt.Sprintf(serviceText, m.dir),
		timerFile:   fmt.Sprintf(timerText, int(window.Seconds())),
	} {
		if err := replace(path, []byte(text), 0o644, 0, 0); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(wantedBy), 0o755); err != nil {
		return err
	}
	if err := os.Symlink(serviceFile, wantedBy); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := syncDir(filepath.Dir(wantedBy)); err != nil {
		return err
	}
	if _, err := run("systemctl", "daemon-reload"); err != nil {
		return err
	}
	return m.rearm()
}

// rearm begins the window anew.
func (m *Machine) rearm() error {
	if _, err := run("systemctl", "restart", rollUnit+".timer"); err != nil {
		return err
	}
	out, err := run("systemctl", "show", "--property=ActiveState,NextElapseUSecMonotonic", rollUnit+".timer")
	if err == nil && (!strings.Contains(out, "ActiveState=active") || strings.Contains(out, "NextElapseUSecMonotonic=infinity")) {
		err = fmt.Errorf("the rollback timer does not run: %s", tail(out))
	}
	return err
}

// disarm ends the timer and removes all traces of it. Nothing is restored then.
func (m *Machine) disarm() error {
	errs := []error{gone(m.pending())}
	if _, err := os.Lstat(timerFile); err == nil {
		_, err := run("systemctl", "stop", rollUnit+".timer")
		errs = append(errs, err)
	}
	for _, path := range []string{wantedBy, timerFile, serviceFile} {
		errs = append(errs, gone(path))
	}
	_, err := run("systemctl", "daemon-reload")
	m.unspare(within(brief))
	m.giveRoom()
	return errors.Join(append(errs, err)...)
}

// gone removes a file. One that is not there is fine, also where nothing can be
// removed.
func gone(path string) error {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return os.Remove(path)
}

// copyProgram copies this program to where only root can replace it and no
// restart removes it, and sees that it runs there.
func (m *Machine) copyProgram() error {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer self.Close()
	to := filepath.Join(m.dir, "ringwall")
	if own, err := os.Readlink("/proc/self/exe"); err == nil && own == to {
		return nil
	}
	f, err := os.OpenFile(to+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o700)
	if err != nil {
		return err
	}
	defer os.Remove(to + ".new")
	defer f.Close()
	if _, err := io.Copy(f, self); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if _, err := run(to+".new", "version"); err != nil {
		return fmt.Errorf("a program cannot run from %s, and the rollback has to: %w", m.dir, err)
	}
	if err := os.Rename(to+".new", to); err != nil {
		return err
	}
	return syncDir(m.dir)
}
