package host

// First what lets the owner in, then what shuts others out, then the rest.
var controls = []Control{
	deployUser,
	accounts,
	sshServer,
	firewall,
	fail2ban,
	kernelBans,
	containers,
	updates,
	logs,
	networkStack,
	kernel,
	protocols,
	coreDumps,
	umask,
	idleShell,
	passwords,
	programs,
	jobs,
	mounts,
	clock,
	banner,
	service,
	nginxEdge,
	apiService,
}
