package outside

import (
	"context"
	"regexp"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
)

// secretFiles asks for files that hold secrets where somebody put the whole
// working folder behind the server, and judges by what is in them.
var secretFiles = Check{
	Meta: check.Meta{
		ID:     "outside/secret-files",
		Most:   4,
		Points: 60,
		Title:  "No file with secrets is served",
		Why:    "One request for /.env or /.git/config gives away the database, the keys and the code.",
		Ref:    "CWE-538, CWE-527; ASVS 5.0 V13.4.1, V13.4.7; OWASP API8 2023; blueprint A9, E6, T7, checklist 11",
		Layer:  "edge",
	},
	Manner: Active,
	NoRing: true,
	Verify: func(ctx context.Context, t *Target) check.Finding {
		own, err := t.Client.Do(ctx, probe.Request{Target: t.base()})
		if err != nil {
			return unanswered("GET "+t.base(), err)
		}
		// Few, for each brings this address nearer to a ban.
		for _, f := range []struct {
			target string
			form   *regexp.Regexp
		}{
			{"/.env", regexp.MustCompile(`(?m)^(export )?[A-Z][A-Z0-9_]+ ?= ?\S`)},
			{"/.git/config", regexp.MustCompile(`\[core\]`)},
			{"/.env.production", regexp.MustCompile(`(?m)^(export )?[A-Z][A-Z0-9_]+ ?= ?\S`)},
		} {
			res, err := t.Client.Do(ctx, probe.Request{Target: f.target})
			if err == nil && res.Status == 200 && f.form.Match(res.Body) {
				return check.Failed("GET "+f.target+" is answered with the file", "nothing, or 404",
					"move it out of what is served, change every secret in it now, and in nginx: location ~ /\\. { return 444; }")
			}
			if err != nil && ctx.Err() != nil {
				return unanswered("GET "+f.target, err)
			}
		}
		return check.Passed("/.env, /.env.production and /.git/config are not served; GET %s is answered %s", t.base(), own.Line())
	},
}
