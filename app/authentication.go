package app

import "github.com/ringwall/ringwall/check"

var authentication = Control{
	Meta: check.Meta{ID: "app/authentication", Title: "Only verified tokens make a caller"},
}
