package app

import "github.com/ringwall/ringwall/check"

var requestSchema = Control{
	Meta: check.Meta{ID: "app/schema", Title: "Requests that the schema does not describe are refused"},
}
