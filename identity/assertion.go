package identity

import (
	"time"

	"github.com/ringwall/ringwall/bearer"
)

// AssertionType is the typ of an assertion. It is not that of an access token,
// so that neither is ever taken for the other (RFC 8725, 3.11); whoever verifies
// one must ask for it.
const AssertionType = "ringwall-assertion+jwt"

// assertionLife is how long an assertion is good. It stands in several requests,
// so nobody may take its jti for that of one.
const assertionLife = time.Minute

// AssertionAudience is the aud of assertions for the API behind a site. No
// access token has it.
func AssertionAudience(site string) string { return "upstream:" + site }

// Assert signs who calls, for the API behind: a JWT of a minute, with sub, sid,
// roles, iss, aud, iat and exp. The keys of the JWKS verify it. It refuses a
// caller that no access token could be of.
func (s *Service) Assert(c bearer.Caller) (string, error) {
	p := s.current.Load().policy
	return s.deps.Keys.Keys().Assert(Claims{Issuer: p.Issuer(), Audience: AssertionAudience(p.Site),
		Subject: c.Subject, Session: c.Session, Roles: c.Roles, IssuedAt: s.deps.Now()})
}

// Assert signs an assertion; see Service.Assert.
func (k *Keys) Assert(c Claims) (string, error) { return k.sign(AssertionType, c, assertionLife) }
