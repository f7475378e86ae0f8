package outside

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
)

// sshKeys asks an SSH server by which means it lets anybody in, as every client does,
// for a user that nobody is, and for root.
var sshKeys = Check{
	Meta: check.Meta{
		ID:    "outside/ssh",
		Most:  6,
		Title: "SSH takes keys only",
		Why:   "Passwords of every SSH server are guessed at all day; one that is guessed is the whole server.",
		Ref:   "RFC 4252, 5.1 and 5.2; CIS Controls v8 5.2; CWE-307; blueprint H2, T9, checklist 8",
		Layer: "host",
	},
	Manner: Active,
	NoRing: true,
	Afar:   true,
	See:    "type sshd -T | grep -i -E 'passwordauthentication|permitrootlogin', or look from another machine",
	Verify: func(ctx context.Context, t *Target) check.Finding {
		port := t.SSHPort
		if port == "" {
			port = "22"
		}
		addrs, err := t.addresses(ctx)
		switch {
		case err != nil:
			return check.Unseen("the host's addresses: %v", err)
		case len(addrs) == 0:
			return check.Unseen("the host has no address")
		}
		var offered, silent, shut []string
		for _, a := range oneOfEach(addrs) {
			address := net.JoinHostPort(a.String(), port)
			for _, user := range []string{"root", "ringwall-check"} {
				methods, banner, err := t.sshMethods(ctx, address, user)
				var closed *net.OpError
				switch {
				case err == nil:
				case ctx.Err() != nil:
					silent = append(silent, "no time was left for "+address)
				case errors.As(err, &closed) && closed.Op == "dial" && (probe.Rejected(err) || !probe.Unreachable(err)):
					// Silence and rejection are a closed port only of an address that answers elsewhere.
					if !errors.Is(err, syscall.ECONNREFUSED) && t.alive(ctx, a) != nil {
						silent = append(silent, "nobody answers at "+a.String()+" at all: "+err.Error())
						break
					}
					shut = append(shut, "nobody answers at "+address)
				default:
					silent = append(silent, fmt.Sprintf("no SSH at %s: %v", address, err))
				}
				if err != nil {
					break
				}
				for _, weak := range []string{"password", "keyboard-interactive", "none"} {
					if strings.Contains(" "+methods+" ", " "+weak+" ") {
						return check.Failed(banner+" at "+address+" offers "+methods+" to "+user, "publickey alone",
							"in /etc/ssh/sshd_config.d/00-keys-only.conf: PasswordAuthentication no, KbdInteractiveAuthentication no, PermitRootLogin no; then sshd -t and systemctl reload ssh, from a session that stays open")
					}
				}
				if user != "root" {
					offered = append(offered, banner+" at "+address+" offers "+methods)
				}
			}
		}
		all := strings.Join(slices.Concat(silent, offered, shut), "; ")
		if len(silent) > 0 || len(offered) == 0 {
			return check.Unseen("%s", all)
		}
		return check.Passed("%s", all)
	},
}

var sshTried = regexp.MustCompile(`attempted methods \[([^\]]*)\]`)

// sshMethods are what the server names in its refusal (RFC 4252, 5.1).
func (t *Target) sshMethods(ctx context.Context, address, user string) (methods, banner string, err error) {
	conn, err := t.Client.DialPort(ctx, address, 5*time.Second)
	if err != nil {
		return "", "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	var offered []string
	asked := func(name string) { offered = append(offered, name) }
	cfg := &ssh.ClientConfig{
		User:            user,
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), // nothing secret is sent
		ClientVersion:   "SSH-2.0-ringwall-check",
		Auth: []ssh.AuthMethod{
			// Each is called only when the server offers it, and then sends nothing.
			ssh.PublicKeysCallback(func() ([]ssh.Signer, error) { asked("publickey"); return nil, nil }),
			ssh.KeyboardInteractive(func(string, string, []string, []bool) ([]string, error) {
				asked("keyboard-interactive")
				return nil, errNothingSaid
			}),
			ssh.PasswordCallback(func() (string, error) { asked("password"); return "", errNothingSaid }),
		},
	}
	c, _, _, err := ssh.NewClientConn(conn, address, cfg)
	if err == nil {
		c.Close()
		return "none", string(c.ServerVersion()), nil
	}
	if len(offered) == 0 && !sshTried.MatchString(err.Error()) {
		return "", "", err
	}
	if len(offered) == 0 {
		offered = []string{"nothing that is known"}
	}
	return strings.Join(offered, " "), "SSH", nil
}

var errNothingSaid = errors.New("no password is sent")
