package host

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/policy"
)

const (
	sshControl = "host/ssh"
	sshSocket  = "ssh.socket"
	sshdConfig = "/etc/ssh/sshd_config"
	sshdDropIn = "/etc/ssh/sshd_config.d/00-ringwall.conf"
	sshdFolder = "/etc/ssh/sshd_config.d/*.conf"
)

var sshServer = Control{
	Meta: check.Meta{
		ID:    sshControl,
		Title: "SSH takes keys of named users, and no password and no root",
		Why:   "passwords are guessed all day by machines, and a stolen one is the whole server",
		Ref:   "CIS Debian 12, 5.1; ssh-audit; sshd_config(5); blueprint H2, T9, checklist 8",
	},
	Plan:   planSSH,
	Ready:  readySSH,
	Verify: verifySSH,
	Door:   true,
}

// What is strong, best first, and in which OpenSSH knows it. Left out: group 14
// and group exchange, which clients may ask for with 2048 bits; NIST curves;
// CBC; MACs that are not encrypt-then-MAC, or of 64 bits, or SHA-1.
var strongSSH = []struct {
	keyword string
	names   []string
}{
	{"KexAlgorithms", []string{"mlkem768x25519-sha256", "sntrup761x25519-sha512", "sntrup761x25519-sha512@openssh.com", "curve25519-sha256",
		"curve25519-sha256@libssh.org", "diffie-hellman-group16-sha512", "diffie-hellman-group18-sha512"}},
	{"Ciphers", []string{"chacha20-poly1305@openssh.com", "aes256-gcm@openssh.com", "aes128-gcm@openssh.com", "aes256-ctr", "aes192-ctr", "aes128-ctr"}},
	{"MACs", []string{"hmac-sha2-512-etm@openssh.com", "hmac-sha2-256-etm@openssh.com", "umac-128-etm@openssh.com"}},
	{"HostKeyAlgorithms", []string{"ssh-ed25519-cert-v01@openssh.com", "rsa-sha2-512-cert-v01@openssh.com", "rsa-sha2-256-cert-v01@openssh.com",
		"ssh-ed25519", "rsa-sha2-512", "rsa-sha2-256"}},
}

// sshOnce stands once; sshAlways stands again in a Match block of our own,
// since a later Match block could otherwise loosen it: of several that apply,
// the first one read counts (sshd_config(5), Match).
var sshOnce = [][2]string{
	{"LoginGraceTime", "30"}, {"MaxStartups", "10:30:60"}, {"StrictModes", "yes"}, {"UsePAM", "yes"}, {"PermitUserEnvironment", "no"},
	{"LogLevel", "VERBOSE"}, {"TCPKeepAlive", "no"}, {"Compression", "no"}, {"UseDNS", "no"},
}

func sshAlways(p *policy.Policy) [][2]string {
	list := [][2]string{
		{"PermitRootLogin", "no"}, {"PubkeyAuthentication", "yes"}, {"PasswordAuthentication", "no"}, {"KbdInteractiveAuthentication", "no"},
		{"HostbasedAuthentication", "no"}, {"GSSAPIAuthentication", "no"}, {"KerberosAuthentication", "no"}, {"PermitEmptyPasswords", "no"},
		{"AllowGroups", loginGroup}, {"MaxAuthTries", "4"}, {"MaxSessions", "10"},
		{"ClientAliveInterval", "300"}, {"ClientAliveCountMax", "2"}, {"X11Forwarding", "no"}, {"AllowAgentForwarding", "no"},
	}
	if !p.Host.SSH.Forwarding {
		list = append(list, [][2]string{{"AllowTcpForwarding", "no"}, {"AllowStreamLocalForwarding", "no"}, {"PermitTunnel", "no"}, {"GatewayPorts", "no"}}...)
	}
	return list
}

// sshConfig is the drop-in. It is read first, and of a keyword that stands
// several times sshd takes the first.
func sshConfig(p *policy.Policy, f *Facts) (string, error) {
	var b strings.Builder
	b.WriteString("# Written by ringwall host apply, from the policy: a change here is drift, and reported.\n")
	if elsewhere, err := portsElsewhere(f); err != nil {
		return "", err
	} else if p.Host.SSH.Port != 0 && len(elsewhere) == 0 { // a port that stands twice is opened twice
		fmt.Fprintf(&b, "Port %d\n", p.Host.SSH.Port)
	}
	for _, list := range strongSSH {
		known, err := f.Algorithms(list.keyword)
		if err != nil {
			return "", err
		}
		both := slices.DeleteFunc(slices.Clone(list.names), func(name string) bool { return !slices.Contains(known, name) })
		if len(both) == 0 {
			return "", fmt.Errorf("this OpenSSH knows none of %s %s", list.keyword, strings.Join(list.names, ", "))
		}
		fmt.Fprintf(&b, "%s %s\n", list.keyword, strings.Join(both, ","))
	}
	always, once := sshAlways(p), sshOnce
	in, err := f.SSHD("", "")
	if err != nil {
		return "", err
	}
	if in["persourcepenalties"] != nil { // OpenSSH 9.8 and later shuts out by itself who comes to nothing: as our own look does
		once = append(slices.Clone(once), [2]string{"PerSourcePenaltyExemptList", penaltyFree(p)})
	}
	for _, kv := range slices.Concat(once, always) {
		fmt.Fprintf(&b, "%s %s\n", kv[0], kv[1])
	}
	b.WriteString("\n# Again, so that no Match block after this one loosens it.\nMatch all\n")
	for _, kv := range always {
		fmt.Fprintf(&b, "\t%s %s\n", kv[0], kv[1])
	}
	return b.String(), nil
}

// penaltyFree are this machine and whom host.allow never has shut out.
func penaltyFree(p *policy.Policy) string {
	list := []string{"127.0.0.0/8", "::1/128"}
	for _, prefix := range p.Host.Allow {
		list = append(list, prefix.Masked().String())
	}
	return strings.Join(list, ",")
}

func planSSH(p *policy.Policy, f *Facts) ([]Change, error) {
	changes, err := f.install("openssh-server")
	if err != nil {
		return nil, err
	}
	if len(changes) > 0 {
		return nil, errors.New("there is no OpenSSH server, so that nobody could confirm: apt install openssh-server")
	}
	if err := judgeSSH(p, f); err != nil {
		return nil, err
	}
	config, err := sshConfig(p, f)
	if err != nil {
		return nil, err
	}
	judge, err := sshdJudges(f)
	if err != nil {
		return nil, err
	}
	main, err := f.File(sshdConfig)
	if err != nil {
		return nil, err
	}
	read, err := readSSH(f)
	if err != nil {
		return nil, err
	}
	if moved, err := moves(p, f); err != nil {
		return nil, err
	} else if moved {
		read = Change{Title: "have systemd listen at that port, and sshd read it; who is signed in stays", Unit: &Unit{Name: sshSocket, Do: Restart}}
	}
	title, err := sshTitle(p, f)
	if err != nil {
		return nil, err
	}
	var files []Change
	if !includesFirst(main.Content) {
		files = append(files, Change{Title: "read the drop-ins before all else", File: &File{Path: sshdConfig, Mode: uint32(main.Mode.Perm()), Owner: main.Owner,
			Content: "Include " + sshdFolder + "\n" + main.Content, Check: judge, Reader: read.Unit}})
	}
	files = append(files, Change{Title: title, File: &File{Path: sshdDropIn, Mode: 0o600, Content: config, Check: judge, Reader: read.Unit}})
	for _, change := range files {
		more, err := f.need(change)
		if err != nil {
			return nil, err
		}
		changes = append(changes, more...)
	}
	if len(changes) == 0 {
		return nil, nil
	}
	return append(changes, read), nil
}

// moves reports whether the socket that follows sshd's files has to be started
// again, and sshd with it, to listen where the policy says.
func moves(p *policy.Policy, f *Facts) (bool, error) {
	follows, err := f.SSHSocketFollows()
	if err != nil || !follows {
		return false, err
	}
	from, to, err := sshMoves(p, f)
	return len(from)+len(to) > 0, err
}

// sshMoves are the ports where SSH listens and is not to, and those where it is to and
// does not.
func sshMoves(p *policy.Policy, f *Facts) (from, to []int, err error) {
	want, err := sshPorts(p, f)
	if err != nil {
		return nil, nil, err
	}
	now, err := f.SSHPorts()
	if err != nil || !slices.ContainsFunc(want, func(n int) bool { return !slices.Contains(now, n) }) {
		return nil, nil, err
	}
	without := func(all, some []int) []int {
		return slices.DeleteFunc(slices.Clone(all), func(n int) bool { return slices.Contains(some, n) })
	}
	return without(now, want), without(want, now), nil
}

// sshTitle says what the drop-in does, and above all where one has to come in then.
func sshTitle(p *policy.Policy, f *Facts) (string, error) {
	title := "keys only, no root, strong algorithms"
	from, to, err := sshMoves(p, f)
	if len(to) > 0 {
		title += "; SSH moves to port " + joined(to)
		if len(from) > 0 {
			title += ", and no longer listens at " + joined(from)
		}
	}
	return title, err
}

// sshPorts are where SSH listens once this control is in force, which is where it
// listens now unless the policy names a port; or named one, whose line goes from our
// drop-in: then it is where the other files say, or 22.
func sshPorts(p *policy.Policy, f *Facts) ([]int, error) {
	_, waived := p.Waived(sshControl)
	if p.Host.SSH.Port != 0 && !waived {
		return []int{p.Host.SSH.Port}, nil
	}
	now, err := f.SSHPorts()
	if err != nil || waived {
		return now, err
	}
	all, err := f.SSHKeywords()
	if err != nil {
		return nil, err
	}
	named := slices.IndexFunc(all, func(k Keyword) bool { return k.Name == "port" && k.File == sshdDropIn })
	if named < 0 {
		return now, nil
	}
	socket, err := f.SSHSocket()
	if err != nil {
		return nil, err
	}
	if follows, err := f.SSHSocketFollows(); err != nil || socket && !follows { // the socket says where
		return now, err
	}
	var ports []int
	for _, k := range all {
		switch {
		case k.Name == "listenaddress":
			return nil, fmt.Errorf("host.ssh.port is no longer in the policy, and it is not seen where SSH listens without it: %s; write host.ssh.port: %s to stay there, or remove the line", k, all[named].Value)
		case k.Name == "port" && k.File != sshdDropIn:
			n, err := strconv.Atoi(k.Value)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", k, err)
			}
			ports = append(ports, n)
		}
	}
	if len(ports) == 0 {
		ports = []int{22}
	}
	return ports, nil
}

// readSSH is the change that has sshd read its files again.
func readSSH(f *Facts) (Change, error) {
	socket, err := f.SSHSocket()
	do := Reload
	if socket { // on a reload sshd forgets the socket that systemd gave it, and listens at port 22 instead
		do = Restart
	}
	return Change{Title: "have sshd read it; who is signed in stays", Unit: &Unit{Name: "ssh.service", Do: do}}, err
}

// includesFirst reports whether the drop-ins are read before any keyword of the
// main file.
func includesFirst(config string) bool {
	for line := range strings.Lines(config) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		field := strings.Fields(line)
		return strings.EqualFold(field[0], "Include") && slices.Contains(field[1:], sshdFolder)
	}
	return false
}

// judgeSSH finds what would lock somebody out, or be taken away silently.
func judgeSSH(p *policy.Policy, f *Facts) error {
	if who := f.Caller(); who != "" && who != "root" && who != p.Host.DeployUser && !slices.Contains(p.Host.SSH.Users, who) {
		return fmt.Errorf("you came in as %s, who could not sign in any more: add host.ssh.users: [%s], or make it host.deploy_user", who, who)
	}
	now, err := f.SSHD("", "")
	if err != nil {
		return err
	}
	if m := now.Get("authenticationmethods"); m != "any" && m != "publickey" && m != "" {
		return fmt.Errorf("sshd asks for more than a key (AuthenticationMethods %s), which this control would take away: waive host/ssh, or remove the line", m)
	}
	ours := map[string]bool{}
	for _, list := range strongSSH {
		ours[strings.ToLower(list.keyword)] = true
	}
	for _, kv := range slices.Concat(sshOnce, sshAlways(p)) {
		ours[strings.ToLower(kv[0])] = true
	}
	all, err := f.SSHKeywords()
	if err != nil {
		return err
	}
	for _, k := range all {
		if k.File < sshdDropIn && k.File != sshdConfig && ours[k.Name] {
			return fmt.Errorf("%s is read before %s, and sshd takes what it reads first: rename the file, or remove the line", k, sshdDropIn)
		}
	}
	if err := judgeSSHMatches(f); err != nil {
		return err
	}
	if err := judgeSSHSocket(f, now); err != nil {
		return err
	}
	return judgeSSHPort(p, f)
}

// judgeSSHMatches finds what nobody could see to be in force afterwards, so that
// everything would be undone.
func judgeSSHMatches(f *Facts) error {
	_, unseen := f.SSHMatches()
	if unseen == nil {
		return nil
	}
	beside, err := besideOurs(f)
	if err == nil && beside != nil {
		err = fmt.Errorf("whom sshd's Match lines are for is not seen (%w), and %v may count beside ours: correct one of the two, or waive host/ssh", unseen, beside)
	}
	return err
}

// besideOurs is a line by which a Match block may count beside that of our drop-in: a
// block that sshd reads before it; AllowGroups, of which sshd adds up all lines; or an
// Include, whose files may have either. Nil is none.
func besideOurs(f *Facts) (*Keyword, error) {
	all, err := f.SSHKeywords()
	for _, k := range all {
		switch {
		case k.File == sshdDropIn:
		case k.Name == "match" && k.File != sshdConfig && k.File < sshdDropIn,
			k.Name == "allowgroups",
			k.Name == "include" && !(k.File == sshdConfig && k.Value == sshdFolder):
			return &k, nil
		}
	}
	return nil, err
}

// oursDecides reports whether the Match block of our drop-in says for everybody what
// sshAlways has, whatever other blocks say, since sshd reads it before them.
func oursDecides(p *policy.Policy, f *Facts) bool {
	if beside, err := besideOurs(f); err != nil || beside != nil {
		return false
	}
	main, err := f.File(sshdConfig)
	if err != nil || !includesFirst(main.Content) {
		return false
	}
	lines, err := f.sshKeywordsOf(sshdDropIn)
	block := func(k Keyword) bool { return k.Name == "match" || k.Name == "include" }
	i := slices.IndexFunc(lines, block)
	if err != nil || i < 0 || lines[i].Name != "match" || lines[i].Value != "all" || slices.ContainsFunc(lines[i+1:], block) {
		return false
	}
	for _, kv := range sshAlways(p) {
		j := slices.IndexFunc(lines[i+1:], func(k Keyword) bool { return k.Name == strings.ToLower(kv[0]) })
		if j < 0 || lines[i+1+j].Value != kv[1] {
			return false
		}
	}
	return true
}

// judgeSSHSocket finds a port that is written and not listened at yet: the
// firewall would close it, and nobody would get in after the machine's next start.
func judgeSSHSocket(f *Facts, written SSHD) error {
	follows, err := f.SSHSocketFollows()
	if err != nil || !follows {
		return err
	}
	ports, err := f.SSHPorts()
	if err != nil {
		return err
	}
	for _, port := range written["port"] {
		if n, err := strconv.Atoi(port); err != nil || !slices.Contains(ports, n) {
			return fmt.Errorf("sshd's files say port %s, and ssh.socket listens at %s, until its next start: remove the line, or: systemctl daemon-reload && systemctl restart ssh.socket, and come in there", port, joined(ports))
		}
	}
	return nil
}

// portsElsewhere are the lines with a port that are not ours.
func portsElsewhere(f *Facts) ([]Keyword, error) {
	all, err := f.SSHKeywords()
	return slices.DeleteFunc(all, func(k Keyword) bool { return k.Name != "port" || k.File == sshdDropIn }), err
}

func judgeSSHPort(p *policy.Policy, f *Facts) error {
	want := p.Host.SSH.Port
	if want == 0 {
		return nil
	}
	elsewhere, err := portsElsewhere(f)
	if err != nil {
		return err
	}
	for _, k := range elsewhere {
		if k.Value != strconv.Itoa(want) {
			return fmt.Errorf("host.ssh.port is %d, and sshd would listen at both: %s; remove the line or the key", want, k)
		}
	}
	socket, err := f.SSHSocket()
	if err != nil || !socket {
		return err
	}
	if follows, err := f.SSHSocketFollows(); err != nil || follows {
		return err
	}
	ports, err := f.SSHPorts()
	if err == nil && !slices.Contains(ports, want) {
		err = fmt.Errorf("systemd listens for SSH, at %s, as ssh.socket says, and host.ssh.port is %d: remove the key, or move the socket first: systemctl edit ssh.socket", joined(ports), want)
	}
	return err
}

func joined(ports []int) string {
	var words []string
	for _, n := range ports {
		words = append(words, strconv.Itoa(n))
	}
	return strings.Join(words, ", ")
}

// readySSH asks the server as it is, before passwords go, whether it takes the
// owner's key.
func readySSH(p *policy.Policy, f *Facts) error {
	_, _, err := accepted(p, f)
	return err
}

// errNoKey is in the error when an SSH server answers, and takes no key.
var errNoKey = errors.New("the SSH server takes no key")

// accepted returns the addresses of the SSH server and the methods that it
// offers there, and an error unless it takes one of the deploy user's keys at
// each.
func accepted(p *policy.Policy, f *Facts) (addresses, methods []string, err error) {
	found, err := ownersKeys(p, f)
	if err != nil {
		return nil, nil, err
	}
	if addresses, err = f.SSHAddresses(); err != nil {
		return nil, nil, err
	}
	for _, at := range addresses {
		takes := false
		for _, key := range found {
			o, err := f.Offer(at, p.Host.DeployUser, key)
			if err != nil {
				return nil, nil, err
			}
			for _, m := range o.Methods {
				if !slices.Contains(methods, m) {
					methods = append(methods, m)
				}
			}
			if takes = o.Accepts; takes {
				break
			}
		}
		if !takes {
			return addresses, methods, fmt.Errorf("%w of %s's at %s: look for AllowUsers, DenyUsers, AllowGroups and AuthorizedKeysFile in %s and %s, and at journalctl -u ssh",
				errNoKey, p.Host.DeployUser, at, sshdConfig, sshdFolder)
		}
	}
	return addresses, methods, nil
}

func verifySSH(p *policy.Policy, f *Facts) check.Finding {
	const want, fix = "only publickey is offered, root is refused, algorithms are strong", "ringwall host apply; if it stays, a file in /etc/ssh/sshd_config.d is read before ours"
	everybody, err := f.SSHD("", "192.0.2.1")
	if err != nil {
		return check.Unseen("%v", err)
	}
	matches, err := f.SSHMatches()
	but := ""
	switch {
	case err != nil && !oursDecides(p, f):
		return check.Unseen("%v", err)
	case err != nil:
		but = fmt.Sprintf("; other Match lines come after ours, and were not asked about: %v", err)
	}
	var wrong []string
	for _, from := range append([]SSHFrom{{User: "root"}, {User: p.Host.DeployUser}}, matches...) {
		s, err := f.SSHDFrom(from)
		if err != nil {
			return check.Unseen("%v", err)
		}
		for _, kv := range sshAlways(p) {
			name := strings.ToLower(kv[0])
			got, seen := s[name]
			switch {
			case slices.Equal(got, everybody[name]): // said below
			case seen && !slices.Equal(got, []string{kv[1]}) && !stricter(name, got, kv[1]):
				wrong = append(wrong, fmt.Sprintf("for %v, %s is %s", from, name, strings.Join(got, " ")))
			}
		}
	}
	for _, kv := range sshAlways(p) {
		name := strings.ToLower(kv[0])
		got, seen := everybody[name]
		switch {
		case seen && !slices.Equal(got, []string{kv[1]}):
			wrong = append(wrong, fmt.Sprintf("%s is %s", name, strings.Join(got, " ")))
		case !seen && name == "allowgroups" && everybody["allowusers"] == nil:
			wrong = append(wrong, "any account may sign in")
		}
	}
	for _, list := range strongSSH {
		name := strings.ToLower(list.keyword)
		weak := slices.DeleteFunc(strings.Split(everybody.Get(name), ","), func(a string) bool { return slices.Contains(list.names, a) })
		if len(weak) > 0 {
			wrong = append(wrong, fmt.Sprintf("%s has %s", name, some(weak)))
		}
	}
	if len(wrong) > 0 {
		return check.Failed(strings.Join(wrong, "; "), want, fix)
	}
	switch _, to, err := sshMoves(p, f); {
	case err != nil:
		return check.Unseen("%v", err)
	case len(to) > 0:
		return check.Failed(fmt.Sprintf("SSH does not listen at %s", joined(to)), fmt.Sprintf("it listens at %s", joined(to)), fix)
	}
	// The files may say so and the process not have read them.
	addresses, methods, err := accepted(p, f)
	switch {
	case errors.Is(err, errNoKey):
		return check.Failed(err.Error(), want, fix)
	case err != nil:
		return check.Unseen("%v", err)
	case !slices.Equal(methods, []string{"publickey"}):
		return check.Failed("the running server offers "+strings.Join(methods, ", "), want, "systemctl reload ssh")
	}
	return check.Passed("sshd -T, and the server at %s offers publickey alone and takes the key of %s%s", strings.Join(addresses, " and "), p.Host.DeployUser, but)
}

// stricter reports a number that is less than what is wanted, and no worse.
func stricter(name string, got []string, want string) bool {
	if len(got) != 1 || !slices.Contains([]string{"maxauthtries", "maxsessions", "clientaliveinterval", "clientalivecountmax"}, name) {
		return false
	}
	n, err1 := strconv.Atoi(got[0])
	most, err2 := strconv.Atoi(want)
	return err1 == nil && err2 == nil && n <= most && (n > 0 || !strings.HasPrefix(name, "clientalive")) // 0 is never
}

// some names the first of many.
func some(names []string) string {
	if len(names) < 3 {
		return strings.Join(names, " and ")
	}
	return fmt.Sprintf("%s and %d more", names[0], len(names)-1)
}
