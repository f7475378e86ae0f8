package app

import "github.com/ringwall/ringwall/check"

var crossSite = Control{
	Meta: check.Meta{ID: "app/cross-site", Title: "Other sites cannot act with a visitor's cookies"},
}
