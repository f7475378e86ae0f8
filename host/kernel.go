package host

import (
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/policy"
)

// kernelSettings are those that a container shares with the machine around it.
// Not among them: what no process could take back before a restart, such as
// kernel.modules_disabled, and user namespaces, which sandboxes are made of.
var kernelSettings = []setting{
	{"kernel.randomize_va_space", "2", []string{"2"}},
	{"kernel.kptr_restrict", "2", []string{"2"}},
	{"kernel.dmesg_restrict", "1", []string{"1"}},
	{"kernel.yama.ptrace_scope", "1", []string{"1", "2", "3"}},
	{"kernel.perf_event_paranoid", "3", []string{"3", "4"}},
	{"kernel.unprivileged_bpf_disabled", "2", []string{"1", "2"}}, // 1 could not be undone
	{"net.core.bpf_jit_harden", "2", []string{"2"}},
	{"kernel.sysrq", "0", []string{"0"}},
	{"kernel.core_uses_pid", "1", []string{"1"}},
	{"dev.tty.ldisc_autoload", "0", []string{"0"}},
	{"fs.suid_dumpable", "0", []string{"0"}},
	{"fs.protected_hardlinks", "1", []string{"1"}},
	{"fs.protected_symlinks", "1", []string{"1"}},
	{"fs.protected_fifos", "2", []string{"2"}},
	{"fs.protected_regular", "2", []string{"2"}},
	{"vm.mmap_min_addr", "65536", []string{"65536"}},
}

var kernel = Control{
	Meta: check.Meta{
		ID:    "host/kernel",
		Title: "The kernel tells its addresses to nobody and lets no process read another",
		Why:   "a stranger with a foothold in one service looks for the rest in memory, logs and links of others",
		Ref:   "CIS Debian 12, 1.5; docs.kernel.org/admin-guide/sysctl; blueprint H7, T8",
	},
	Plan: func(_ *policy.Policy, f *Facts) ([]Change, error) {
		if kind, err := f.Container(); err != nil || kind != "" {
			return nil, err
		}
		return planSettings(f, "/etc/sysctl.d/61-ringwall-kernel.conf", "the kernel", kernelSettings, false)
	},
	Verify: func(_ *policy.Policy, f *Facts) check.Finding {
		kind, err := f.Container()
		if err != nil {
			return check.Unseen("%v", err)
		}
		if kind != "" {
			return notOurs(kind, "the kernel's settings are those")
		}
		return judgeSettings(f, kernelSettings)
	},
}
