package app_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/app/openapi"
	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

const schemaFile = "testdata/notes.openapi.yaml"

// schemaPolicy is inputPolicy with a schema. A policy made in Go has paths
// relative to the working folder.
func schemaPolicy(t testing.TB) (*policy.Policy, app.RequestSchema) {
	t.Helper()
	d, err := openapi.Load(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	p := inputPolicy()
	p.App.Schema = schemaFile
	return p, d
}

func TestSchema(t *testing.T) {
	p, schema := schemaPolicy(t)
	var events inputEvents
	reached := ""
	ring := inputRing(t, p, app.Deps{Schema: schema, Audit: &events}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		reached = string(b)
	}))
	for _, test := range []struct {
		method, target, media, body string
		want                        int
		control, codes              string
	}{
		{"GET", "/api/notes", "", "", 200, "", ""},
		{"HEAD", "/api/notes?limit=5", "", "", 200, "", ""},
		{"POST", "/api/notes", "application/json", `{"title":"a"}`, 200, "", ""},
		{"GET", "/api/notes?page=1", "", "", 400, "app-schema", "query unknown"},
		{"GET", "/api/notes/x", "", "", 400, "app-schema", "path/id type"},
		{"POST", "/api/notes", "application/json", `{"title":"","id":1,"owner":"root"}`, 400, "app-schema", "/id read_only, /title too_short"},
		{"POST", "/api/notes", "application/json", `{"title":"a","owner":"root"}`, 400, "app-schema", " unknown"},
		{"POST", "/api/notes", "", "", 400, "app-schema", " required"},
		{"POST", "/api/notes", "application/x-www-form-urlencoded", "title=a", 415, "app-schema", "header/Content-Type media_type"},
		{"POST", "/api/notes", "text/plain", `{"title":"a"}`, 415, "app-content-type", ""},
		{"POST", "/api/notes", "application/json", `{"title":"a","title":"b"}`, 400, "app-json", " duplicate"},
		{"GET", "/api/debug", "", "", 404, "app-operations", ""},
		{"GET", "/api/notes/", "", "", 404, "app-operations", ""},
		{"PATCH", "/api/notes/1", "application/json", `{}`, 405, "app-operations", ""},
	} {
		events.list = nil
		reached = "not reached"
		w := inputDo(ring, test.method, test.target, test.media, test.body)
		if w.Code != test.want {
			t.Errorf("%s %s: %d %s", test.method, test.target, w.Code, w.Body)
			continue
		}
		if test.want == 200 {
			if reached != test.body {
				t.Errorf("%s %s: the handler got %q", test.method, test.target, reached)
			}
			continue
		}
		if reached != "not reached" {
			t.Errorf("%s %s: the handler was called", test.method, test.target)
		}
		if r := inputRefusal(t, w); !strings.HasSuffix(r.Type, "#"+test.control) || inputCodes(r) != test.codes {
			t.Errorf("%s %s: %s", test.method, test.target, w.Body)
		}
		if len(events.list) != 1 || events.list[0].Kind != audit.InputRefused || events.list[0].Control != strings.Replace(test.control, "-", "/", 1) {
			t.Errorf("%s %s: %+v", test.method, test.target, events.list)
		}
		if allow := w.Header().Get("Allow"); (test.want == 405) != (allow == "GET, HEAD, PUT, DELETE") {
			t.Errorf("%s %s: Allow %q", test.method, test.target, allow)
		}
	}
}

// TestTrapJSONDifferentialsSchema: the same for an API in any language.
func TestTrapJSONDifferentialsSchema(t *testing.T) {
	p, schema := schemaPolicy(t)
	ring := inputRing(t, p, app.Deps{Schema: schema}, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the handler was called") }))
	for _, body := range []string{
		`{"title":"u","Title":"admin"}`, `{"Title":"u"}`, `{"title":"a","title":"b"}`, `{"title":{"$gt":""}}`, `{"title":"a","__proto__":{"admin":true}}`,
		`{"title":"a"}{"title":"b"}`, `{"title":` + strings.Repeat("[", 10_000), `{"title":"a","constructor":{"prototype":{}}}`, `[{"title":"a"}]`, `null`, `{"title":["a"]}`,
	} {
		if w := inputDo(ring, "POST", "/api/notes", "application/json", body); w.Code != 400 {
			t.Errorf("%.60s: %d", body, w.Code)
		}
	}
}

// An upload whose type is documented streams through: nobody buffers it.
func TestSchemaLeavesUploadsAlone(t *testing.T) {
	schema, err := openapi.Parse([]byte("openapi: 3.1.0\npaths: {/upload: {post: {requestBody: {content: {application/octet-stream: {}}}}}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	p := inputPolicy()
	p.App.Schema = "any.yaml"
	sent := make(chan struct{})
	pr, pw := io.Pipe()
	ring := inputRing(t, p, app.Deps{Schema: schema}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b := make([]byte, 5)
		if _, err := io.ReadFull(r.Body, b); err != nil || string(b) != "first" {
			t.Errorf("%q, %v", b, err)
		}
		close(sent) // the rest is written only now
		if b, err := io.ReadAll(r.Body); err != nil || string(b) != "second" {
			t.Errorf("%q, %v", b, err)
		}
	}))
	go func() {
		io.WriteString(pw, "first")
		<-sent
		io.WriteString(pw, "second")
		pw.Close()
	}()
	r := httptest.NewRequest("POST", "http://localhost/upload", pr)
	r.Header.Set("Content-Type", "application/octet-stream")
	w := httptest.NewRecorder()
	ring.ServeHTTP(w, r)
	if w.Code != 200 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestSchemaAndPolicyAgree(t *testing.T) {
	p, schema := schemaPolicy(t)
	if _, err := app.New(p, inputRead, app.Deps{}); err == nil || !strings.Contains(err.Error(), schemaFile) {
		t.Errorf("a schema that was not given: %v", err)
	}
	if _, err := app.New(inputPolicy(), inputRead, app.Deps{Schema: schema}); err == nil || !strings.Contains(err.Error(), "does not name") {
		t.Errorf("a schema that is not named: %v", err)
	}
}

// An incomplete document is waived without giving up the rest.
func TestOperationsWaived(t *testing.T) {
	p, schema := schemaPolicy(t)
	p.Waivers = []policy.Waiver{{Control: "app/operations", Reason: "the document is not complete yet", Until: time.Now().AddDate(0, 1, 0)}}
	ring := inputRing(t, p, app.Deps{Schema: schema}, inputRead)
	for target, want := range map[string]int{"/api/debug?x=1": 200, "/api/notes": 200, "/api/notes?x=1": 400} {
		if w := inputDo(ring, "GET", target, "", ""); w.Code != want {
			t.Errorf("%s: %d, want %d", target, w.Code, want)
		}
	}
	if w := inputDo(ring, "POST", "/api/debug", "application/json", `{"a":1,"a":2}`); w.Code != 400 {
		t.Errorf("an ambiguous body where nothing is documented: %d", w.Code)
	}
}

// What cannot be told is unknown.
func TestSchemaProofWithoutMeans(t *testing.T) {
	s := bodyServer(t, inputRing(t, inputPolicy(), app.Deps{}, inputRead), false)
	_, port, _ := strings.Cut(s.Listener.Addr().String(), ":")
	c, err := probe.New("http://localhost:"+port, probe.Options{})
	if err != nil {
		t.Fatal(err)
	}
	named, _ := schemaPolicy(t)
	gone, _ := schemaPolicy(t)
	gone.App.Schema = filepath.Join(t.TempDir(), "gone.yaml")
	for _, ctl := range app.Controls() {
		if ctl.ID != "app/schema" && ctl.ID != "app/operations" {
			continue
		}
		for name, p := range map[string]*policy.Policy{"no schema": inputPolicy(), "no file": gone} {
			if f := ctl.Verify(t.Context(), p, c); f.Verdict != check.Unknown || f.Got == "" {
				t.Errorf("%s, %s: %+v", ctl.ID, name, f)
			}
		}
		// The server knows no schema, but the policy says it does.
		if f := ctl.Verify(t.Context(), named, c); f.Verdict != check.Fail {
			t.Errorf("%s: %+v", ctl.ID, f)
		}
	}
}
