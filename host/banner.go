package host

import (
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/policy"
)

const (
	bannerDropIn = "/etc/ssh/sshd_config.d/01-ringwall-banner.conf"
	bannerText   = `This is a private system. Access is restricted to authorized users.
What is done here is logged and may be used as evidence. Unauthorized access is
prohibited and will be prosecuted. Leave now if you do not consent to this.
`
)

// bannerFiles are shown before anybody signs in: over SSH, and at a console.
var bannerFiles = []string{"/etc/issue.net", "/etc/issue"}

var banner = Control{
	Meta: check.Meta{
		ID:    "host/banner",
		Title: "Who comes to the door reads that it is private, and not what system it is",
		Why:   "a name and a version choose the attack, and an intruder says that nothing told him to stay out",
		Ref:   "CIS Debian 12, 1.6; sshd_config(5), Banner and DebianBanner; blueprint H7",
	},
	Plan: func(_ *policy.Policy, f *Facts) ([]Change, error) {
		var changes []Change
		for _, path := range bannerFiles {
			more, err := f.need(Change{Title: "say that it is private: " + path, File: &File{Path: path, Mode: 0o644, Content: bannerText}})
			if err != nil {
				return nil, err
			}
			changes = append(changes, more...)
		}
		judge, err := sshdJudges(f)
		if err != nil {
			return nil, err
		}
		more, err := f.need(Change{Title: "show it over SSH", File: &File{Path: bannerDropIn, Mode: 0o600,
			Content: "# Written by ringwall host apply.\nBanner " + bannerFiles[0] + "\nDebianBanner no\n", Check: judge}})
		if err != nil || len(more) == 0 {
			return changes, err
		}
		read, err := readSSH(f)
		return append(append(changes, more...), read), err
	},
	Verify: verifyBanner,
}

func verifyBanner(_ *policy.Policy, f *Facts) check.Finding {
	const want, fix = "a text without the system's name, before anybody signs in", "ringwall host apply"
	s, err := f.SSHD("", "")
	if err != nil {
		return check.Unseen("%v", err)
	}
	paths := []string{s.Get("banner"), "/etc/issue"}
	if paths[0] == "none" || paths[0] == "" {
		return check.Failed("sshd -T: no banner", want, fix)
	}
	if s.Get("debianbanner") == "yes" {
		return check.Failed("sshd -T: debianbanner yes: it names the version of its package", want, fix)
	}
	sys, err := f.System()
	if err != nil {
		return check.Unseen("%v", err)
	}
	for _, path := range paths {
		file, err := f.File(path)
		switch text := strings.ToLower(file.Content); {
		case err != nil:
			return check.Unseen("%v", err)
		case strings.TrimSpace(text) == "":
			return check.Failed(path+" is empty", want, fix)
		case strings.Contains(text, sys.ID), strings.Contains(text, `\`): // agetty's escapes, such as \S
			return check.Failed(path+" names the system", want, fix)
		}
	}
	return check.Passed("sshd -T shows %s, which does not name the system", paths[0])
}
