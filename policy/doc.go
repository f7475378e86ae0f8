// Package policy reads the one document that says what Ringwall enforces.
//
// A policy that Load returns is whole and consistent: every key is known, every
// value has the right kind, unit and range, and no two values contradict each
// other. Otherwise Load returns no policy but Errors: every mistake at once,
// each with its place, a caret under the value, the reason and what to do.
//
//	ringwall.yaml:12:14: app.cors.origins[0]: "https://app.example.com/" ends with a slash, and an origin has none
//	      origins: ["https://app.example.com/"]
//	                ^
//	  hint: write https://app.example.com
//
// # Where a value comes from
//
// The later wins:
//
//  1. the default, which is safe;
//  2. the file;
//  3. under --dev, a .env file beside the policy;
//  4. the environment: RINGWALL_ and the path in upper case, with underscores.
//     RINGWALL_APP_LIMITS_GLOBAL_REQUESTS is app.limits.global.requests. A list
//     is written with commas. RINGWALL_APP_BODY_FILE names a file that holds
//     app.body. LOG_LEVEL sets app.log. Entries of app.routes and waivers, and
//     rate classes and roles that the policy does not have, cannot be set so.
//
// The classes global and auth of app.limits keep the defaults of the keys that
// are not given. Other lists and tables replace their default as a whole. A
// variable that begins with RINGWALL_ and means no key is a mistake like any
// other, except RINGWALL_POLICY and RINGWALL_STATE, which the program reads.
//
// # Secrets
//
// No secret stands in the file. Each is looked up in its variable, such as
// RINGWALL_IDENTITY_TOKEN_KEY, in the file that the variable with _FILE names,
// in $CREDENTIALS_DIRECTORY (systemd.exec(5)) and in secrets/ beside the policy.
// One that is a placeholder or short, a file that others can read, two places
// that disagree, and a .env that git tracks are mistakes. A secret that is
// nowhere is not: whoever needs it says so. See Secret for how it is kept.
//
// # The form of the file
//
// One YAML document of at most 1 MiB, without anchors, aliases, merge keys and
// tags. Durations are written 30s, 1h30m or 30d, sizes 200kB or 64MiB, days
// 2027-01-31; a bare number is none of them.
package policy
