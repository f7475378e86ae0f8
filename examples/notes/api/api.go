// Package api is a notes API: typed handlers, and SQLite behind them. A note
// belongs to the caller who wrote it; every statement says so itself.
package api

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/ringwall/ringwall/app"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

type note struct {
	ID    int64  `json:"id"`
	Owner string `json:"owner"`
	Title string `json:"title"`
	Text  string `json:"text"`
}

type content struct {
	Title string `json:"title" check:"min=1,max=200"`
	Text  string `json:"text" check:"max=10000"`
}

type noteID struct {
	ID int64 `path:"id" check:"min=1"`
}

type search struct {
	Q      string `query:"q" check:"optional,max=200"`
	Limit  int    `query:"limit" check:"default=20,min=1,max=100"`
	Cursor int64  `query:"cursor" check:"default=9007199254740991,min=1"`
}

// A page is part of a list, newest first; next is the cursor of the one after.
type page struct {
	Notes []note `json:"notes"`
	Next  int64  `json:"next,omitempty"`
}

// API is the handler. Close it when the server has stopped.
type API struct {
	http.Handler
	io.Closer
	db *sql.DB
}

const columns = "id, owner, title, text"
const tables = `CREATE TABLE IF NOT EXISTS notes (
	id INTEGER PRIMARY KEY AUTOINCREMENT, owner TEXT NOT NULL, title TEXT NOT NULL, text TEXT NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS notes_by_owner ON notes (owner, id);`

// Open opens or makes the file, for this user's eyes only. owner says who calls, "" for nobody.
func Open(file string, owner func(*http.Request) string) (*API, error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the notes: %w", err)
	}
	f.Close()
	db, err := sql.Open("sqlite", "file:"+url.PathEscape(file)+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_txlock=immediate")
	if err != nil {
		return nil, fmt.Errorf("open the notes: %w", err)
	}
	db.SetMaxOpenConns(1) // SQLite has one writer at a time: they queue here, not on its lock
	if _, err := db.Exec(tables); err != nil {
		return nil, errors.Join(fmt.Errorf("open the notes in %s: %w", file, err), db.Close())
	}
	a := &API{Closer: db, db: db}
	mux := http.NewServeMux()
	mux.Handle("GET /api/public/status", app.Handle(func(context.Context, app.None) (map[string]string, error) {
		return map[string]string{"status": "ok"}, nil
	}))
	mux.HandleFunc("GET /api/public/openapi.yaml", document)
	mux.Handle("GET /api/notes", app.Handle(a.list("owner = ?1")))
	mux.Handle("POST /api/notes", app.Handle(a.create))
	mux.Handle("GET /api/notes/{id}", app.Handle(a.get))
	mux.Handle("PUT /api/notes/{id}", app.Handle(a.change))
	mux.Handle("DELETE /api/notes/{id}", app.Handle(a.remove))
	mux.Handle("GET /api/admin/notes", app.Handle(a.list("true")))
	a.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := owner(r)
		if who == "" && !strings.HasPrefix(r.URL.Path, "/api/public/") {
			http.Error(w, "Nobody is signed in.", http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), ownerKey{}, who)))
	})
	return a, nil
}

type ownerKey struct{}

// list gives the handler that searches the notes for which the condition holds.
func (a *API) list(condition string) func(context.Context, search) (page, error) {
	query := "SELECT " + columns + " FROM notes WHERE " + condition +
		" AND id < ?2 AND instr(lower(title || char(10) || text), lower(?3)) > 0 ORDER BY id DESC LIMIT ?4"
	return func(ctx context.Context, in search) (p page, err error) {
		p.Notes = []note{}
		rows, err := a.db.QueryContext(ctx, query, ctx.Value(ownerKey{}), in.Cursor, in.Q, in.Limit+1)
		if err != nil {
			return p, err
		}
		defer rows.Close()
		for rows.Next() {
			n, err := scan(rows)
			if err != nil {
				return p, err
			}
			p.Notes = append(p.Notes, n)
		}
		if len(p.Notes) > in.Limit { // one was asked for that only tells of a next page
			p.Notes, p.Next = p.Notes[:in.Limit], p.Notes[in.Limit-1].ID
		}
		return p, rows.Err()
	}
}

func (a *API) create(ctx context.Context, in content) (app.Created[note], error) {
	n, err := scan(a.db.QueryRowContext(ctx, "INSERT INTO notes (owner, title, text) VALUES (?, ?, ?) RETURNING "+columns,
		ctx.Value(ownerKey{}), in.Title, in.Text))
	return app.Created[note]{Value: n, Location: fmt.Sprint("/api/notes/", n.ID)}, err
}

func (a *API) get(ctx context.Context, in noteID) (note, error) {
	return scan(a.db.QueryRowContext(ctx, "SELECT "+columns+" FROM notes WHERE id = ? AND owner = ?",
		in.ID, ctx.Value(ownerKey{})))
}

func (a *API) change(ctx context.Context, in struct {
	noteID
	content
}) (note, error) {
	return scan(a.db.QueryRowContext(ctx, "UPDATE notes SET title = ?, text = ? WHERE id = ? AND owner = ? RETURNING "+columns,
		in.Title, in.Text, in.ID, ctx.Value(ownerKey{})))
}

func (a *API) remove(ctx context.Context, in noteID) (app.None, error) {
	_, err := scan(a.db.QueryRowContext(ctx, "DELETE FROM notes WHERE id = ? AND owner = ? RETURNING "+columns,
		in.ID, ctx.Value(ownerKey{})))
	return app.None{}, err
}

func scan(row interface{ Scan(...any) error }) (n note, err error) {
	err = row.Scan(&n.ID, &n.Owner, &n.Title, &n.Text)
	if errors.Is(err, sql.ErrNoRows) {
		err = &app.Error{Status: http.StatusNotFound, Detail: "You have no such note."}
	}
	return n, err
}
