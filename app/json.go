package app

import "github.com/ringwall/ringwall/check"

var jsonHygiene = Control{
	Meta: check.Meta{ID: "app/json", Title: "JSON bodies have one reading"},
}
