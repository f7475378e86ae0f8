#!/usr/bin/env bash
# Runs all tests, with the race detector where code of this module runs in the
# test itself. Those on booted servers wait a lot, for systemd and for packages:
# they run beside the others, three at a time, and are shown at the end.
set -uo pipefail
go=${GO:-go}
others=$("$go" list ./... | grep -v '/test/vps$') || exit 1
log=$(mktemp)
trap 'rm -f "$log"' EXIT
"$go" test -shuffle=on -parallel 3 -timeout 30m ./test/vps >"$log" 2>&1 &
servers=$!
# shellcheck disable=SC2086 # a word for each package
"$go" test -race -shuffle=on -timeout 15m -p 3 $others
code=$?
wait "$servers" || code=1
cat "$log"
exit "$code"
