#!/usr/bin/env bash
# Installs the Debian packages that the tests use and that are not there: as
# root, or with a sudo that asks nothing. Otherwise it says what is missing; the
# tests that need it are then skipped, each with its reason.
set -euo pipefail

missing=()
need() { # need PACKAGE COMMAND...: any of the commands will do
	local package=$1
	shift
	for command in "$@"; do
		if command -v "$command" >/dev/null; then return; fi
	done
	missing+=("$package")
}
need gcc gcc
need libc6-dev gcc
need curl curl
need chromium chromium chromium-browser google-chrome
need nodejs node
need npm npm
need wrk wrk
if [ ${#missing[@]} -eq 0 ]; then exit 0; fi

as_root=()
if [ "$(id -u)" != 0 ]; then
	if ! sudo -n true 2>/dev/null; then
		echo "not installed, so some tests are skipped: ${missing[*]}"
		exit 0
	fi
	as_root=(sudo -n)
fi
echo "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -q </dev/null
"${as_root[@]}" apt-get install -q -y --no-install-recommends "${missing[@]}" </dev/null
