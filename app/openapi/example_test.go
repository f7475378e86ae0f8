package openapi_test

import (
	"fmt"
	"net/http/httptest"
	"strings"

	"github.com/ringwall/ringwall/app/openapi"
)

func ExampleParse() {
	d, err := openapi.Parse([]byte(`
openapi: 3.1.0
paths:
  /notes:
    post:
      requestBody:
        required: true
        content:
          application/json:
            schema:
              type: object
              required: [title]
              properties:
                id: {type: integer, readOnly: true}
                title: {type: string, minLength: 1}
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, body := range []string{`{"title":"Milk"}`, `{"id":7,"title":""}`, `{"title":"Milk","owner":"root"}`} {
		r := httptest.NewRequest("POST", "/notes", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		fmt.Println(d.Check(r, "/notes", []byte(body)))
	}
	// Output:
	// []
	// [{/id read_only may not be sent} {/title too_short must have at least 1 characters}]
	// [{ unknown holds a property that is not described}]
}

// A keyword that means nothing would check nothing: the document does not load.
func ExampleParse_mistake() {
	_, err := openapi.Parse([]byte(`
openapi: 3.1.0
paths:
  /notes:
    get:
      parameters:
        - {name: q, in: query, schema: {type: string, maxlength: 200}}
`))
	fmt.Println(err)
	// Output:
	// openapi:7: #/paths/~1notes/get/parameters/0/schema/maxlength: maxlength is no keyword of JSON Schema 2020-12, so that it would check nothing; a name of your own starts with x-
}
