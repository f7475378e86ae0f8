package app

import "slices"

// Controls is the app ring, outermost first: a request meets them in this
// order. A new control is one new file in this package and one line here.
func Controls() []Control { return slices.Clone(controls) }

var controls = []Control{
	accessLog,
	problemAnswers,
	framing,
	requestID,
	clientAddress,
	canonicalPath,
	knownMethod,
	knownHost,
	headerNames,

	hsts,
	csp,
	frameOptions,
	nosniff,
	referrerPolicy,
	permissionsPolicy,
	isolation,
	legacyHeaders,
	disclosure,

	cors,
	crossSite,
	bodyLimit,
	contentType,
	rateLimit,
	timeout,
	authentication,
	authorization,
	noStore,
	jsonHygiene,
	requestSchema,
	compression,
}
