// Package edge is ring 2: what listens, and what is behind it. It opens the
// HTTPS listener and the plain one that only redirects, loads the site's
// certificate, and passes requests on to the upstream.
//
// It does not know the app ring. What the upstream is told of a request comes
// through Deps, so that the edge also runs alone.
package edge
