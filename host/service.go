package host

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/packaging/systemd"
	"github.com/ringwall/ringwall/policy"
)

const (
	serviceName   = "ringwall.service"
	servicePolicy = "/etc/ringwall/ringwall.yaml"
	serviceBinary = "/usr/local/bin/ringwall"
	stateFolder   = "/var/lib/ringwall"
	secretsFolder = "/etc/ringwall/secrets"
	proofFile     = secretsFolder + "/edge_nginx_proof"
	writtenByUs   = "# Written by ringwall host apply.\n"
)

// exposed is the most that systemd-analyze security may say of the service:
// 0 is a process that can do nothing, 10 one that can do all.
const exposed = 1.5

var service = Control{
	Meta: check.Meta{
		ID:    "host/service",
		Title: "Ringwall serves as a user that can do nothing else",
		Why:   "a hole in what faces the Internet is worth what its process may do and read",
		Ref:   "systemd.exec(5); systemd-analyze(1), security; systemd.socket(5); CWE-250; blueprint H7, T8",
	},
	Plan:   planService,
	Verify: verifyService,
}

// noService says why there is nothing to serve with yet, "" when there is.
func noService(p *policy.Policy, f *Facts) (string, error) {
	text, err := f.File(servicePolicy)
	if err != nil || !text.Exists {
		return "there is no " + servicePolicy, err
	}
	found, err := f.Glob(serviceBinary)
	if err != nil || len(found) == 0 {
		return "there is no " + serviceBinary, err
	}
	switch {
	case p.NginxIsEdge(): // it has the certificate
		return "", nil
	case p.Edge.TLS.Cert == "" && p.Edge.TLS.ACME.Email == "":
		return "edge.tls names no certificate, and nothing is served without", nil
	}
	return "", nil
}

func planService(p *policy.Policy, f *Facts) ([]Change, error) {
	why, err := noService(p, f)
	if err != nil || why != "" {
		return nil, err
	}
	there, err := f.File(unitFolder + serviceName)
	if err != nil || there.Exists && !strings.HasPrefix(there.Content, writtenByUs) {
		return nil, err // somebody's own, which is only looked at
	}
	proof, err := nginxProof(p, f)
	var hint Hint
	switch {
	case errors.As(err, &hint): // host/nginx tells it: nobody could be served behind that nginx
		return nil, nil
	case err != nil:
		return nil, err
	}
	units, err := serviceUnits(p, f)
	if err != nil {
		return nil, err
	}
	text, err := f.File(servicePolicy)
	if err != nil {
		return nil, err
	}
	files := []*File{{Path: servicePolicy, Content: text.Content, Mode: uint32(text.Mode.Perm()) | 0o444, Owner: text.Owner}}
	for _, u := range units {
		files = append(files, &File{Path: unitFolder + u.name, Mode: 0o644, Content: u.content})
	}
	// Only root enters what is in it of the host ring's.
	files = append(files, &File{Path: stateFolder, Mode: 0o755, Folder: true}, &File{Path: secretsFolder, Mode: 0o700, Folder: true})
	changes := proof
	for _, file := range files {
		title := "the unit " + filepath.Base(file.Path)
		switch file.Path {
		case servicePolicy:
			title = "let the service read the policy, which holds no secret"
		case secretsFolder:
			title = "a folder for secrets, root's alone"
		case stateFolder:
			title = "let the service reach its own folder, " + stateFolder + "/serve"
		}
		more, err := f.need(Change{Title: title, File: file})
		if err != nil {
			return nil, err
		}
		changes = append(changes, more...)
	}
	more, err := unusedSockets(f, units)
	if err != nil {
		return nil, err
	}
	changes = append(changes, more...)
	written := len(changes) > 0
	started := false
	for _, u := range append(units[1:], units[0]) { // the sockets first: they need nothing
		more, err := f.enable(u.name)
		if err != nil {
			return nil, err
		}
		started = started || u.name == serviceName && len(more) > 0
		changes = append(changes, more...)
	}
	if written && !started {
		changes = append(changes, Change{Title: "start it anew", Unit: &Unit{Name: serviceName, Do: Restart}})
	}
	return changes, nil
}

// nginxProof is the change that makes the secret that nginx proves itself with. Its
// error is a Hint where the policy's nginx cannot be had.
func nginxProof(p *policy.Policy, f *Facts) ([]Change, error) {
	if !p.NginxIsEdge() {
		return nil, nil
	}
	found, err := f.Glob(proofFile)
	if err != nil || len(found) > 0 {
		return nil, err
	}
	unit, err := f.Unit(nginxService)
	if err != nil {
		return nil, err
	}
	if _, err := f.nginxParts(unit.Load == "loaded"); err != nil {
		return nil, err
	}
	return []Change{{Title: "make the secret that nginx proves itself with", Early: true,
		Command: &Command{Argv: []string{"ringwall", "nginx", "prepare", "--policy", servicePolicy}, Files: []string{proofFile}}}}, nil
}

type unitFile struct{ name, content string }

var secretName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)

// serviceUnits are the units as we ship them, the service first, with the ports
// of the policy and each file in the secrets' folder as a credential.
func serviceUnits(p *policy.Policy, f *Facts) ([]unitFile, error) {
	names := []string{serviceName}
	folders, err := nginxFolders(p)
	if err != nil {
		return nil, err
	}
	if !p.NginxIsEdge() {
		names = append(names, "ringwall-https.socket")
	}
	if p.Edge.Redirect != "" && !p.NginxIsEdge() {
		names = append(names, "ringwall-redirect.socket")
	}
	if p.Edge.HTTP3 {
		names = append(names, "ringwall-http3.socket")
	}
	secrets, err := f.Glob(secretsFolder + "/*")
	if err != nil {
		return nil, err
	}
	if p.NginxIsEdge() && !slices.Contains(secrets, proofFile) { // nginxProof makes it
		secrets = append(secrets, proofFile)
		slices.Sort(secrets)
	}
	var units []unitFile
	for _, name := range names {
		b, err := systemd.Units.ReadFile(name)
		if err != nil {
			return nil, err
		}
		content := string(b)
		switch name {
		case serviceName:
			var credentials strings.Builder
			for _, path := range secrets {
				if id := filepath.Base(path); secretName.MatchString(id) {
					fmt.Fprintf(&credentials, "LoadCredential=%s:%s\n", id, path)
				}
			}
			content = replaceLine(content, "LoadCredential=", credentials.String())
			sockets := ""
			if len(names) > 1 {
				sockets = "Sockets=" + strings.Join(names[1:], " ") + "\n"
			}
			content = replaceLine(content, "Sockets=", sockets)
			content = replaceLine(content, "StateDirectory=", "StateDirectory=ringwall/serve"+folders+"\n")
		case "ringwall-redirect.socket":
			content = replaceLine(content, "ListenStream=", "ListenStream="+listenOf(p.Edge.Redirect)+"\n")
		case "ringwall-http3.socket":
			content = replaceLine(content, "ListenDatagram=", "ListenDatagram="+listenOf(p.Edge.Listen)+"\n")
		default:
			content = replaceLine(content, "ListenStream=", "ListenStream="+listenOf(p.Edge.Listen)+"\n")
		}
		units = append(units, unitFile{name, writtenByUs + content})
	}
	return units, nil
}

// nginxFolders are what the service writes for nginx, as systemd.exec(5) names
// them behind a folder of its own: the state, and of a unix socket the folder.
// systemd makes them, as nobody but the service's user may write them.
func nginxFolders(p *policy.Policy) (string, error) {
	if !p.NginxIsEdge() {
		return "", nil
	}
	n := p.Edge.Nginx
	state, ok := strings.CutPrefix(n.State, "/var/lib/")
	if !ok {
		return "", p.Errorf("edge.nginx.state", "write a folder below /var/lib, such as /var/lib/ringwall/nginx", "systemd lets the service write to no folder but below /var/lib, and this is %s", n.State)
	}
	folders := " " + state
	if socket, ok := strings.CutPrefix(n.Listen, "unix:"); ok {
		run, ok := strings.CutPrefix(filepath.Dir(socket), "/run/")
		if !ok {
			return "", p.Errorf("edge.nginx.listen", "write unix:/run/ringwall/nginx.sock", "systemd lets the service make a socket in no folder but below /run, and this is %s", n.Listen)
		}
		folders += "\nRuntimeDirectory=" + run
	}
	return folders, nil
}

// unusedSockets turns off the sockets of ours that the policy has no use for any
// more: they would hold ports that nginx needs.
func unusedSockets(f *Facts, units []unitFile) ([]Change, error) {
	var changes []Change
	for _, name := range []string{"ringwall-https.socket", "ringwall-redirect.socket", "ringwall-http3.socket"} {
		if slices.ContainsFunc(units, func(u unitFile) bool { return u.name == name }) {
			continue
		}
		there, err := f.File(unitFolder + name)
		if err != nil {
			return nil, err
		}
		if !there.Exists || !strings.HasPrefix(there.Content, writtenByUs) {
			continue
		}
		u, err := f.Unit(name)
		if err != nil {
			return nil, err
		}
		if u.Running() || u.Enabled == "enabled" {
			changes = append(changes, Change{Title: "turn off " + name + ", which the policy has no use for", Unit: &Unit{Name: name, Do: Disable}})
		}
	}
	return changes, nil
}

// replaceLine puts text in the place of the lines that begin with a word.
func replaceLine(content, word, text string) string {
	var b strings.Builder
	for line := range strings.Lines(content) {
		if strings.HasPrefix(line, word) {
			b.WriteString(text)
			text = ""
			continue
		}
		b.WriteString(line)
	}
	return b.String()
}

// listenOf writes an address of the policy as systemd.socket(5) has it.
func listenOf(address string) string {
	if host, port, err := net.SplitHostPort(address); err == nil && host == "" {
		return port
	}
	return address
}

func verifyService(p *policy.Policy, f *Facts) check.Finding {
	want, fix := fmt.Sprintf("%s runs as a user of its own, and systemd-analyze security says %.1f at most", serviceName, exposed), "ringwall host apply; then: journalctl -u ringwall -n 20"
	why, err := noService(p, f)
	switch {
	case err != nil:
		return check.Unseen("%v", err)
	case why != "":
		return check.Moot("Ringwall is no service here: %s", why)
	}
	has, err := f.UnitProperties(serviceName, "ActiveState", "UnitFileState", "MainPID", "DynamicUser", "User", "NoNewPrivileges")
	switch {
	case err != nil:
		return check.Unseen("%v", err)
	case has["ActiveState"] != "active":
		return check.Failed(serviceName+" is "+has["ActiveState"], want, fix)
	case has["UnitFileState"] == "disabled":
		return check.Failed(serviceName+" would not start with the machine", want, fix)
	case has["DynamicUser"] != "yes" && (has["User"] == "" || has["User"] == "root"):
		return check.Failed("it runs as root", want, fix)
	}
	status, err := f.File("/proc/" + has["MainPID"] + "/status")
	if err != nil || !status.Exists {
		return check.Unseen("the process %s: %v", has["MainPID"], err)
	}
	for line := range strings.Lines(status.Content) {
		switch field := strings.Fields(line); {
		case len(field) > 1 && field[0] == "Uid:" && slices.Contains(field[1:], "0"):
			return check.Failed("its process runs as root", want, fix)
		case len(field) > 1 && field[0] == "NoNewPrivs:" && field[1] != "1":
			return check.Failed("its process may gain privileges", want, fix)
		}
	}
	said, err := f.ask(askExposure, serviceName)
	_, rest, ok := strings.Cut(said, "Overall exposure level for "+serviceName+": ")
	word, _, _ := strings.Cut(rest, " ")
	level, bad := strconv.ParseFloat(word, 64)
	switch {
	case !ok || bad != nil:
		return check.Unseen("systemd-analyze security: %v", err)
	case level > exposed:
		return check.Failed(fmt.Sprintf("systemd-analyze security says %.1f", level), want, fix)
	}
	return check.Passed("%s serves as a user of its own; systemd-analyze security says %.1f", serviceName, level)
}
