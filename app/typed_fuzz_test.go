package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/ringwall/ringwall/app"
)

// The pattern is the one that the HTML standard gives for input type=email.
var typedHTMLEmail = regexp.MustCompile("^[a-zA-Z0-9.!#$%&'*+\\/=?^_`{|}~-]+@[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:\\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*$")

func FuzzTypedEmail(f *testing.F) {
	type in struct {
		Email string `json:"email" check:"format=email"`
	}
	h := app.Handle(func(context.Context, in) (app.None, error) { return app.None{}, nil })
	for _, s := range []string{
		"a@b", "ada@example.com", "a.b+c@x-y.example", "@b", "a@", "a", "", "a@b@c", "a b@c", "a@b..c", "a@.b", "a@b.", "a@-b", "a@b-", "a@b_c", "é@b", "a@é",
		"a\r\nb@c", "a@b\n", "\"a\"@b", strings.Repeat("a", 64) + "@b", strings.Repeat("a", 65) + "@b", "a@" + strings.Repeat("b", 63), "a@" + strings.Repeat("b", 64),
		"a@" + strings.Repeat("b.", 126) + "c", "a@" + strings.Repeat("b.", 120) + "c", "..@b", "a@[192.0.2.1]",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			return
		}
		body, err := json.Marshal(in{s})
		if err != nil {
			t.Fatal(err)
		}
		want := typedHTMLEmail.MatchString(s) && len(s) <= 254 && strings.LastIndexByte(s, '@') <= 64
		if w := typedPost(h, string(body)); (w.Code == 204) != want {
			t.Errorf("%q: %d, want taken: %v", s, w.Code, want)
		}
	})
}

// FuzzTyped: whatever comes, the handler sees only what encoding/json reads
// from the same bytes, and what the rules allow.
func FuzzTyped(f *testing.F) {
	var got *typedAll
	h := app.Handle(func(_ context.Context, in typedAll) (app.None, error) { got = &in; return app.None{}, nil })
	for _, s := range slices.Concat(jsonGood, jsonBad["duplicate"], jsonBad["trailing"], jsonBad["forbidden_key"]) {
		f.Add([]byte(s))
	}
	f.Add([]byte(`{"text":"a, b","kind":"rich","yes":true,"small":-5,"big":18446744073709551615,"rate":5e-1,"when":"2026-11-23T10:00:00Z"}`))
	f.Add([]byte(`{"tags":["a","b"],"points":[{"x":1,"y":-2}],"labels":{"k":"v"},"nick":"ab","parent":{"id":1,"child":{"id":2,"kids":[null]}},"raw":[1],"a/b~c":1,"inner":"x"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got = nil
		r := httptest.NewRequest("POST", "/", bytes.NewReader(b))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got == nil {
			if w.Code != 400 && w.Code != 413 {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			return
		}
		want := typedAll{Kind: "plain"}
		if len(b) > 0 {
			d := json.NewDecoder(bytes.NewReader(b))
			d.DisallowUnknownFields()
			if err := d.Decode(&want); err != nil {
				t.Fatalf("taken, but encoding/json says %v", err)
			}
		}
		a, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		e, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, e) {
			t.Fatalf("read as %s, encoding/json reads %s", a, e)
		}
		if utf8.RuneCountInString(got.Text) > 5 || got.Small < -5 || got.Small > 100 || got.Rate < 0 || got.Rate > 0.5 || len(got.Tags) > 3 || len(got.Labels) > 2 {
			t.Fatalf("against the rules: %s", a)
		}
	})
}
