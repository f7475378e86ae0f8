package host

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/ringwall/ringwall/check"
)

// SSHD is what sshd -T says is in force: keywords in lower case, and for each
// its values in order.
type SSHD map[string][]string

// Get is the first value of a keyword.
func (s SSHD) Get(keyword string) string {
	if v := s[keyword]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// SSHD asks sshd what holds for one user from one address, Match blocks
// included; for none when user is "".
func (f *Facts) SSHD(user, address string) (SSHD, error) {
	if user == "" {
		return f.sshd()
	}
	return f.SSHDFrom(SSHFrom{User: user, Address: address})
}

// SSHDFrom asks sshd what holds for one connection.
func (f *Facts) SSHDFrom(from SSHFrom) (SSHD, error) { return f.sshd("-C", from.words()) }

func (f *Facts) sshd(args ...string) (SSHD, error) {
	q := askSSHD
	if there, err := f.File(sshdFolderOfItsOwn); err != nil {
		return nil, err
	} else if !there.Exists {
		q = askSSHDApart
	}
	said, err := f.ask(q, args...)
	if err != nil {
		return nil, err
	}
	s := SSHD{}
	for line := range strings.Lines(said) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		s[key] = append(s[key], value)
	}
	if len(s["port"]) == 0 {
		return nil, fmt.Errorf("sshd -T: it names no port")
	}
	return s, nil
}

// sshdJudges is the command that judges sshd's files, as a change has it.
func sshdJudges(f *Facts) ([]string, error) {
	there, err := f.File(sshdFolderOfItsOwn)
	if err != nil || there.Exists {
		return []string{"sshd", "-t"}, err
	}
	return append(slices.Clone(sshdApart), "-t"), nil
}

// A Keyword is one line of sshd's configuration.
type Keyword struct {
	File  string
	Line  int
	Name  string // in lower case
	Value string
}

func (k Keyword) String() string {
	return fmt.Sprintf("%s, line %d: %s %s", k.File, k.Line, k.Name, k.Value)
}

// SSHKeywords are the lines of sshd's main file and drop-ins, in the order in
// which sshd reads them when the drop-ins come first. What is in force is
// another question, which SSHD answers: this is to name the place.
func (f *Facts) SSHKeywords() ([]Keyword, error) {
	files, err := f.Glob(sshdFolder)
	if err != nil {
		return nil, err
	}
	var all []Keyword
	for _, path := range append(files, sshdConfig) {
		of, err := f.sshKeywordsOf(path)
		if err != nil {
			return nil, err
		}
		all = append(all, of...)
	}
	return all, nil
}

// sshKeywordsOf are the lines of one file, wherever a link in its place leads.
func (f *Facts) sshKeywordsOf(path string) ([]Keyword, error) {
	_, file, err := f.Follow(path)
	if err != nil {
		return nil, err
	}
	var all []Keyword
	n := 0
	for line := range strings.Lines(file.Content) {
		n++
		// Name and value are parted by blanks or one =, sshd_config(5).
		field := strings.FieldsFunc(strings.TrimSpace(line), func(r rune) bool { return r == ' ' || r == '\t' || r == '=' })
		if len(field) > 1 && field[0][0] != '#' {
			all = append(all, Keyword{path, n, strings.ToLower(field[0]), strings.Join(field[1:], " ")})
		}
	}
	return all, nil
}

// Algorithms lists what this machine's OpenSSH knows for a keyword of its
// configuration, such as Ciphers.
func (f *Facts) Algorithms(keyword string) ([]string, error) {
	said, err := f.ask(askSSH, keyword)
	return strings.Fields(said), err
}

// A Listener is a socket that waits for others.
type Listener struct {
	Protocol string // tcp or udp
	Address  string // without brackets and zone; "*" is every one
	Port     int
	Process  string // the name of one that holds it, "" when it was not seen
	PID      string // of the same
}

// Loopback reports a listener that only this machine reaches.
func (l Listener) Loopback() bool {
	return strings.HasPrefix(l.Address, "127.") || l.Address == "::1" || strings.HasPrefix(l.Address, "::ffff:127.")
}

// Listeners lists every socket that waits, in this network namespace.
func (f *Facts) Listeners() ([]Listener, error) {
	said, err := f.ask(askListeners)
	if err != nil {
		return nil, err
	}
	var out []Listener
	for line := range strings.Lines(said) {
		field := strings.Fields(line)
		if len(field) < 5 {
			continue
		}
		i := strings.LastIndexByte(field[4], ':')
		if i < 0 {
			continue
		}
		port, err := strconv.Atoi(field[4][i+1:])
		if err != nil {
			return nil, fmt.Errorf("ss: %q has no port", field[4])
		}
		address, _, _ := strings.Cut(strings.Trim(field[4][:i], "[]"), "%")
		l := Listener{Protocol: field[0], Address: address, Port: port}
		if len(field) > 6 { // users:(("sshd",pid=1,fd=3))
			if _, rest, ok := strings.Cut(field[6], `"`); ok {
				l.Process, rest, _ = strings.Cut(rest, `"`)
				_, rest, _ = strings.Cut(rest, "pid=")
				l.PID, _, _ = strings.Cut(rest, ",")
			}
		}
		out = append(out, l)
	}
	return out, nil
}

// SSHSocket reports whether systemd listens in sshd's place, as ssh.socket.
func (f *Facts) SSHSocket() (bool, error) {
	u, err := f.Unit(sshSocket)
	return u.Running(), err
}

// SSHSocketFollows reports whether systemd listens for SSH where sshd's files say,
// as Ubuntu has it since 22.10: a generator reads them whenever systemd reads its
// own, and nobody has given the socket other ports. What was written since counts
// when ssh.socket is started the next time.
func (f *Facts) SSHSocketFollows() (bool, error) {
	socket, err := f.SSHSocket()
	if err != nil || !socket {
		return false, err
	}
	generator, err := f.Glob("/usr/lib/systemd/system-generators/sshd-socket-generator")
	if err != nil || len(generator) == 0 {
		return false, err
	}
	own, err := f.Glob(unitFolder + "ssh.socket.d/*.conf")
	return len(own) == 0, err
}

// SSHPorts are the ports where the SSH server can be reached now: where sshd
// listens, or systemd for it, without ports on loopback alone.
func (f *Facts) SSHPorts() ([]int, error) {
	listeners, err := f.Listeners()
	if err != nil {
		return nil, err
	}
	var ports []int
	for _, l := range listeners {
		if l.Protocol == "tcp" && !l.Loopback() && strings.HasPrefix(l.Process, "sshd") {
			ports = append(ports, l.Port)
		}
	}
	if socket, err := f.SSHSocket(); err != nil {
		return nil, err
	} else if socket {
		p, err := f.UnitProperties(sshSocket, "Listen")
		if err != nil {
			return nil, err
		}
		ports = append(ports, socketPorts(p["Listen"])...)
	}
	slices.Sort(ports)
	if ports = slices.Compact(ports); len(ports) == 0 {
		return nil, fmt.Errorf("no SSH server listens on this machine")
	}
	return ports, nil
}

// socketPorts reads what systemctl show says of a socket unit, which is
// "[::]:22 (Stream)" for each, some of it without an address.
func socketPorts(listen string) (ports []int) {
	for _, word := range strings.Fields(listen) {
		if i := strings.LastIndexByte(word, ':'); i >= 0 {
			if n, err := strconv.Atoi(word[i+1:]); err == nil {
				ports = append(ports, n)
			}
		} else if n, err := strconv.Atoi(word); err == nil {
			ports = append(ports, n)
		}
	}
	return ports
}

// SSHAddresses are where this machine itself reaches its SSH server: one for
// each of its ports.
func (f *Facts) SSHAddresses() ([]string, error) {
	ports, err := f.SSHPorts()
	if err != nil {
		return nil, err
	}
	listeners, err := f.Listeners()
	if err != nil {
		return nil, err
	}
	var at []string
	for _, port := range ports {
		i := slices.IndexFunc(listeners, func(l Listener) bool { return l.Protocol == "tcp" && l.Port == port && !l.Loopback() })
		if i < 0 {
			return nil, fmt.Errorf("nothing listens at port %d, where the SSH server should", port)
		}
		address := listeners[i].Address
		switch address {
		case "*", "0.0.0.0":
			address = "127.0.0.1"
		case "::":
			address = "::1"
		}
		at = append(at, net.JoinHostPort(address, strconv.Itoa(port)))
	}
	return at, nil
}

// Offer asks the SSH server of this machine, at one of its addresses, what it
// would let a user in with.
func (f *Facts) Offer(address, user string, key ssh.PublicKey) (Offer, error) {
	o, err := f.source.Offer(address, user, key)
	e := check.Exchange{Sent: "[SSH to " + address + ", as " + user + " with a key]", Received: "[it offers " + strings.Join(o.Methods, ", ") + "]"}
	switch {
	case err != nil:
		e.Received = "[" + err.Error() + "]"
	case o.Accepts:
		e.Received += "\n[it takes the key]"
	}
	f.note(e)
	return o, err
}
