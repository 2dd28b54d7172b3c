#!/usr/bin/env bash
# Installs the real servers that `make test-real` compares the scan types with, and the programs it compares them by, from
# Debian packages (made for Debian 12). Nothing is started: a policy-rc.d refuses it while packages are configured. Safe to
# run again: what is installed already is left as it is.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"

SERVERS="nginx apache2 openssh-server vsftpd postfix dovecot-imapd dovecot-pop3d redis-server postgresql mariadb-server
 mosquitto memcached samba bind9 squid snmpd rsync"
# Run as programs by the comparison tests only; nothing of their data is in this repository.
PROGRAMS="nmap sslscan testssl.sh dnsutils openssl curl chromium"

stop() { printf 'tools/realservers.sh: %s\n' "$1" >&2; exit 1; }

missing=()
for package in $SERVERS $PROGRAMS; do
	status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
	[ "$status" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

command -v apt-get >/dev/null || stop "needs apt-get (Debian 12) to install ${missing[*]}"
[ "$(id -u)" = 0 ] || stop "needs root to install ${missing[*]}; run it once as root"

policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod +x "$policy"
	trap 'rm -f "$policy"' EXIT
fi
log=$(mktemp)
{ apt-get update && apt-get install --yes --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 ||
	stop "could not install ${missing[*]}: $(grep -m1 '^E:' "$log" || tail -n1 "$log") (all of it in $log)"
rm -f "$log"
