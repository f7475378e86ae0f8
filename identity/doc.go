// Package identity keeps the accounts of one site and knows who calls: it signs
// people in, continues and ends their sessions, and makes and verifies access
// tokens.
//
// New gives a Service of a policy, a store and a key ring. Its Handler serves
// the routes of policy.Builtin behind the app ring, its Verifier tells the ring
// who calls, and Run does the work in the background. ringwall.Deps takes it as
// Identity; app.Deps takes the two parts.
//
//	POST   /api/auth/register          name, email, password, [invite]    201 {next}
//	POST   /api/auth/verify-email      token, password                    204
//	POST   /api/auth/login             email, password, [token_delivery]  200 {access_token, token_type, expires_in}
//	POST   /api/auth/refresh           cookie, or refresh_token           200 as login
//	POST   /api/auth/logout            cookie, or refresh_token           204
//	POST   /api/auth/password          password, new_password             204
//	POST   /api/auth/password/forgot   email                              204
//	POST   /api/auth/password/reset    token, password                    204
//	GET    /api/auth/sessions                                             200 {sessions}
//	DELETE /api/auth/sessions          all but the one that asks          204
//	DELETE /api/auth/sessions/{id}                                        204
//	GET    /api/me                                                        200 the account
//	DELETE /api/me                     password                           204
//	GET    /api/admin/users            ?limit=50&after=ID, or ?email=     200 {users, next}
//	GET    /api/admin/users/{id}                                          200 the account
//	POST   /api/admin/users/{id}/lock                                     200 the account
//	POST   /api/admin/users/{id}/unlock                                   200 the account
//	PUT    /api/admin/users/{id}/roles roles                              200 the account
//	DELETE /api/admin/users/{id}/sessions                                 204
//	GET    /api/admin/invites          ?limit=50&after=EMAIL              200 {invites, next}
//	POST   /api/admin/invites          email, [roles]                     201 {expires}
//	DELETE /api/admin/invites          ?email=                            204
//	GET    /.well-known/jwks.json                                         200 the public keys
//
// Those under /api/admin/ take the permission accounts:manage. What is wrong
// with an input is answered 400 with a list, a secret that is wrong 400 or 401,
// one that was not looked at for too many failures 429 with Retry-After, and
// 503 while the store is out or too many passwords are being checked. No answer
// may be stored by caches, but the keys.
//
// An access token is a JWT as RFC 9068 profiles it, signed with Ed25519 and
// nothing else; who holds the public keys can verify it. A refresh token is
// opaque, works once, and is in a cookie that no script reads, or in the body
// for a client that signs in with "token_delivery": "body".
//
// What ends sessions, and their access tokens at once: logout, DELETE of
// sessions, a lock, a reset of the password, a change of it (all others), a
// role that is taken away, deletion, and a refresh token that is used again
// after its successor. In another process of the same store it takes up to a
// second. A role that is given counts from the next refresh on.
//
// What a stranger does not learn, neither from answers nor from their time: if
// an address has an account, and how it is with it. While identity.verify_email
// is false this cannot hold: who registers with a free address can sign in.
package identity
