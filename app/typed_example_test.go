package app_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/ringwall/ringwall/app"
)

func ExampleHandle() {
	type register struct {
		Name     string `json:"name" check:"min=2,max=80"`
		Email    string `json:"email" check:"format=email"`
		Password string `json:"password" check:"min=8,maxbytes=72"`
	}
	type account struct {
		ID   int    `json:"id"`
		Name string `json:"name"`
	}
	mux := http.NewServeMux()
	mux.Handle("POST /accounts", app.Handle(func(ctx context.Context, in register) (app.Created[account], error) {
		if in.Email == "taken@example.com" {
			return app.Created[account]{}, &app.Error{Status: http.StatusConflict, Detail: "That address is taken."}
		}
		return app.Created[account]{Value: account{ID: 1, Name: in.Name}, Location: "/accounts/1"}, nil
	}))

	for _, body := range []string{
		`{"name":"Ada","email":"ada@example.com","password":"correct horse"}`,
		`{"name":"A","email":{"$gt":""},"role":"admin"}`,
		`{"name":"Ada","email":"taken@example.com","password":"correct horse"}`,
	} {
		r := httptest.NewRequest("POST", "/accounts", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Body)
	}
	// Output:
	// 201 {"id":1,"name":"Ada"}
	// 400 {"type":"https://github.com/ringwall/ringwall/blob/main/docs/controls.md#app-schema","title":"Bad Request","status":400,"detail":"The request is not as it should be; see errors.","errors":[{"path":"/name","code":"too_short","message":"must have at least 2 characters"},{"path":"/email","code":"type","message":"must be a string"},{"path":"","code":"unknown","message":"holds a member that is not known; known are email, name, password"},{"path":"/password","code":"required","message":"is required"}]}
	// 409 {"type":"about:blank","title":"Conflict","status":409,"detail":"That address is taken."}
}

// A tag that means nothing would check nothing: the program does not start.
func ExampleHandle_mistake() {
	defer func() { fmt.Println(recover()) }()
	app.Handle(func(_ context.Context, in struct {
		Name string `json:"name" check:"minimum=2"`
	}) (app.None, error) {
		return app.None{}, nil
	})
	// Output:
	// app.Handle: struct { Name string "json:\"name\" check:\"minimum=2\"" }.Name: minimum=2: no such rule for string; app.Handle lists them
}
