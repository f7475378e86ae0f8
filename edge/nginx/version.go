package nginx

import (
	"fmt"
	"regexp"
	"strconv"
)

// A Version is what decides how a policy is written for an nginx.
type Version struct {
	Major, Minor, Patch int
	OpenSSL             [2]int // that it runs with, major and minor; the zero one: not known
}

// The versions that are rendered for: those of Debian 11 to 13 and Ubuntu 20.04
// to 24.04, and what lies between.
var (
	Oldest = Version{Major: 1, Minor: 18}
	newest = Version{Major: 1, Minor: 30}
)

var (
	versionText = regexp.MustCompile(`(?:^|nginx/)(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?`)
	builtText   = regexp.MustCompile(`built with OpenSSL (\d+)\.(\d+)`)
	runningText = regexp.MustCompile(`running with OpenSSL (\d+)\.(\d+)`)
)

// ParseVersion reads what nginx -V says, or a number such as 1.22.1.
func ParseVersion(s string) (v Version, err error) {
	m := versionText.FindStringSubmatch(s)
	if m == nil {
		return v, fmt.Errorf("%.60q names no version of nginx, such as 1.22.1", s)
	}
	v.Major, v.Minor, v.Patch = number(m[1]), number(m[2]), number(m[3])
	for _, re := range []*regexp.Regexp{runningText, builtText} {
		if m := re.FindStringSubmatch(s); m != nil {
			v.OpenSSL = [2]int{number(m[1]), number(m[2])}
			break
		}
	}
	if !v.from(Oldest.Major, Oldest.Minor, 0) {
		return v, fmt.Errorf("nginx %s is older than %s, and is not rendered for", v, Oldest)
	}
	if v.from(newest.Major, newest.Minor, 0) {
		return v, fmt.Errorf("nginx %s is not known; --nginx-version 1.26.3 renders for the newest that is", v)
	}
	return v, nil
}

func number(s string) int {
	n, _ := strconv.Atoi(s) // digits, or "" for 0
	return n
}

func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch) }

// from reports whether v is that version or a later one.
func (v Version) from(major, minor, patch int) bool {
	for _, p := range [][2]int{{v.Major, major}, {v.Minor, minor}, {v.Patch, patch}} {
		if p[0] != p[1] {
			return p[0] > p[1]
		}
	}
	return true
}

// What differs.
func (v Version) http2Directive() bool   { return v.from(1, 25, 1) } // http2 on, in the place of listen ... http2
func (v Version) rejectsHandshake() bool { return v.from(1, 19, 4) } // ssl_reject_handshake
func (v Version) rotatesTickets() bool   { return v.from(1, 23, 2) } // keys of tickets, in the shared cache

// Hybrid reports whether it can agree on keys by X25519MLKEM768.
func (v Version) Hybrid() bool {
	return v.OpenSSL[0] > 3 || v.OpenSSL[0] == 3 && v.OpenSSL[1] >= 5
}

// StrictFraming reports whether it refuses header lines with blanks where none
// may be, and Content-Length beside Transfer-Encoding.
func (v Version) StrictFraming() bool { return v.from(1, 21, 1) }
