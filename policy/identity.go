package policy

// Issuer is the iss of access tokens: identity.issuer, or https:// and the
// site.
func (p *Policy) Issuer() string {
	if p.Identity.Issuer != "" {
		return p.Identity.Issuer
	}
	return "https://" + p.Site
}

// Audience is the aud of access tokens: identity.audience, or the issuer.
func (p *Policy) Audience() string {
	if p.Identity.Audience != "" {
		return p.Identity.Audience
	}
	return p.Issuer()
}
