#!/bin/bash
# install-packages.sh [--debconf FILE] PACKAGE...: those of Debian 12's packages that are missing, asking nothing, starting
# nothing (a policy-rc.d forbids it). FILE has answers for maintainer scripts, as debconf-set-selections reads them.
set -euo pipefail
ANSWERS=
if [ "${1:-}" = --debconf ]; then ANSWERS=$2; shift 2; fi
[ $# -gt 0 ] || { echo "usage: install-packages.sh [--debconf FILE] PACKAGE..." >&2; exit 2; }
PACKAGES=("$@")

find_missing() {
  local package state
  missing=()
  for package in "${PACKAGES[@]}"; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing+=("$package")
  done
}

find_missing
[ ${#missing[@]} -gt 0 ] || exit 0
if [ "$(id -u)" != 0 ]; then
  echo "root is needed to install ${missing[*]}" >&2
  exit 1
fi
command -v apt-get >/dev/null || { echo "this needs Debian 12 (apt-get)" >&2; exit 1; }
exec 8>/run/lock/sluice-install.lock
flock 8                          # another run beside this one may be installing
find_missing
[ ${#missing[@]} -gt 0 ] || exit 0

echo "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
POLICY=/usr/sbin/policy-rc.d
if [ ! -e $POLICY ]; then
  printf '#!/bin/sh\nexit 101\n' >$POLICY
  chmod 755 $POLICY
  trap 'rm -f $POLICY' EXIT
fi
[ -z "$ANSWERS" ] || debconf-set-selections "$ANSWERS"
apt-get update -qq
# without recommended packages: they bring a message broker and a web server
apt-get install -y -qq --no-install-recommends \
  -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "${missing[@]}" >/dev/null
