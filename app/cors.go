package app

import "github.com/ringwall/ringwall/check"

var cors = Control{
	Meta: check.Meta{ID: "app/cors", Title: "Only listed web origins may read answers"},
}
