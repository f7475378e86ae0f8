package app

import "github.com/ringwall/ringwall/check"

var knownHost = Control{
	Meta: check.Meta{ID: "app/host", Title: "Only the site's own host name is served"},
}
