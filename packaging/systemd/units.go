// Package systemd holds the units that Ringwall ships, which `ringwall host`
// installs.
package systemd

import "embed"

// Units are the files by name, such as ringwall.service.
//
//go:embed ringwall.service ringwall-https.socket ringwall-redirect.socket ringwall-http3.socket
var Units embed.FS
