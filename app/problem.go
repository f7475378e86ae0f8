package app

import "github.com/ringwall/ringwall/check"

var problemAnswers = Control{
	Meta: check.Meta{ID: "app/problem", Title: "Errors are problem+json and tell no internals"},
}
