// Package inside looks at a server from the server: what listens and what the
// firewall lets in, secrets that lie about, backups, logs, updates, renewals. It
// reads and changes nothing. What needs root and is not given it is unknown.
//
// The host ring proves what it sets. This is beside it because none of it is set
// by anybody: it is what people and programs leave behind. It runs no command
// inside a folder that somebody else can write, and believes no file to be small.
// A new check is one new file and one line in checks.go.
package inside
