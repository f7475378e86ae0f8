package app

import "github.com/ringwall/ringwall/check"

var disclosure = Control{
	Meta: check.Meta{ID: "app/disclosure", Title: "Answers do not name the software behind them"},
	Owns: []string{"Server", "X-Powered-By"},
}
