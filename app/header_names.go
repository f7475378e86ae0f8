package app

import "github.com/ringwall/ringwall/check"

var headerNames = Control{
	Meta: check.Meta{ID: "app/header-names", Title: "Clients cannot write the headers that name the caller"},
}
