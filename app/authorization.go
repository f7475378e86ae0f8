package app

import "github.com/ringwall/ringwall/check"

var authorization = Control{
	Meta: check.Meta{ID: "app/authorization", Title: "Callers reach only what their roles allow"},
}
