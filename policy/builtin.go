package policy

// KeepsAccounts reports whether Ringwall itself keeps accounts, signs callers
// in and makes their access tokens.
func (p *Policy) KeepsAccounts() bool {
	return p.Identity.Registration != "" && p.Identity.Registration != "off"
}

// ManageAccounts is the permission that the built-in routes for operators take.
const ManageAccounts = "accounts:manage"

// Builtin are the routes that Ringwall serves itself when it keeps accounts;
// otherwise there are none. They come before app.routes, so that no rule of the
// policy opens or closes them, and no request of theirs reaches the API.
func (p *Policy) Builtin() []Route {
	if !p.KeepsAccounts() {
		return nil
	}
	json := []string{"application/json"}
	return []Route{
		// A sign-in, a refresh and a reset come from nobody; the handlers of the
		// others ask for the caller by themselves.
		{Path: SignInPaths, Allow: []string{"anyone"}, Body: 16_000, ContentTypes: json},
		{Path: "/api/me", Allow: []string{"signed-in"}, Body: 16_000, ContentTypes: json},
		{Path: "/api/admin/users/", Allow: []string{ManageAccounts}, Body: 16_000, ContentTypes: json},
		{Path: "/api/admin/invites", Allow: []string{ManageAccounts}, Body: 16_000, ContentTypes: json},
		{Path: "/.well-known/jwks.json", Methods: []string{"GET"}, Allow: []string{"anyone"}},
	}
}

// SignInPaths is the pattern of the built-in routes that take secrets and
// answer tokens. The rate class auth counts them, whatever its paths are.
const SignInPaths = "/api/auth/"

// Overridden gives the indexes of the routes in app.routes that no request
// reaches, since built-in routes match all of theirs.
func (p *Policy) Overridden() (indexes []int) {
	builtin := p.Builtin()
	for i, r := range p.App.Routes {
		pattern, err := ParsePattern(r.Path)
		if err != nil {
			continue // Validate says so
		}
		left := methodSet(r.Methods)
		for _, b := range builtin {
			if first, err := ParsePattern(b.Path); err == nil && first.Covers(pattern) {
				left &^= methodSet(b.Methods)
			}
		}
		if left == 0 {
			indexes = append(indexes, i)
		}
	}
	return indexes
}
