package check_test

import (
	"context"
	"fmt"
	"os"

	"github.com/ringwall/ringwall/check"
)

func ExampleRun() {
	hsts := check.Check{
		Meta: check.Meta{ID: "app/hsts", Title: "Browsers use HTTPS only", Ref: "RFC 6797"},
		Verify: func(context.Context) check.Finding {
			return check.Failed("no Strict-Transport-Security on GET /", "a max-age of one hour or more", "set the header on every answer")
		},
	}
	forgotten := check.Check{Meta: check.Meta{ID: "app/csp", Title: "Nothing in an answer may load content", Ref: "CSP Level 3"}}

	r := check.Run(context.Background(), []check.Check{hsts, forgotten}, check.Options{})
	_ = r.WriteText(os.Stdout, check.Text{})
	fmt.Println("exit", r.ExitCode())
	// Output:
	// FAIL     app/hsts: Browsers use HTTPS only
	//          got   no Strict-Transport-Security on GET /
	//          want  a max-age of one hour or more
	//          fix   set the header on every answer
	//          see   RFC 6797
	// UNKNOWN  app/csp: Nothing in an answer may load content
	//          got   app/csp has no proof
	//          see   CSP Level 3
	//
	// 0 pass, 1 fail, 1 unknown, 0 waived
	// exit 1
}
