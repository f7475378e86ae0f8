package edge

import (
	"crypto/tls"
	"maps"
	"slices"
	"time"

	"github.com/ringwall/ringwall/policy"
)

// Facts are what the edge decides without the policy, for whoever writes it
// down for another program: the two must not differ.
type Facts struct {
	CipherSuites []uint16      // of TLS 1.2
	KeyExchanges []tls.CurveID // the preferred one first

	HeaderTime  time.Duration // for a handshake, and for a header
	IdleTime    time.Duration // between two requests of a connection
	BodyPause   time.Duration // in which a body, or the reading of an answer, may stand still
	HeaderBytes int           // of a request's header
	Streams     int           // at once in a connection

	Scanners ScannerNames
}

// ScannerNames is the list of what only scanners ask for, in lower case: see
// scanners_list.go for what each is.
type ScannerNames struct {
	Dotfiles, Scripts, Anywhere, AtRoot         []string
	Spares, Archives, DumpFolders, ArchiveNames []string
}

// Known are the Facts. They are the caller's own.
func Known() Facts {
	return Facts{
		CipherSuites: slices.Clone(cipherSuites), KeyExchanges: slices.Clone(keyExchanges),
		HeaderTime: headerTime, IdleTime: idleTime, BodyPause: grace, HeaderBytes: headerBytes, Streams: streams,
		Scanners: ScannerNames{
			Dotfiles: slices.Clone(dotfiles), Scripts: slices.Clone(scripts), Anywhere: slices.Clone(anywhere), AtRoot: slices.Clone(atRoot),
			Spares: slices.Clone(spares), Archives: slices.Clone(archives), DumpFolders: slices.Clone(dumpFolders), ArchiveNames: slices.Clone(archiveNames),
		},
	}
}

// Refusals are the details of what the edge refuses before there is a request,
// by status.
func Refusals() map[int]string { return maps.Clone(refused) }

// RefusalBody is the problem+json of such a refusal; about is a heading of
// docs/controls.md, such as edge-framing.
func RefusalBody(status int, detail, about string) []byte { return refusalBody(status, detail, about) }

// OnlyScannersAsk reports whether a path, decoded, is on the list for the site's
// name at one of its segments, and at which; -1 stands for the path as a whole.
func OnlyScannersAsk(site string) func(path string) (segment int, ok bool) {
	l := newScannerList(site)
	return func(path string) (int, bool) {
		j := l.find(path, "", 0)
		return j.segment, j.class != ""
	}
}

// Enforced reports whether a control of the edge is not waived at a time.
func Enforced(p *policy.Policy, control string, now time.Time) bool {
	w, ok := p.Waived(control)
	return !ok || w.Expired(now)
}
