package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/app"
)

// typedRegister is the blueprint's example.
type typedRegister struct {
	Name     string `json:"name" check:"min=2,max=80"`
	Email    string `json:"email" check:"format=email"`
	Password string `json:"password" check:"min=8,maxbytes=72"`
}

// typedAll has a field of every kind.
type typedAll struct {
	Text    string            `json:"text" check:"optional,max=5,pattern=[a-z, ]*"`
	Kind    string            `json:"kind" check:"default=plain,oneof=plain|rich"`
	Yes     bool              `json:"yes" check:"optional"`
	Small   int8              `json:"small" check:"optional,min=-5,max=100"`
	Big     uint64            `json:"big" check:"optional"`
	Rate    float64           `json:"rate" check:"optional,min=0,max=0.5"`
	When    time.Time         `json:"when" check:"optional"`
	UUID    string            `json:"uuid" check:"optional,format=uuid"`
	Tags    []string          `json:"tags" check:"optional,min=1,max=3" each:"min=1,max=4"`
	Points  []typedPoint      `json:"points" check:"optional,max=100"`
	Labels  map[string]string `json:"labels" check:"optional,max=2" each:"max=3"`
	Nick    *string           `json:"nick" check:"min=2"`
	Parent  *typedNode        `json:"parent"`
	Raw     json.RawMessage   `json:"raw" check:"optional"`
	Slash   int               `json:"a/b~c" check:"optional,max=1"`
	Left    string            `json:"-"`
	private string            //lint:ignore U1000 unexported fields are left alone
	typedEmbedded
}

type typedEmbedded struct {
	Inner string `json:"inner" check:"optional,max=1"`
}

type typedPoint struct {
	X int `json:"x"`
	Y int `json:"y"`
}

type typedNode struct {
	ID    int          `json:"id"`
	Child *typedNode   `json:"child"`
	Kids  []*typedNode `json:"kids" check:"optional"`
}

// typedEcho answers what it was given.
func typedEcho[In any](_ context.Context, in In) (In, error) { return in, nil }

func typedPost(h http.Handler, body string) *httptest.ResponseRecorder {
	return inputDo(h, "POST", "/", "application/json", body)
}

func TestTypedBlueprintExample(t *testing.T) {
	h := app.Handle(typedEcho[typedRegister])
	good := `{"name":"Ada","email":"ada@example.com","password":"correct horse"}`
	if w := typedPost(h, good); w.Code != 200 || strings.TrimSpace(w.Body.String()) != good {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for body, want := range map[string]string{
		`{}`: "/name required, /email required, /password required",
		`{"name":"A","email":"x","password":"short"}`:                                                "/name too_short, /email format, /password too_short",
		`{"name":"Ada","email":{"$gt":""},"password":{"$ne":null}}`:                                  "/email type, /password type",
		`{"name":["Ada"],"email":1,"password":true}`:                                                 "/name type, /email type, /password type",
		`{"name":null,"email":"ada@example.com","password":"correct horse"}`:                         "/name type",
		`{"name":"Ada","email":"ada@example.com","password":"correct horse","role":"admin"}`:         " unknown",
		`{"name":"Ada","email":"ada@example.com","password":"correct horse","a":1,"b":2}`:            " unknown",
		`{"Name":"Ada","email":"ada@example.com","password":"correct horse"}`:                        "/name unknown, /name required",
		`{"name":"` + strings.Repeat("é", 81) + `","email":"ada@example.com","password":"12345678"}`: "/name too_long",
		`{"name":"` + strings.Repeat("é", 80) + `","email":"ada@example.com","password":"1234567"}`:  "/password too_short",
		`{"name":"Ada","email":"ada@example.com","password":"` + strings.Repeat("é", 36) + `x"}`:     "/password too_long",
		`{"name":"A\u0000a","email":"ada@example.com","password":"correct horse"}`:                   "/name character",
		`[]`:     " type",
		`"name"`: " type",
		`null`:   " type",
	} {
		w := typedPost(h, body)
		if p := inputRefusal(t, w); w.Code != 400 || inputCodes(p) != want {
			t.Errorf("%s: %d %s, want %s", body, w.Code, inputCodes(p), want)
		}
	}
}

// TestTrapJSONDifferentialsTyped: golang/go #14750. encoding/json would take
// each of the first ones, and obey the second key.
func TestTrapJSONDifferentialsTyped(t *testing.T) {
	type in struct {
		Role  string `json:"role" check:"oneof=u"`
		Email string `json:"email" check:"optional"`
	}
	reached := false
	h := app.Handle(func(context.Context, in) (app.None, error) { reached = true; return app.None{}, nil })
	for body, want := range map[string]string{
		`{"role":"u","Role":"admin"}`:             " duplicate",
		`{"Role":"admin"}`:                        "/role unknown, /role required",
		`{"role":"u","role":"admin"}`:             " duplicate",
		`{"ROLE":"u"}`:                            "/role unknown, /role required",
		`{"role":"u","email":{"$gt":""}}`:         "/email type",
		`{"role":"u","__proto__":{"admin":true}}`: " forbidden_key",
		`{"role":"u"}{"role":"admin"}`:            " trailing",
		`{"role":` + strings.Repeat("[", 10_000):  " depth",
	} {
		w := typedPost(h, body)
		if p := inputRefusal(t, w); w.Code != 400 || inputCodes(p) != want {
			t.Errorf("%.60s: %d %q, want %q", body, w.Code, inputCodes(p), want)
		}
	}
	if reached {
		t.Error("the handler was called")
	}
}

// What is taken reads as encoding/json reads it.
func TestTypedReadsAsEncodingJSON(t *testing.T) {
	h := app.Handle(func(_ context.Context, in typedAll) (typedAll, error) { return in, nil })
	for _, body := range []string{
		`{"kind":"plain"}`,
		` { "text" : "a, b" , "kind":"rich","yes":true,"small":-5,"big":18446744073709551615,"rate":5e-1 } `,
		`{"kind":"rich","when":"2026-11-23T10:00:00.5+01:00","uuid":"123e4567-e89b-12d3-a456-42661417400F"}`,
		`{"kind":"plain","tags":["a","\u00e9\ud83d\ude39\n"],"points":[{"x":1,"y":-2},{"y":3,"x":0}],"labels":{"k":"v","\u006b2":"v"}}`,
		`{"kind":"plain","nick":null,"parent":null}`,
		`{"kind":"plain","nick":"ab","parent":{"id":1,"child":{"id":2,"kids":[{"id":3},null]}}}`,
		`{"kind":"plain","raw":{"a":[1, 2]},"a\/b~c":1,"inner":"x","points":[]}`,
		`{"k\u0069nd":"plain","raw":"\u0041","small":0,"rate":0.25}`,
	} {
		var want typedAll
		if err := json.Unmarshal([]byte(body), &want); err != nil {
			t.Fatal(err)
		}
		wantJSON, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if w := typedPost(h, body); w.Code != 200 || w.Body.String() != string(wantJSON) {
			t.Errorf("%s\n%d %s\nwant %s", body, w.Code, w.Body, wantJSON)
		}
	}
	if w := typedPost(h, `{}`); !strings.Contains(w.Body.String(), `"kind":"plain"`) {
		t.Errorf("the default is missing: %s", w.Body)
	}
}

func TestTypedRules(t *testing.T) {
	h := app.Handle(func(context.Context, typedAll) (app.None, error) { return app.None{}, nil })
	for body, want := range map[string]string{
		`{"text":"abcdef"}`:                      "/text too_long",
		`{"text":"A"}`:                           "/text pattern",
		`{"text":"a\n"}`:                         "/text pattern",
		`{"kind":"Plain"}`:                       "/kind not_listed",
		`{"yes":"true"}`:                         "/yes type",
		`{"yes":1}`:                              "/yes type",
		`{"small":128}`:                          "/small range",
		`{"small":-6}`:                           "/small too_small",
		`{"small":101}`:                          "/small too_large",
		`{"small":1.0}`:                          "/small type",
		`{"small":1e1}`:                          "/small type",
		`{"small":"1"}`:                          "/small type",
		`{"big":-1}`:                             "/big type",
		`{"big":18446744073709551616}`:           "/big range",
		`{"rate":0.6}`:                           "/rate too_large",
		`{"rate":-0.1}`:                          "/rate too_small",
		`{"when":"yesterday"}`:                   "/when format",
		`{"when":null}`:                          "/when format",
		`{"uuid":"123e4567"}`:                    "/uuid format",
		`{"tags":[]}`:                            "/tags too_short",
		`{"tags":["a","b","c","d"]}`:             "/tags too_long",
		`{"tags":["a","","abcde",1]}`:            "/tags/1 too_short, /tags/2 too_long, /tags/3 type, /tags too_long",
		`{"tags":{"0":"a"}}`:                     "/tags type",
		`{"points":[{"x":1}]}`:                   "/points/0/y required",
		`{"points":[{"x":1,"y":2,"z":3}]}`:       "/points/0 unknown",
		`{"points":[1,{"x":"1","y":2}]}`:         "/points/0 type, /points/1/x type",
		`{"labels":{"secret-key":"abcd"}}`:       "/labels too_long",
		`{"labels":{"a":"","b":"","c":""}}`:      "/labels too_long",
		`{"nick":"a"}`:                           "/nick too_short",
		`{"parent":{"child":{"id":null}}}`:       "/parent/child/id type, /parent/id required",
		`{"a/b~c":2}`:                            "/a~1b~0c too_large",
		`{"raw":null}`:                           "/raw format",
		`{"Left":"x"}`:                           " unknown",
		`{"private":"x"}`:                        " unknown",
		`{"inner":"xx"}`:                         "/inner too_long",
		`{"typedEmbedded":{"inner":"x"}}`:        " unknown",
		`{"text":"TOO LONG","small":1000,"x":1}`: "/text too_long, /text pattern, /small range,  unknown",
	} {
		w := typedPost(h, body)
		if w.Code != 400 {
			t.Errorf("%s: %d, want %s", body, w.Code, want)
			continue
		}
		if p := inputRefusal(t, w); inputCodes(p) != want {
			t.Errorf("%s: %s, want %s", body, inputCodes(p), want)
		}
	}
	many := typedPost(h, `{"points":[`+strings.Repeat("{},", 99)+`{}]}`)
	if p := inputRefusal(t, many); len(p.Errors) != 20 {
		t.Errorf("%d issues, want 20", len(p.Errors))
	}
}

type typedList struct {
	ID     int      `path:"id" check:"min=1"`
	Limit  int      `query:"limit" check:"default=20,min=1,max=100"`
	Cursor string   `query:"cursor" check:"optional,max=10"`
	Tags   []string `query:"tag" check:"optional,max=2" each:"min=1"`
	Desc   *bool    `query:"desc"`
	Rate   float64  `query:"rate" check:"optional"`
}

func TestTypedParameters(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle("GET /notes/{id}", app.Handle(typedEcho[typedList]))
	ring := inputRing(t, inputPolicy(), app.Deps{}, mux)
	for target, want := range map[string]string{
		"/notes/7":                         `{"ID":7,"Limit":20,"Cursor":"","Tags":null,"Desc":null,"Rate":0}`,
		"/notes/7?limit=5&tag=a&tag=b%20c": `{"ID":7,"Limit":5,"Cursor":"","Tags":["a","b c"],"Desc":null,"Rate":0}`,
		"/notes/7?desc=true&rate=-1.5e1":   `{"ID":7,"Limit":20,"Cursor":"","Tags":null,"Desc":true,"Rate":-15}`,
		"/notes/7?cursor=":                 `{"ID":7,"Limit":20,"Cursor":"","Tags":null,"Desc":null,"Rate":0}`,
	} {
		if w := inputDo(ring, "GET", target, "", ""); w.Code != 200 || w.Body.String() != want {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
	for target, want := range map[string]string{
		"/notes/x":                                   "path/id type",
		"/notes/0":                                   "path/id too_small",
		"/notes/007":                                 "path/id type",
		"/notes/7?limit=0":                           "query/limit too_small",
		"/notes/7?limit=":                            "query/limit type",
		"/notes/7?limit=%2B5":                        "query/limit type",
		"/notes/7?limit=0x10":                        "query/limit type",
		"/notes/7?limit=1_0":                         "query/limit type",
		"/notes/7?limit=99999999999999999999":        "query/limit range",
		"/notes/7?limit=5&limit=6":                   "query/limit duplicate",
		"/notes/7?Limit=5":                           "query unknown",
		"/notes/7?limit%00=5":                        "query unknown",
		"/notes/7?x=1&y=2":                           "query unknown",
		"/notes/7?limit[$gt]=5":                      "query unknown",
		"/notes/7?cursor=" + strings.Repeat("a", 11): "query/cursor too_long",
		"/notes/7?cursor=%ff":                        "query/cursor utf8",
		"/notes/7?cursor=%00":                        "query/cursor character",
		"/notes/7?tag=a&tag=b&tag=c":                 "query/tag too_long",
		"/notes/7?tag=":                              "query/tag too_short",
		"/notes/7?desc=1":                            "query/desc type",
		"/notes/7?rate=NaN":                          "query/rate type",
		"/notes/7?rate=1e999":                        "query/rate type",
		"/notes/7?a=%zz":                             "query syntax",
		"/notes/7?limit=1;cursor=2":                  "query syntax",
		"/notes/x?limit=x&y":                         "path/id type, query unknown, query/limit type",
	} {
		w := inputDo(ring, "GET", target, "", "")
		if w.Code != 400 {
			t.Errorf("%s: %d, want %s", target, w.Code, want)
			continue
		}
		if p := inputRefusal(t, w); inputCodes(p) != want {
			t.Errorf("%s: %s, want %s", target, inputCodes(p), want)
		}
	}
	if w := inputDo(ring, "GET", "/notes/7", "application/json", `{}`); w.Code != 400 {
		t.Errorf("a body where none is expected: %d", w.Code)
	}
}

// The same handler, alone and in a ring, refuses the same.
func TestTypedWithoutRing(t *testing.T) {
	bare := app.Handle(typedEcho[typedRegister])
	ring := inputRing(t, inputPolicy(), app.Deps{}, bare)
	good := `{"name":"Ada","email":"ada@example.com","password":"correct horse"}`
	for name, h := range map[string]http.Handler{"bare": bare, "ring": ring} {
		for _, test := range []struct {
			media, body string
			want        int
		}{
			{"application/json", good, 200},
			{"application/json; charset=utf-8", good, 200},
			{"application/json", "", 400},
			{"", good, 415},
			{"text/plain", good, 415},
			{"application/x-www-form-urlencoded", "name=Ada", 415},
			{"application/json; charset=utf-16", good, 415},
			{"application/json", good + strings.Repeat(" ", 200_000), 413},
			{"application/json", `{"name":"Ada","name":"Eve"}`, 400},
			{"application/json", `{`, 400},
		} {
			w := inputDo(h, "POST", "/", test.media, test.body)
			if w.Code != test.want {
				t.Errorf("%s, %q %.30q: %d, want %d", name, test.media, test.body, w.Code, test.want)
			}
			if test.want != 200 {
				inputRefusal(t, w)
			}
		}
		r := httptest.NewRequest("POST", "http://localhost/", io.MultiReader(strings.NewReader(good+strings.Repeat(" ", 200_000))))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != 413 {
			t.Errorf("%s, a long body of unknown length: %d", name, w.Code)
		}
		r = httptest.NewRequest("POST", "http://localhost/", strings.NewReader(good))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Content-Encoding", "gzip")
		w = httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != 415 {
			t.Errorf("%s, gzip: %d", name, w.Code)
		}
	}
}

func TestTypedAnswers(t *testing.T) {
	secret := errors.New("dial tcp 10.0.0.7:5432: password canary-42 refused")
	type note struct {
		Title string `json:"title"`
	}
	type in struct {
		Case string `query:"case"`
	}
	h := app.Handle(func(_ context.Context, in in) (note, error) {
		switch in.Case {
		case "missing":
			return note{}, fmt.Errorf("read note: %w", &app.Error{Status: 404, Detail: "No such note.", Err: secret})
		case "taken":
			return note{}, &app.Error{Status: 409, Detail: "That title is taken.", Issues: []app.Issue{{Path: "/title", Code: "taken", Message: "is taken"}}}
		case "odd":
			return note{}, &app.Error{Status: 200, Detail: "fine"}
		case "broken":
			return note{}, secret
		}
		return note{"<a>"}, nil
	})
	created := app.Handle(func(context.Context, app.None) (app.Created[note], error) {
		return app.Created[note]{Value: note{"a"}, Location: "/notes/1"}, nil
	})
	none := app.Handle(func(context.Context, app.None) (app.None, error) { return app.None{}, nil })
	unencodable := app.Handle(func(context.Context, app.None) (any, error) { return func() {}, nil })
	mux := http.NewServeMux()
	for path, h := range map[string]http.Handler{"/note": h, "/created": created, "/nothing": none, "/unencodable": unencodable} {
		mux.Handle(path, h)
	}
	for name, h := range map[string]http.Handler{"bare": mux, "ring": inputRing(t, inputPolicy(), app.Deps{}, mux)} {
		for target, want := range map[string]struct {
			status int
			body   string
		}{
			"/note?case=":        {200, `{"title":"\u003ca\u003e"}`},
			"/note?case=missing": {404, "No such note."},
			"/note?case=taken":   {409, "/title"},
			"/note?case=odd":     {500, ""},
			"/note?case=broken":  {500, ""},
			"/created":           {201, `{"title":"a"}`},
			"/nothing":           {204, ""},
			"/unencodable":       {500, ""},
		} {
			w := inputDo(h, "GET", target, "", "")
			if w.Code != want.status || !strings.Contains(w.Body.String(), want.body) {
				t.Errorf("%s %s: %d %s", name, target, w.Code, w.Body)
			}
			if strings.Contains(w.Body.String(), "canary") || strings.Contains(w.Body.String(), "dial") {
				t.Errorf("%s %s tells internals: %s", name, target, w.Body)
			}
			if w.Code >= 400 && inputRefusal(t, w).Type != "about:blank" {
				t.Errorf("%s %s: the handler's refusal claims a control: %s", name, target, w.Body)
			}
		}
		if w := inputDo(h, "GET", "/created", "", ""); w.Header().Get("Location") != "/notes/1" || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: %s", name, w.Header())
		}
		if w := inputDo(h, "GET", "/nothing", "", ""); w.Body.Len() != 0 {
			t.Errorf("%s: 204 with a body", name)
		}
	}
}

// Refusals tell where and what, never the value or a key of the client's.
func TestTypedRefusalRepeatsNothing(t *testing.T) {
	const canary = "canary-9b1c"
	h := app.Handle(func(context.Context, typedAll) (app.None, error) { return app.None{}, nil })
	w := typedPost(h, `{"`+canary+`":1,"kind":"`+canary+`","text":"`+canary+`","small":"`+canary+`","labels":{"`+canary+`":"`+canary+`"},"points":[{"`+canary+`":1}],"when":"`+canary+`"}`)
	if p := inputRefusal(t, w); strings.Contains(w.Body.String(), canary) || len(p.Errors) < 7 {
		t.Errorf("%s", w.Body)
	}
}

func TestTypedMistakesPanic(t *testing.T) {
	mistakes := map[string]func(){
		"must be a struct": func() { app.Handle(typedEcho[int]) },
		"has no name":      func() { app.Handle(typedEcho[struct{ A string }]) },
		"takes input of any": func() {
			app.Handle(typedEcho[struct {
				A any `json:"a"`
			}])
		},
		"no such rule": func() {
			app.Handle(typedEcho[struct {
				A string `json:"a" check:"len=3"`
			}])
		},
		"no such rule for bool": func() {
			app.Handle(typedEcho[struct {
				A bool `json:"a" check:"oneof=x"`
			}])
		},
		"has no size": func() {
			app.Handle(typedEcho[struct {
				A bool `json:"a" check:"min=1"`
			}])
		},
		"invalid syntax": func() {
			app.Handle(typedEcho[struct {
				A string `json:"a" check:"min=x"`
			}])
		},
		"missing closing": func() {
			app.Handle(typedEcho[struct {
				A string `json:"a" check:"pattern=("`
			}])
		},
		"stands alone": func() {
			app.Handle(typedEcho[struct {
				A string `json:"a" check:"optional=1"`
			}])
		},
		"its default must": func() {
			app.Handle(typedEcho[struct {
				A int `json:"a" check:"default=0,min=1"`
			}])
		},
		"default=x: must be": func() {
			app.Handle(typedEcho[struct {
				A int `json:"a" check:"default=x"`
			}])
		},
		"default is for plain": func() {
			app.Handle(typedEcho[struct {
				A []int `json:"a" check:"default=1"`
			}])
		},
		"each is for": func() {
			app.Handle(typedEcho[struct {
				A int `json:"a" each:"min=1"`
			}])
		},
		"comes from one place": func() {
			app.Handle(typedEcho[struct {
				A int `json:"a" query:"a"`
			}])
		},
		"cannot come from a": func() {
			app.Handle(typedEcho[struct {
				A typedPoint `query:"a"`
			}])
		},
		"[]string cannot come": func() {
			app.Handle(typedEcho[struct {
				A []string `path:"a"`
			}])
		},
		"not exported": func() {
			app.Handle(typedEcho[struct {
				a string `query:"a"`
			}])
		},
		"two fields are called": func() {
			app.Handle(typedEcho[struct {
				A, B string `query:"a"`
			}])
		},
		"differ only in letter": func() {
			app.Handle(typedEcho[struct {
				A string `json:"a"`
				B string `json:"A"`
			}])
		},
		"bytes have no one form": func() {
			app.Handle(typedEcho[struct {
				A []byte `json:"a"`
			}])
		},
		"keys of a map": func() {
			app.Handle(typedEcho[struct {
				A map[int]string `json:"a"`
			}])
		},
		"cannot be input": func() {
			app.Handle(typedEcho[struct {
				A chan int `json:"a"`
			}])
		},
		"pointer to a pointer": func() {
			app.Handle(typedEcho[struct {
				A **int `json:"a"`
			}])
		},
		"min=300: strconv": func() {
			app.Handle(typedEcho[struct {
				A int8 `json:"a" check:"min=300"`
			}])
		},
		"a length is not": func() {
			app.Handle(typedEcho[struct {
				A string `json:"a" check:"max=-1"`
			}])
		},
	}
	for want, make := range mistakes {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.Contains(got, want) || !strings.HasPrefix(got, "app.Handle: ") {
					t.Errorf("want a panic with %q, got %s", want, got)
				}
			}()
			make()
		}()
	}
}

func BenchmarkTyped(b *testing.B) {
	h := app.Handle(func(context.Context, typedRegister) (app.None, error) { return app.None{}, nil })
	body := []byte(`{"name":"Ada Lovelace","email":"ada@example.com","password":"correct horse battery staple"}`)
	r := httptest.NewRequest("POST", "/", nil)
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	reader := bytes.NewReader(body)
	r.Body, r.ContentLength = io.NopCloser(reader), int64(len(body))
	b.ReportAllocs()
	for b.Loop() {
		reader.Reset(body)
		h.ServeHTTP(w, r)
	}
	if w.Code != 204 {
		b.Fatal(w.Code)
	}
}
