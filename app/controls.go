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
	hsts, // before all that refuse, and once it is known whether the client speaks HTTPS
	canonicalPath,
	knownMethod,
	knownHost,
	headerNames,

	csp,
	frameOptions,
	nosniff,
	referrerPolicy,
	permissionsPolicy,
	isolation,
	legacyHeaders,
	altSvc,
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
	operations,
	requestSchema,
	compression,
}
