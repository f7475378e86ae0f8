#!/usr/bin/env bash
# Runs the fuzz targets of the module, two at a time: those that read what any
# stranger sends for the first duration, the others for the second, if there is one.
#   test/fuzz.sh 60s 20s
set -euo pipefail
long=${1:?for how long?}
short=${2:-}

targets=$(grep -rHoE --include='*_test.go' '^func Fuzz[A-Za-z0-9]+' . | sed -E 's|^(.*)/[^/]+:func (.*)$|\1 \2|' | sort)
if [ -z "$targets" ]; then
	echo "no fuzz targets found" >&2
	exit 1
fi
fuzz() {
	local log time=$short
	case $2 in FuzzRequests | FuzzAgreesWithNetHTTP | FuzzAuthorization | FuzzOrigin | FuzzPath | FuzzJSON | FuzzForwardedFor) time=$long ;; esac
	if [ -z "$time" ]; then return; fi
	log=$(mktemp)
	for try in 1 2 3; do
		if go test "$1" -run '^$' -fuzz "^$2\$" -fuzztime "$time" -parallel 1 >"$log" 2>&1; then
			printf 'ok  \t%s\t%s for %s\n' "$1" "$2" "$time"
			rm "$log"
			return
		fi
		# The fuzzer calls it a failure, too, when its own time is over while an
		# input is being tried. One that never ends is seen at each try.
		if grep -q 'Failing input written' "$log" || ! grep -q '^ *context deadline exceeded' "$log"; then break; fi
	done
	cat "$log"
	printf 'FAIL\t%s\t%s\n' "$1" "$2"
	rm "$log"
	return 1
}
export -f fuzz
export long short
xargs -P 2 -L 1 bash -c 'fuzz "$0" "$1"' <<<"$targets"
