package nginx

import (
	"path/filepath"

	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/policy"
)

// Private are the files besides the configuration that nginx reads and that
// depend on the secret of the policy, by their absolute names; and the one
// that says who is banned, which is nobody. Only root may read them.
func Private(p *policy.Policy) map[string]string {
	proof := p.Edge.Nginx.Proof.Reveal()
	return map[string]string{
		filepath.Join(p.Edge.Nginx.Folder, proofFile):  proofHeaderFile(edge.ProofHeader, proof),
		filepath.Join(p.Edge.Nginx.Folder, eventsFile): eventsFormat(proof),
		filepath.Join(p.Edge.Nginx.State, bansFile):    noBans,
	}
}
