package main

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/policy"
)

type fixed struct{ c app.Caller }

func (f *fixed) Verify(context.Context, string) (*app.Caller, error) { return &f.c, nil }

// ring puts every control around the handler, with the default policy but a
// rate that the load does not reach, and an access log on disk.
func ring(next http.Handler, logFile string) (http.Handler, string, error) {
	out, err := os.Create(logFile)
	if err != nil {
		return nil, "", err
	}
	log := slog.New(audit.NewHandler(audit.NewBuffer(out, os.Stderr), slog.LevelInfo))
	p := policy.Default()
	p.Site = "127.0.0.1"
	p.App.Limits["global"] = policy.Limit{Requests: 1e6, Per: time.Second}
	r, err := app.New(p, next, app.Deps{Verifier: &fixed{app.Caller{Subject: "alice"}}, Log: log, Audit: audit.NewLog(log)})
	return r, "token", err
}
