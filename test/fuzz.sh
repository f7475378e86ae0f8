#!/usr/bin/env bash
# Runs every fuzz target of the module for a while, two at a time:
#   test/fuzz.sh 30s
set -euo pipefail
time=${1:-10s}

targets=$(go test -list '^Fuzz' ./... | awk '/^Fuzz/ {names[++n] = $1} /^ok/ {for (i = 1; i <= n; i++) print $2, names[i]; n = 0}')
if [ -z "$targets" ]; then
	echo "no fuzz targets found" >&2
	exit 1
fi
fuzz() {
	local log
	log=$(mktemp)
	if go test "$1" -run '^$' -fuzz "^$2\$" -fuzztime "$time" -parallel 1 >"$log" 2>&1; then
		printf 'ok  \t%s\t%s for %s\n' "$1" "$2" "$time"
	else
		cat "$log"
		printf 'FAIL\t%s\t%s\n' "$1" "$2"
		rm "$log"
		return 1
	fi
	rm "$log"
}
export -f fuzz
export time
xargs -P 2 -L 1 bash -c 'fuzz "$0" "$1"' <<<"$targets"
