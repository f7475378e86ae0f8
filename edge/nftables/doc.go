// Package nftables holds the edge's bans in the kernel, so that a packet of a
// banned address is dropped before anything of ours sees it.
//
// The server that faces the Internet has no privilege, so there are two halves.
// A Banner, in the server, tells over a unix socket. A Holder, in a process of
// its own whose one privilege is CAP_NET_ADMIN, takes nothing from the socket but
// addresses and seconds, and writes them into a table of its own, "inet
// ringwall", which no other firewall touches.
package nftables
