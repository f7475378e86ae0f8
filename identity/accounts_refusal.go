package identity

import (
	"net/http"
	"strings"
)

// A Refusal says why an operation was not carried out. Message is for whoever
// asked; it holds nothing of what was asked.
type Refusal struct {
	Status  int    // of HTTP: 400, 403, 404 or 409
	Code    string // stable word
	Path    string // on 400: JSON Pointer to the value
	Message string // a sentence with its full stop, or one without its subject, which Path names
}

func (r *Refusal) Error() string {
	if field, _, _ := strings.Cut(strings.TrimPrefix(r.Path, "/"), "/"); field != "" && !strings.HasSuffix(r.Message, ".") {
		return "the " + strings.ReplaceAll(field, "_", " ") + " " + r.Message
	}
	return r.Message
}

var (
	errNoAccount = &Refusal{Status: http.StatusNotFound, Code: "not_found", Message: "There is no such account."}
	errNoSession = &Refusal{Status: http.StatusNotFound, Code: "not_found", Message: "There is no such session, or it has ended."}
	errNoInvite  = &Refusal{Status: http.StatusNotFound, Code: "no_invite", Message: "There is no invitation to this address: it was never made, was used, withdrawn, or has expired."}
	errTaken     = &Refusal{Status: http.StatusConflict, Code: "exists", Message: "An account with this address is there already."}
	errLast      = &Refusal{Status: http.StatusConflict, Code: "last_admin",
		Message: "This is the last account that can manage accounts. Give another one a role for it first."}
	errManager = &Refusal{Status: http.StatusForbidden, Code: "manager",
		Message: "An account that manages others is changed by one with all permissions, or on the server."}
	errNotGiver = &Refusal{Status: http.StatusForbidden, Code: "not_yours",
		Message: "You can give and take only roles that you have yourself."}
)
