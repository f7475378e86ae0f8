package policy

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Host is ring 3: what `ringwall host` makes of the server.
type Host struct {
	DeployUser string   `yaml:"deploy_user" default:"deploy" doc:"who signs in over SSH in the place of root, with sudo; made when missing"`
	Keys       []string `yaml:"keys" doc:"public keys of the deploy user, each a line of authorized_keys; absent: those that root has, and who called sudo"`
	SSH        SSH      `yaml:"ssh" doc:"the SSH server"`
	Firewall   Firewall `yaml:"firewall" doc:"what may be reached from outside"`
	Updates    Updates  `yaml:"updates" doc:"security updates, which are installed by themselves"`

	API HostAPI `yaml:"api" doc:"the API's own service on this server"`

	Allow []netip.Prefix `yaml:"allow" doc:"addresses or prefixes that you sign in from: neither fail2ban nor the kernel shuts them out"`
}

// Updates says what an update may do to the running server.
type Updates struct {
	Reboot string `yaml:"reboot" doc:"time of day, such as 03:30, at which the server restarts when an update needs it; absent: it never does by itself"`
}

// HostAPI is the service behind the edge, as systemd has it.
type HostAPI struct {
	Unit string `yaml:"unit" doc:"the API's own unit, such as myapi.service, which is shut in: it reaches, and is reached from, this machine alone; absent: it is left alone"`
}

// SSH says who comes in by SSH, and where.
type SSH struct {
	Port       int      `yaml:"port" default:"0" min:"0" max:"65535" doc:"port that the SSH server listens on; 0: where it listens already, or would without an earlier policy's port"`
	Users      []string `yaml:"users" doc:"further accounts that may sign in, by key; the deploy user always may, root never"`
	Forwarding bool     `yaml:"forwarding" default:"false" doc:"TCP forwarding and tunnels through SSH are allowed"`
}

// Firewall is the list of what is open. All else is closed.
type Firewall struct {
	Open []Opening `yaml:"open" default:"ssh,80,443" doc:"ports that anybody may reach: ssh is wherever the SSH server listens, 443 is TCP, 443/udp is UDP"`
}

// An Opening is a port that is open to the world: "ssh", "443" or "443/udp".
type Opening string

// SSHOpening is the opening for the SSH server, wherever it listens.
const SSHOpening Opening = "ssh"

// Port is the number and the protocol, tcp or udp. The opening ssh has none: 0.
func (o Opening) Port() (port int, protocol string) {
	number, protocol, found := strings.Cut(string(o), "/")
	if !found {
		protocol = "tcp"
	}
	port, _ = strconv.Atoi(number)
	return port, protocol
}

func parseOpening(s string) (Opening, error) {
	const hint = "write ssh, a port such as 443, or 443/udp"
	if s == string(SSHOpening) {
		return SSHOpening, nil
	}
	number, protocol, found := strings.Cut(s, "/")
	n, err := parseInt(number)
	switch {
	case err != nil, found && protocol != "udp" && protocol != "tcp":
		return "", &misfit{quote(s) + " is not a port", hint}
	case n < 1 || n > 65535:
		return "", &misfit{quote(s) + " is not a port", "ports are 1 to 65535"}
	}
	return Opening(strings.TrimSuffix(s, "/tcp")), nil
}

// host judges what is written into the server's own files.
func (l *loader) host() {
	h := &l.p.Host
	const hint = "a user name begins with a letter and has small letters, digits, - and _, at most 32"
	if h.DeployUser == "root" {
		l.errorf("host.deploy_user", "name another; it is made when missing", "root is not to sign in over SSH")
	} else if !isUserName(h.DeployUser) {
		l.errorf("host.deploy_user", hint, "%s is not a user name", quote(h.DeployUser))
	}
	for i, name := range h.SSH.Users {
		switch at := item("host.ssh.users", i); {
		case name == "root":
			l.errorf(at, "remove it", "root is not to sign in over SSH")
		case !isUserName(name):
			l.errorf(at, hint, "%s is not a user name", quote(name))
		}
	}
	for i, key := range h.Keys {
		at := item("host.keys", i)
		kind, rest, _ := strings.Cut(key, " ")
		switch known := strings.HasPrefix(kind, "ssh-") || strings.HasPrefix(kind, "ecdsa-") || strings.HasPrefix(kind, "sk-"); {
		case strings.Contains(key, "PRIVATE KEY"):
			l.errorf(at, "give the line of the file that ends in .pub; and make a new key, this one has been seen", "this is a private key")
		case !known || len(strings.TrimSpace(rest)) < 20:
			l.errorf(at, "give the line of the file that ends in .pub, such as ssh-ed25519 AAAA... you@laptop", "this is not a public key")
		}
	}
	if unit := h.API.Unit; unit != "" {
		const hint = "give its name as systemctl list-units --type=service has it, such as myapi.service"
		switch name, service := strings.CutSuffix(unit, ".service"); {
		case !service || !isName(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ@._-") || strings.HasSuffix(name, "@"):
			l.errorf("host.api.unit", hint, "%s is not the name of a service", quote(unit))
		case strings.HasPrefix(name, "ringwall") || name == "ssh" || name == "nginx":
			l.errorf("host.api.unit", "name the unit of the API behind it", "%s is not the API's own", quote(unit))
		}
	}
	if at := h.Updates.Reboot; at != "" {
		if _, err := time.Parse("15:04", at); err != nil || len(at) != 5 {
			l.errorf("host.updates.reboot", "write hours and minutes, such as 03:30", "%s is not a time of day", quote(at))
		}
	}
	ssh := false
	for _, o := range h.Firewall.Open {
		ssh = ssh || o == SSHOpening
	}
	if !ssh && !l.spoiled("host.firewall.open") {
		l.errorf("host.firewall.open", "add ssh", "SSH is not in it, so that nobody would get in")
	}
}

// isUserName is stricter than Debian, so that a name needs no quoting anywhere.
func isUserName(s string) bool {
	return isName(s, "-_") && len(s) <= 32 && 'a' <= s[0] && s[0] <= 'z'
}
