// Command notes serves the notes API with the ring around it, in one process.
// It reads ringwall.yaml and keeps notes.db in the current folder.
package main

import (
	"context"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/ringwall/ringwall"
	"github.com/ringwall/ringwall/examples/notes/api"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	p, err := ringwall.LoadPolicy("ringwall.yaml")
	if err != nil {
		log.Fatal(err)
	}
	notes, err := api.Open("notes.db", caller)
	if err != nil {
		log.Fatal(err)
	}
	defer notes.Close()
	server, err := ringwall.New(p, notes, ringwall.Deps{})
	if err != nil {
		log.Fatal(err)
	}
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
