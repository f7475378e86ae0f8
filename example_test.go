package ringwall_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"syscall"

	"github.com/ringwall/ringwall"
	"github.com/ringwall/ringwall/policy"
)

// examplePolicy stands for the file that LoadPolicy reads.
func examplePolicy(yaml string) *policy.Policy {
	p, err := policy.Parse("ringwall.yaml", []byte(yaml), policy.LoadOptions{Environ: []string{}})
	if err != nil {
		panic(err)
	}
	return p
}

// A whole server: HTTPS on the policy's addresses with the certificate of
// edge.tls, until it is asked to stop.
func Example() {
	handler := http.NotFoundHandler() // your API
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	p, err := ringwall.LoadPolicy("ringwall.yaml")
	if err != nil {
		log.Fatal(err)
	}
	srv, err := ringwall.New(p, handler, ringwall.Deps{})
	if err != nil {
		log.Fatal(err)
	}
	if err := srv.Run(ctx); err != nil { // nil: it was asked to stop
		log.Fatal(err)
	}
}

// The same controls as in front of any other API, in the process of the API
// itself.
func ExampleNew() {
	p := examplePolicy(`
site: api.example.com
app:
  routes:
    - {path: /, allow: [anyone]}
`)
	type greeting struct {
		Hello string `json:"hello"`
	}
	type input struct {
		Name string `query:"name" check:"min=2,max=80"`
	}
	mux := http.NewServeMux()
	mux.Handle("GET /greeting", ringwall.Handle(func(_ context.Context, in input) (greeting, error) {
		return greeting{in.Name}, nil
	}))
	srv, err := ringwall.New(p, mux, ringwall.Deps{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, target := range []string{"/greeting?name=Ada", "/greeting?name=A", "/x/../greeting"} {
		w := httptest.NewRecorder()
		srv.Handler().ServeHTTP(w, httptest.NewRequest("GET", "https://api.example.com"+target, nil))
		fmt.Println(w.Code, w.Header().Get("Content-Type"), w.Header().Get("X-Content-Type-Options"))
	}
	// Output:
	// 200 application/json nosniff
	// 400 application/problem+json nosniff
	// 400 application/problem+json nosniff
}

// A policy that would refuse everybody is refused itself: nothing here says how
// to know a caller, and what no route matches is for callers only.
func ExampleNew_nobodyCouldCall() {
	_, err := ringwall.New(examplePolicy("site: api.example.com"), http.NotFoundHandler(), ringwall.Deps{})
	fmt.Println(err)
	// Output:
	// ringwall.yaml: identity.token_key: there is no key to verify callers with, and what no route matches is for callers only
	//   hint: `ringwall init` makes one in secrets/, or set RINGWALL_IDENTITY_TOKEN_KEY
}
