package ringwall

import (
	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/app/openapi"
	"github.com/ringwall/ringwall/policy"
)

// schema compiles the OpenAPI document that the policy names; nil for none.
func schema(p *policy.Policy) (app.RequestSchema, error) {
	if p.App.Schema == "" {
		return nil, nil
	}
	d, err := openapi.Load(p.File(p.App.Schema))
	if err != nil {
		return nil, p.Errorf("app.schema", "", "%w", err)
	}
	return d, nil
}
