package host

import (
	"strconv"
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/policy"
)

const loginDefs = "/etc/login.defs"

var umask = Control{
	Meta: check.Meta{
		ID:    "host/umask",
		Title: "A new file is closed to strangers",
		Why:   "a dump or a copied secret that anybody on the server can read is read by the first service that is taken over",
		Ref:   "CIS Debian 12, 5.4.3; login.defs(5); blueprint H7",
	},
	Plan: func(_ *policy.Policy, f *Facts) ([]Change, error) {
		changes, err := f.need(Change{Title: "close new files to strangers, in shells", File: &File{Path: "/etc/profile.d/ringwall.sh", Mode: 0o644,
			Content: "# Written by ringwall host apply.\numask 027\n"}})
		if err != nil {
			return nil, err
		}
		file, err := f.File(loginDefs)
		if err != nil || !file.Exists {
			return changes, err
		}
		more, err := f.need(Change{Title: "and where PAM sets the mask", File: &File{Path: loginDefs, Mode: uint32(file.Mode.Perm()), Owner: file.Owner, Content: withUmask(file.Content)}})
		return append(changes, more...), err
	},
	Verify: func(_ *policy.Policy, f *Facts) check.Finding {
		said, err := f.ask(askUmask)
		if err != nil {
			return check.Unseen("%v", err)
		}
		said = strings.TrimSpace(said)
		mask, err := strconv.ParseUint(said, 8, 32)
		switch {
		case err != nil:
			return check.Unseen("a login shell says umask %q", said)
		case mask&0o027 != 0o027:
			return check.Failed("a login shell has umask "+said, "027 or tighter", "ringwall host apply; if it stays, a file in /etc/profile.d sets it after ours")
		}
		return check.Passed("a login shell has umask %s", said)
	},
}

// withUmask is login.defs with a mask of 027 in it, where it was.
func withUmask(content string) string {
	var b strings.Builder
	found := false
	for line := range strings.Lines(content) {
		if field := strings.Fields(line); len(field) > 1 && field[0] == "UMASK" {
			if found {
				continue
			}
			if found = true; field[1] != "027" && field[1] != "077" {
				line = "UMASK\t\t027\n"
			}
		}
		b.WriteString(line)
	}
	if !found {
		if content != "" && !strings.HasSuffix(content, "\n") {
			b.WriteByte('\n')
		}
		b.WriteString("UMASK\t\t027\n")
	}
	return b.String()
}
