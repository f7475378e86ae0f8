package policy_test

import (
	"errors"
	"fmt"

	"github.com/ringwall/ringwall/policy"
)

func ExampleParse() {
	src := "site: api.example.com\nupstream: http://127.0.0.1:8000\napp: {body: 1MB}\n"
	p, err := policy.Parse("ringwall.yaml", []byte(src), policy.LoadOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.Site, p.App.Body, p.App.Limits["auth"].Requests)
	// Output: api.example.com 1MB 20
}

// All mistakes come at once, in the order of the file.
func ExampleErrors() {
	src := "site: api.example.com\napp:\n  boddy: 1MB\n  cors: {origins: [\"*\"]}\n"
	_, err := policy.Parse("ringwall.yaml", []byte(src), policy.LoadOptions{Environ: []string{"RINGWALL_APP_TIMEOUT=30"}})
	fmt.Println(err)
	var all policy.Errors
	fmt.Println(errors.As(err, &all), len(all), all[1].Path)
	// Output:
	// ringwall.yaml:3:3: app.boddy: there is no such key
	//     boddy: 1MB
	//     ^
	//   hint: did you mean body?
	// ringwall.yaml:4:20: app.cors.origins[0]: * lets every site read answers with the victim's credentials
	//     cors: {origins: ["*"]}
	//                      ^
	//   hint: list the origins, such as https://app.example.com
	// RINGWALL_APP_TIMEOUT: app.timeout: "30" has no unit
	//   hint: write 30s for seconds; durations are written 30s, 15m, 1h30m or 30d
	// true 3 app.cors.origins[0]
}

// A rule of another package points at the key that it judges.
func ExamplePolicy_Errorf() {
	p, _ := policy.Parse("ringwall.yaml", []byte("site: api.example.com\napp: {schema: api.yaml}\n"), policy.LoadOptions{})
	fmt.Println(p.Errorf("app.schema", "name a file that is there", "%s cannot be read", p.File(p.App.Schema)))
	// Output:
	// ringwall.yaml:2:15: app.schema: api.yaml cannot be read
	//   app: {schema: api.yaml}
	//                 ^
	//   hint: name a file that is there
}
