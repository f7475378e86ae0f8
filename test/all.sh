#!/usr/bin/env bash
# Runs all tests: first everything as it ships, then what needs no process beside
# it once more with the race detector. Tests on booted servers wait a lot, for
# systemd and for packages: they run beside the others, two at a time, and are
# shown at the end. No server is started after five minutes, so that a slow
# machine ends in time, too: what is left out says so, and `make servers` runs it.
set -uo pipefail
go=${GO:-go}
others=$("$go" list ./... | grep -v '/test/') || exit 1
log=$(mktemp)
trap 'rm -f "$log"' EXIT
"$go" test -v -parallel 2 -timeout 25m ./test/vps -start 5m >"$log" 2>&1 &
servers=$!
# The longest ones first.
# shellcheck disable=SC2086 # a word for each package
"$go" test -shuffle=on -timeout 15m -p 3 ./test/e2e ./test/guide $others
code=$?
# shellcheck disable=SC2086
"$go" test -race -short -shuffle=on -timeout 15m -p 3 $others || code=1
if ! wait "$servers"; then
	code=1
	cat "$log"
fi
grep -E '^ *(--- |ok|FAIL|panic)|no server is started' "$log"
exit "$code"
