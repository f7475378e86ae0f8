package identity

import (
	"github.com/ringwall/ringwall/check"
)

// auditChain: the trail is on the server.
var auditChain = Control{
	Meta: check.Meta{
		ID:    "identity/audit-chain",
		Title: "What happened to accounts is recorded so that a change of the record is found",
		Why:   "Who gets in deletes the trace; a chain of hashes shows that it was done.",
		Ref:   "ASVS 5.0 V16.4.2; CWE-778; blueprint A8, checklist 10",
	},
	Inside: "ringwall audit verify",
}
