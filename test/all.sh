#!/usr/bin/env bash
# Runs all tests. First everything as it ships. Then what needs no process beside
# it once more with the race detector, and beside that the tests on booted
# servers, which wait a lot. On a slow machine some of these would take too long:
# no server is started later than nine minutes from now, and none of Ubuntu's, whose
# base takes minutes to make. A test that is left out says so, and `make servers`
# runs it.
set -uo pipefail
go=${GO:-go}
others=$("$go" list ./... | grep -v '/test/') || exit 1
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# The first one makes the folder of all: not two processes at once.
if [ "$(id -u)" = 0 ]; then ip netns add "ringwall-$$" && ip netns delete "ringwall-$$"; fi

# A check from afar waits for minutes so as not to be banned, and needs little else.
afar='^(TestACheckFromAfarIsNotBanned|TestChecksEarnWhatTheySay)$'
"$go" test -timeout 15m -run "$afar" ./test/e2e &
waits=$!
# The longest ones first.
# shellcheck disable=SC2086 # a word for each package
"$go" test -shuffle=on -timeout 15m -p 4 -skip "$afar" ./test/e2e ./edge/nginx ./check/outside ./test/guide $others
code=$?
wait "$waits" || code=1

left=$((540 - SECONDS))
"$go" test -v -parallel 4 -timeout 25m ./test/vps -start "$((left > 60 ? left : 60))s" >"$log" 2>&1 &
servers=$!
# shellcheck disable=SC2086
"$go" test -race -short -shuffle=on -timeout 15m -p 2 $others || code=1
if ! wait "$servers"; then
	code=1
	cat "$log"
fi
grep -E '^ *(--- |ok|FAIL|panic)|make servers. has' "$log"
exit "$code"
