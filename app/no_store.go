package app

import "github.com/ringwall/ringwall/check"

var noStore = Control{
	Meta: check.Meta{ID: "app/no-store", Title: "Answers for a signed-in caller are not stored"},
}
