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
need libxml2-utils xmllint
need curl curl
need chromium chromium chromium-browser google-chrome
need nodejs node
need npm npm
need wrk wrk
need testssl.sh testssl testssl.sh
need nginx nginx
need nmap nmap
need groff-base groff
need iproute2 ip
need slowhttptest slowhttptest
need postgresql postgres initdb /usr/lib/postgresql/*/bin/postgres
need debootstrap debootstrap
need systemd-container systemd-nspawn
need iproute2 ip
need openssh-client ssh
need nftables nft
need iptables iptables
need hydra hydra
need ssh-audit ssh-audit
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
