// Command notes serves the notes API with the ring and its accounts around it,
// in one process. It reads ringwall.yaml; accounts and notes are kept in the
// current folder.
package main

import (
	"context"
	"log"
	"net/http"
	"os/signal"
	"syscall"

	"github.com/ringwall/ringwall"
	"github.com/ringwall/ringwall/examples/notes/api"
	"github.com/ringwall/ringwall/identity"
	"github.com/ringwall/ringwall/store/sqlitestore"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	policy := must(ringwall.LoadPolicy("ringwall.yaml"))
	notes := must(api.Open("notes.db", caller))
	accounts := must(identity.New(policy, identity.Deps{Store: must(sqlitestore.Open(ctx, "accounts.db"))}))
	server := must(ringwall.New(policy, notes, ringwall.Deps{Identity: accounts}))
	if err := server.Run(ctx); err != nil {
		log.Fatal(err)
	}
}

func caller(r *http.Request) string {
	if c := ringwall.CallerFrom(r.Context()); c != nil {
		return c.Subject
	}
	return ""
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
