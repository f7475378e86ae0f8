// Package nginx is the edge as nginx: the configuration that Debian's and
// Ubuntu's nginx, 1.18 to 1.26, needs to do what the built-in edge does, from
// the same policy and the same lists.
//
// Render makes the text and does nothing else: the same policy gives the same
// text, and no value of a policy can end a directive, since directives are a tree
// that is printed with each argument quoted. Parse reads such text into the tree
// again, and Adopt turns a site that is there into lines of a policy.
//
// Install puts the text in force on a machine and takes it back when anything of
// it fails. Banner and Events are what a running Ringwall shares with nginx: who
// is banned, and what nginx refused.
//
// What nginx cannot do is an error of package policy, or stands in docs/nginx.md.
package nginx
