package app

import "github.com/ringwall/ringwall/check"

var requestID = Control{
	Meta: check.Meta{ID: "app/request-id", Title: "Every request has an id that clients cannot choose"},
	Owns: []string{"X-Request-Id"},
}
