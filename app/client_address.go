package app

import "github.com/ringwall/ringwall/check"

var clientAddress = Control{
	Meta: check.Meta{ID: "app/client-address", Title: "The client's address cannot be forged"},
}
