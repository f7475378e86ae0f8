package app

import "github.com/ringwall/ringwall/check"

var isolation = Control{
	Meta: check.Meta{ID: "app/isolation", Title: "Other origins cannot embed or script answers"},
	Owns: []string{"Cross-Origin-Opener-Policy", "Cross-Origin-Resource-Policy", "Origin-Agent-Cluster"},
}
