package host

import (
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/policy"
)

// unusedModules are protocols and file systems that no API server speaks, and
// that any user can have the kernel load by asking for a socket of theirs.
var unusedModules = []string{
	"dccp", "sctp", "rds", "tipc", "n_hdlc", "ax25", "netrom", "x25", "rose", "decnet", "econet", "af_802154", "ipx", "appletalk", "psnap", "p8023", "p8022", "can", "atm",
	"bluetooth", "caif_socket", "ieee802154_socket", "kcm", "llc2", "mISDN_core", "n_gsm", "nfc", "phonet", "qrtr", "rxrpc", "smc",
	"cramfs", "freevxfs", "jffs2", "hfs", "hfsplus", "firewire_ohci", "usb_storage",
}

var protocols = Control{
	Meta: check.Meta{
		ID:    "host/protocols",
		Title: "Network protocols and file systems that nobody uses cannot be loaded",
		Why:   "a socket of a forgotten protocol loads code with a known hole into the kernel",
		Ref:   "CIS Debian 12, 1.1.1 and 3.2; modprobe.d(5); blueprint H7, T8",
	},
	Plan: func(_ *policy.Policy, f *Facts) ([]Change, error) {
		loaded, err := f.LoadedModules()
		if err != nil {
			return nil, err
		}
		var b strings.Builder
		b.WriteString("# Written by ringwall host apply: none of these is loaded, by name or by itself.\n")
		for _, name := range unusedModules {
			if _, there := loaded[name]; !there { // else the machine may not start without it
				b.WriteString("install " + name + " /bin/false\nblacklist " + name + "\n")
			}
		}
		kmod, err := f.install("kmod")
		if err != nil {
			return nil, err
		}
		file, err := f.need(Change{Title: "never load unused protocols and file systems", File: &File{Path: "/etc/modprobe.d/ringwall.conf", Mode: 0o644, Content: b.String()}})
		return append(kmod, file...), err
	},
	Verify: verifyProtocols,
}

func verifyProtocols(_ *policy.Policy, f *Facts) check.Finding {
	said, err := f.ask(askModprobe)
	if err != nil {
		return check.Unseen("%v", err)
	}
	closed := map[string]bool{}
	for line := range strings.Lines(said) {
		if word := strings.Fields(line); len(word) > 2 && word[0] == "install" {
			// modprobe writes either name of a module with - or _, and takes the first line.
			name := strings.ReplaceAll(word[1], "-", "_")
			if _, seen := closed[name]; !seen {
				closed[name] = word[2] == "/bin/false" || word[2] == "/bin/true"
			}
		}
	}
	loaded, err := f.LoadedModules()
	if err != nil {
		return check.Unseen("%v", err)
	}
	var open, used, idle []string
	for _, name := range unusedModules {
		switch uses, there := loaded[name]; {
		case there && uses > 0:
			used = append(used, name)
		case there:
			idle = append(idle, name)
		case !closed[name]:
			open = append(open, name)
		}
	}
	kind, err := f.Container()
	switch {
	case err != nil:
		return check.Unseen("%v", err)
	case len(open) > 0:
		return check.Failed("modprobe would load "+strings.Join(open, ", "), "modprobe --showconfig has an install line of /bin/false for each", "ringwall host apply")
	case kind != "":
		return notOurs(kind, "modprobe refuses them here, and the modules are those")
	}
	builtin, err := f.BuiltinModules()
	if err != nil {
		return check.Unseen("whether one is built into the kernel: %v", err)
	}
	var within []string
	for _, name := range unusedModules {
		if builtin[name] {
			within = append(within, name)
		}
	}
	switch {
	case len(within) > 0:
		return check.Unseen("built into this kernel, where modprobe refuses nothing: %s; whether a socket or a mount of theirs works depends on the kernel: take a kernel of the distribution, or waive host/protocols with that reason", strings.Join(within, ", "))
	case len(idle) > 0:
		return check.Unseen("loaded before, and idle as far as the kernel says: %s; when nothing needs it: modprobe -r %s, then ringwall host apply", strings.Join(idle, ", "), idle[0])
	case len(used) > 0:
		return check.Passed("none is built in, and modprobe refuses all but what is in use: %s", strings.Join(used, ", "))
	}
	return check.Passed("modprobe refuses %d modules, and none of them is loaded or built in", len(unusedModules))
}
