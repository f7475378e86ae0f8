package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringwall/ringwall/store"
	"github.com/ringwall/ringwall/store/pgstore"
	"github.com/ringwall/ringwall/store/sqlitestore"
)

func TestOpenRefuses(t *testing.T) {
	srv := server(t)
	newer, latin := srv.Database(t), srv.Database(t, "ENCODING 'LATIN1' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0")
	open(t, srv, newer).Close()
	srv.SQL(t, newer, "INSERT INTO ringwall.schema_versions (version_id, is_applied) VALUES (99, true)")
	srv.SQL(t, "postgres", "DROP ROLE IF EXISTS weak; CREATE ROLE weak LOGIN PASSWORD 'weak'")
	empty := srv.Database(t)

	for name, tt := range map[string]struct{ url, password, want string }{
		"wrong password":  {srv.URL(empty), "wrong", "28P01"},
		"no password":     {srv.URL(empty), "", "password"},
		"no database":     {srv.URL("none"), srv.Password, "3D000"},
		"newer":           {srv.URL(newer), srv.Password, "version 99, and this ringwall knows 2"},
		"not Unicode":     {srv.URL(latin), srv.Password, "LATIN1"},
		"no right":        {strings.Replace(srv.URL(empty), "ringwall@", "weak@", 1), "weak", "make the schema ringwall"},
		"no server":       {"postgres://ringwall@/x?host=" + t.TempDir(), "secret", "no such file"},
		"no address":      {"mysql://x", "", "postgres://"},
		"no certificates": {"postgres://ringwall@192.0.2.1/x?sslmode=prefer", "secret", "would not always be encrypted"},
	} {
		s, err := pgstore.Open(t.Context(), tt.url, tt.password)
		if err == nil {
			s.Close()
			t.Errorf("%s was opened", name)
		} else if !strings.Contains(err.Error(), tt.want) || tt.password != "" && strings.Contains(err.Error(), "="+tt.password) || strings.Contains(err.Error(), srv.Password) {
			t.Errorf("%s: got the error %v, want one with %q", name, err, tt.want)
		}
	}
}

// TestTransport: TLS with a verified name, unless the host is this machine.
func TestTransport(t *testing.T) {
	for _, tt := range []struct {
		url  string
		want string // "" plain allowed, "verified", "encrypted", or "refused"
	}{
		{"postgres://u@/d?host=/run/postgresql", ""},
		{"postgres://u@localhost/d", ""},
		{"postgres://u@127.0.0.1/d", ""},
		{"postgres://u@[::1]/d?sslmode=disable", ""},
		{"postgres://u@db.example.com/d", "verified"},
		{"postgres://u@192.0.2.1/d", "verified"},
		{"postgres://u@db.example.com/d?sslmode=verify-full", "verified"},
		{"postgres://u@db.example.com/d?sslmode=require", "encrypted"},
		{"postgres://u@db.example.com/d?sslmode=verify-ca", "encrypted"},
		{"postgres://u@db.example.com/d?sslmode=disable", "refused"},
		{"postgres://u@db.example.com/d?sslmode=allow", "refused"},
		{"postgres://u@db.example.com/d?sslmode=prefer", "refused"},
		{"postgres://u@localhost,db.example.com/d", "verified"},
		{"postgres://u@localhost,db.example.com/d?sslmode=prefer", "refused"},
		{"postgres://u@localhost/d?host=db.example.com&sslmode=disable", "refused"},
		{"postgres://u@localhost.example.com/d?sslmode=disable", "refused"},
		{"postgres://u@10.0.0.1/d?sslmode=disable", "refused"},
	} {
		cfg, err := pgstore.Config(tt.url, "")
		if tt.want == "refused" {
			if err == nil || !strings.Contains(err.Error(), "sslmode") {
				t.Errorf("%s: got %v, want a refusal", tt.url, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.url, err)
			continue
		}
		switch tls := cfg.TLSConfig; tt.want {
		case "verified":
			if tls == nil || tls.InsecureSkipVerify || tls.ServerName != cfg.Host {
				t.Errorf("%s: TLS is %+v", tt.url, tls)
			}
			for _, f := range cfg.Fallbacks {
				if f.TLSConfig == nil || f.TLSConfig.InsecureSkipVerify || f.TLSConfig.ServerName != f.Host {
					t.Errorf("%s: TLS of %s is %+v", tt.url, f.Host, f.TLSConfig)
				}
			}
		case "encrypted":
			if tls == nil || len(cfg.Fallbacks) > 0 {
				t.Errorf("%s: TLS is %+v, and then %+v", tt.url, tls, cfg.Fallbacks)
			}
		}
	}
}

// TestOpenAtOnce: of several nodes that start at once with an empty database
// none fails.
func TestOpenAtOnce(t *testing.T) {
	srv := server(t)
	database := srv.Database(t)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			s, err := pgstore.Open(t.Context(), srv.URL(database), srv.Password)
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			if err := s.CreateAccount(t.Context(), store.Account{ID: fmt.Sprint(i), Email: fmt.Sprint(i)}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := srv.SQL(t, database, "SELECT count(*) FROM ringwall.accounts"); n != "4" {
		t.Errorf("%s accounts", n)
	}
}

// TestSharedDatabase: tables of another program with the same names stay as they
// are.
func TestSharedDatabase(t *testing.T) {
	srv := server(t)
	database := srv.Database(t)
	srv.SQL(t, database, "CREATE TABLE accounts (x int); CREATE TABLE schema_versions (x int); INSERT INTO accounts VALUES (7)")
	s := open(t, srv, database)
	if err := s.CreateAccount(t.Context(), account); err != nil {
		t.Fatal(err)
	}
	if got := srv.SQL(t, database, "SELECT * FROM public.accounts"); got != "7" {
		t.Errorf("the other program's table holds %s", got)
	}
}

// filled is a SQLite store with something of everything.
func filled(t *testing.T) *sqlitestore.Store {
	t.Helper()
	s, err := sqlitestore.Open(t.Context(), filepath.Join(t.TempDir(), "ringwall.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	ctx := t.Context()
	for i := range 250 {
		id := fmt.Sprintf("%03d", i)
		one := session
		one.ID, one.AccountID, one.UserAgent = "s"+id, id, "日本 \u202e'"
		if i%2 == 0 {
			one.Ended, one.EndReason, one.Previous, one.Successor = start, "logout", []byte{0, 0xff}, []byte(id)
		}
		_, uerr := s.UpdateAttempt(ctx, "k"+id, func(a *store.Attempt) error { a.Failures, a.Last = i+1, start.Add(time.Microsecond); return nil })
		err := errors.Join(uerr,
			s.CreateAccount(ctx, store.Account{ID: id, Email: id + "@ü.example", Name: "' \n\\ 🧱", Roles: []string{"a", `"`}, Created: start, Locked: time.Unix(0, 0)}),
			s.CreateSession(ctx, one, 0, nil),
			s.PutTicket(ctx, store.Ticket{Sum: []byte(id), Kind: "reset", AccountID: id, Expires: start}),
			s.PutTicket(ctx, store.Ticket{Sum: []byte("i" + id), Kind: "invite", Email: id, Roles: []string{"a"}, Expires: start}),
			s.Append(ctx, func(last store.Entry) ([]store.Entry, error) {
				return []store.Entry{{Seq: last.Seq + 1, Time: start, Event: []byte("{ }"), Previous: last.Hash, Hash: []byte(id)}}, nil
			}))
		if err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestMoveFromSQLite(t *testing.T) {
	srv := server(t)
	from, database := filled(t), srv.Database(t)
	to := open(t, srv, database)
	got, err := to.CopyFrom(t.Context(), from.Store)
	if err != nil {
		t.Fatal(err)
	}
	want, err := from.Tables(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	again, err := to.Tables(t.Context())
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) || fmt.Sprint(again) != fmt.Sprint(want) {
		t.Errorf("%v\ngot  %v\nthen %v\nwant %v", err, got, again, want)
	}
	for i, rows := range []int{250, 250, 500, 250, 250} {
		if got[i].Rows != rows {
			t.Errorf("%s: %d rows, want %d", got[i].Name, got[i].Rows, rows)
		}
	}
	// Not by our own sums only.
	for _, id := range []string{"000", "123", "249"} {
		a, err1 := from.Account(t.Context(), id)
		b, err2 := to.Account(t.Context(), id)
		c, err3 := from.Session(t.Context(), "s"+id)
		d, err4 := to.Session(t.Context(), "s"+id)
		if err := errors.Join(err1, err2, err3, err4); err != nil || fmt.Sprintf("%+v%+v", a, c) != fmt.Sprintf("%+v%+v", b, d) {
			t.Errorf("%v\n%+v\n%+v", err, a, b)
		}
	}
	if _, err := to.CopyFrom(t.Context(), from.Store); err == nil || !strings.Contains(err.Error(), "accounts there is not empty") {
		t.Errorf("a second time: %v", err)
	}
	// It can go on: the chain is continued, and the keys are known.
	if err := to.CreateAccount(t.Context(), store.Account{ID: "000", Email: "x"}); !errors.Is(err, store.ErrExists) {
		t.Error(err)
	}
}

// TestMoveFindsEveryChange: a trigger changes what is copied, in each table once.
func TestMoveFindsEveryChange(t *testing.T) {
	srv := server(t)
	from := filled(t)
	for table, change := range map[string]string{
		"accounts": "NEW.name = 'x'", "sessions": "NEW.used = 1", "tickets": "NEW.roles = '[]'", "attempts": "NEW.failures = 9", "entries": "NEW.event = '{}'",
	} {
		database := srv.Database(t)
		to := open(t, srv, database)
		srv.SQL(t, database, `SET search_path = ringwall; CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN `+change+`; RETURN NEW; END $$;
			CREATE TRIGGER t BEFORE INSERT ON `+table+` FOR EACH ROW EXECUTE FUNCTION f()`)
		if _, err := to.CopyFrom(t.Context(), from.Store); err == nil || !strings.Contains(err.Error(), "table "+table+" has") {
			t.Errorf("%s: got %v", table, err)
		}
		if n, err := to.CountAccounts(context.Background()); n != 0 || err != nil {
			t.Errorf("%s: %d accounts are there, %v", table, n, err)
		}
	}
}
