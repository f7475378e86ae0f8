package openapi

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"strconv"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// formats are those that OpenAPI adds to JSON Schema (its format registry), as
// far as they say something of the value.
var formats = []*jsonschema.Format{
	{Name: "int32", Validate: func(v any) error { return integerWithin(v, math.MinInt32, math.MaxInt32) }},
	{Name: "int64", Validate: func(v any) error { return integerWithin(v, math.MinInt64, math.MaxInt64) }},
	{Name: "byte", Validate: func(v any) error {
		s, ok := v.(string)
		if !ok {
			return nil
		}
		_, err := base64.StdEncoding.Strict().DecodeString(s)
		return err
	}},
}

var errNotWithin = errors.New("not an integer of that size")

func integerWithin(v any, least, most int64) error {
	n, ok := v.(json.Number)
	if !ok {
		return nil
	}
	i, err := strconv.ParseInt(string(n), 10, 64)
	if err != nil || i < least || i > most {
		return errNotWithin
	}
	return nil
}
