package nginx

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/ringwall/ringwall/internal/state"
	"github.com/ringwall/ringwall/policy"
)

// Where the machine's own files go. A test has others.
var (
	logrotateFolder = "/etc/logrotate.d"
	systemdFolder   = "/etc/systemd/system"
	systemdRuns     = "/run/systemd/system"
)

// system is what goes to other programs of the machine: the rotation of the log,
// and, where systemd runs, a unit that reloads nginx when Ringwall, which
// need not be root, asks for it by Wake. Elsewhere ringwall serve
// reloads it itself, and has to know which nginx this is.
func (in *Installer) system(p *policy.Policy) ([]Change, error) {
	if err := in.Host.plain(); err != nil {
		return nil, err
	}
	n := p.Edge.Nginx
	which, err := json.MarshalIndent(in.Host, "", "  ")
	if err != nil {
		return nil, err
	}
	out := []Change{{Path: filepath.Join(n.Folder, hostFile), Mode: 0o600, Text: string(which) + "\n"},
		{Path: filepath.Join(logrotateFolder, "ringwall-nginx"), Mode: 0o644, Text: Logrotate(p, in.Host)}}
	if _, err := os.Stat(systemdRuns); err != nil {
		return out, nil
	}
	return append(out,
		Change{Path: filepath.Join(systemdFolder, "ringwall-nginx.path"), Mode: 0o644, Text: fmt.Sprintf(`# Written by ringwall nginx install.
[Unit]
Description=Whether Ringwall has written bans or a certificate for nginx

[Path]
PathExists=%s
Unit=ringwall-nginx.service

[Install]
WantedBy=multi-user.target
`, filepath.Join(n.State, wakeFile))},
		Change{Path: filepath.Join(systemdFolder, "ringwall-nginx.service"), Mode: 0o644, Text: `# Written by ringwall nginx install.
[Unit]
Description=Have nginx read what Ringwall has written
After=nginx.service
StartLimitIntervalSec=10
StartLimitBurst=20

[Service]
Type=oneshot
ExecStartPre=/bin/rm -rf ` + filepath.Join(n.State, wakeFile) + `
ExecStart=` + in.Host.Command("-s", "reload") + `
`}), nil
}

// Wake has the unit that an install has enabled reload nginx. That unit takes the
// file away first, and looks for it again afterwards: what is written while nginx
// is reloaded is seen, too, which is not so where systemd watches for changes.
func Wake(p *policy.Policy) error {
	return state.Replace(filepath.Join(p.Edge.Nginx.State, wakeFile), nil, 0o600, nil)
}

// Logrotate is the file for logrotate: two weeks, compressed, and the workers
// told to write to the new file.
func Logrotate(p *policy.Policy, h Host) string {
	return `# Written by ringwall nginx install.
` + p.Edge.Nginx.Log + ` {
	daily
	rotate 14
	missingok
	notifempty
	compress
	delaycompress
	create 0640 root adm
	sharedscripts
	postrotate
		` + h.Command("-s", "reopen") + ` >/dev/null 2>&1 || true
	endscript
}
`
}
