package host

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// The queries. Each is a command that reads and changes nothing, whatever its
// arguments are; they come after the fixed words below.
const (
	askSSHD      Query = "sshd -T"
	askSSHDApart Query = "sshd -T, with a folder of its own"
	askSSH       Query = "ssh -Q"
	askUnit      Query = "systemctl show"
	askTimer     Query = "systemctl show, of a timer"
	askCalendar  Query = "systemd-analyze calendar"
	askPackage   Query = "dpkg-query"
	askPasswd    Query = "getent passwd"
	askAccounts  Query = "getent passwd, of all"
	askPasswords Query = "passwd -S, of all"
	askHeld      Query = "apt-mark showhold"
	askGroup     Query = "getent group"
	askGroups    Query = "id -nG"
	askPassword  Query = "passwd -S"
	askSudo      Query = "sudo -l"
	askListeners Query = "ss"
	askUFW       Query = "ufw status"
	askUFWAdded  Query = "ufw show added"
	askFilter4   Query = "iptables -S"
	askFilter6   Query = "ip6tables -S"
	askSets      Query = "ipset save"
	askRoutes4   Query = "ip -4 route"
	askRoutes6   Query = "ip -6 route"
	askRuleset   Query = "nft list ruleset"
	askJails     Query = "fail2ban-client status"
	askJail      Query = "fail2ban-client get"
	askJournal   Query = "journalctl"
	askApt       Query = "apt-config dump"
	askAptPolicy Query = "apt-cache policy"
	askInstall   Query = "apt-get install, as if"
	askRotation  Query = "logrotate --debug"
	askContainer Query = "systemd-detect-virt"
	askModprobe  Query = "modprobe --showconfig"
	askExposure  Query = "systemd-analyze security"
	askReach     Query = "a datagram from a unit's cgroup"
	askTime      Query = "timedatectl show"
	askManager   Query = "systemctl show, of systemd itself"
	askUmask     Query = "umask of a login"
	askIdle      Query = "TMOUT of a login"
	askCoreLimit Query = "ulimit of a session"
	askCrontab   Query = "crontab -l, of nobody"
	askAt        Query = "atq, of nobody"
	askChanged   Query = "stat, of what a link leads to"
	askNginx     Query = "ringwall nginx diff"
	askParts     Query = "ringwall nginx parts"
)

var queries = map[Query][]string{
	askSSHD:      {"sshd", "-T"},
	askSSHDApart: append(slices.Clone(sshdApart), "-T"),
	askSSH:       {"ssh", "-Q"},
	askUnit:      {"systemctl", "show", "--no-pager"},
	// Its times are this machine's, and UTC is one that everybody reads alike.
	askTimer:     {"env", "TZ=UTC", "systemctl", "show", "--no-pager"},
	askCalendar:  {"env", "TZ=UTC", "systemd-analyze", "calendar", "--iterations=20", "--"},
	askPackage:   {"dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}\n", "--"},
	askPasswd:    {"getent", "passwd", "--"},
	askAccounts:  {"getent", "passwd"},
	askPasswords: {"passwd", "-S", "-a"},
	askHeld:      {"apt-mark", "showhold"},
	askGroup:     {"getent", "group", "--"},
	askGroups:    {"id", "-nG", "--"},
	askPassword:  {"passwd", "-S", "--"},
	askSudo:      {"sudo", "-n", "-l", "-U"},
	askListeners: {"ss", "-Hlntup"},
	askUFW:       {"ufw", "status", "verbose"},
	askUFWAdded:  {"ufw", "show", "added"},
	askFilter4:   {"iptables", "-S"},
	askFilter6:   {"ip6tables", "-S"},
	askSets:      {"ipset", "save"},
	askRoutes4:   {"ip", "-j", "-4", "route", "show", "table", "all"},
	askRoutes6:   {"ip", "-j", "-6", "route", "show", "table", "all"},
	askRuleset:   {"nft", "list", "ruleset"},
	askJails:     {"fail2ban-client", "status"},
	askJail:      {"fail2ban-client", "get"},
	askJournal:   {"journalctl", "-q", "--no-pager", "-b", "-n", "1", "-o", "json", "--"},
	askApt:       {"apt-config", "dump"},
	askAptPolicy: {"apt-cache", "policy"},
	askInstall:   {"apt-get", "--simulate", "--no-install-recommends", "-y", "install", "--"},
	askRotation:  {"logrotate", "--debug", "/etc/logrotate.conf"},
	askContainer: {"systemd-detect-virt", "--container"},
	askModprobe:  {"modprobe", "--showconfig"},
	askExposure:  {"systemd-analyze", "security", "--no-pager"},
	askReach:     {"bash", "-c", reach, "bash"},
	askTime:      {"timedatectl", "show", "--value", "--property=NTPSynchronized"},
	askManager:   {"systemctl", "show", "--no-pager", "--property=DefaultLimitCORE,DefaultLimitCORESoft"},
	askUmask:     {"env", "HOME=/nonexistent", "sh", "-l", "-c", "umask"},
	askIdle:      {"env", "-u", "TMOUT", "HOME=/nonexistent", "sh", "-l", "-c", "echo TMOUT is $TMOUT"},
	// The caller's own limit is lifted first, so that what is seen is PAM's.
	askCoreLimit: {"prlimit", "--core=unlimited:unlimited", "runuser", "-u", "nobody", "--", "sh", "-c", "ulimit -H -c"},
	askCrontab:   {"runuser", "-u", "nobody", "--", "crontab", "-l"},
	askAt:        {"runuser", "-u", "nobody", "--", "atq"},
	askChanged:   {"stat", "-L", "-c", "%Y", "--"},
	// With the policy that ringwall.service has. The program of this machine compares,
	// as only it knows what install writes: 0 is the same, 1 is not, else it could not.
	askNginx: {"ringwall", "nginx", "diff", "--policy", servicePolicy},
	askParts: {"ringwall", "nginx", "parts", "--policy", servicePolicy},
}

// sshdFolderOfItsOwn is where sshd locks its unprivileged half in, and without which
// it answers nothing. Where systemd listens in its place the first connection
// since the start makes it.
const sshdFolderOfItsOwn = "/run/sshd"

// sshdApart runs sshd where that folder is missing, with a /run of its own that
// nobody else sees and that goes with it.
var sshdApart = []string{"unshare", "--mount", "sh", "-c", `mount -t tmpfs -o mode=755 tmpfs /run && mkdir -m 755 ` + sshdFolderOfItsOwn + ` && exec sshd "$@"`, "sshd"}

// reach joins the cgroup of a unit, whose folder it is given, and says whether the
// kernel then takes a datagram to another machine, as it did before: systemd only
// says what it was told. The address is one that nobody has (RFC 5737), the port is
// discard. A socket belongs to the cgroup in which it was made.
const reach = `send() { (exec 3>/dev/udp/192.0.2.1/9 && echo >&3) 2>/dev/null && echo "$1 sent" || echo "$1 kept"; }
send before
for v in /sys/fs/cgroup/unified /sys/fs/cgroup; do [ -e "$v$1/cgroup.threads" ] && echo $$ >"$v$1/cgroup.procs" && send inside && exit 0; done
exit 1`

// Argv is the command line of a query.
func (q Query) Argv(args ...string) []string { return append(slices.Clone(queries[q]), args...) }

// A Refusal is the error of a query whose command ran and ended with a code
// other than 0, which for some is the answer "there is none".
type Refusal struct {
	Argv    []string
	Code    int
	Said    string // on standard error
	NotRoot bool   // who asked
}

var (
	noSystemd = regexp.MustCompile(`not been booted with systemd`)
	rootAlone = regexp.MustCompile(`(?i)permission denied|not permitted|(must|need to) be root|non-root|no hostkeys available|a password is required`)
	notThere  = regexp.MustCompile(`(\S+): not found$`)
)

// Error is one sentence where the reason is known, and else names the command in
// short: the evidence has the whole of it.
func (r *Refusal) Error() string {
	switch {
	case noSystemd.MatchString(r.Said):
		return "systemd does not run here: look on the server itself, not in a container"
	case r.NotRoot && rootAlone.MatchString(r.Said):
		return "only root sees it"
	case r.Code == 127 && notThere.MatchString(r.Said):
		return notThere.FindStringSubmatch(r.Said)[1] + " is not installed"
	}
	const long = 60
	argv := r.argv()
	command := strings.Join(argv, " ")
	if len(command) > long {
		command = argv[0] + " ... " + argv[len(argv)-1]
	}
	return r.says(command)
}

// Raw is what was typed and said, whole.
func (r *Refusal) Raw() string { return r.says(strings.Join(r.argv(), " ")) }

func (r *Refusal) says(command string) string {
	return fmt.Sprintf("%s: exit code %d: %s", command, r.Code, r.Said)
}

// argv is sshd's own where it ran apart.
func (r *Refusal) argv() []string {
	if len(r.Argv) > len(sshdApart) && slices.Equal(r.Argv[:len(sshdApart)], sshdApart) {
		return r.Argv[len(sshdApart):]
	}
	return r.Argv
}
