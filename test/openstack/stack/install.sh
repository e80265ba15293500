#!/bin/bash
# install.sh [tempest]: Keystone, Glance and the clients from Debian 12's own packages, with the argument also Tempest:
# only what is missing, asking nothing, starting nothing (a policy-rc.d forbids it; the debconf answers keep
# maintainer scripts away from databases).
set -euo pipefail
PACKAGES=(keystone glance-api glance-common python3-glanceclient python3-openstackclient
  python3-keystonemiddleware uwsgi-core uwsgi-plugin-python3 curl)
case "${1:-}" in
  '') ;;
  tempest) PACKAGES+=(tempest python3-stestr python3-subunit) ;;
  *) echo "usage: install.sh [tempest]" >&2; exit 2 ;;
esac

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
  echo "openstack: root is needed to install ${missing[*]}" >&2
  exit 1
fi
command -v apt-get >/dev/null || { echo "openstack: this needs Debian 12 (apt-get)" >&2; exit 1; }
exec 8>/run/lock/sluice-openstack-install.lock
flock 8                          # another run beside this one may be installing
find_missing
[ ${#missing[@]} -gt 0 ] || exit 0

echo "openstack: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
POLICY=/usr/sbin/policy-rc.d
if [ ! -e $POLICY ]; then
  printf '#!/bin/sh\nexit 101\n' >$POLICY
  chmod 755 $POLICY
  trap 'rm -f $POLICY' EXIT
fi
debconf-set-selections <<'EOD'
keystone keystone/configure_db boolean false
keystone keystone/create-admin-tenant boolean false
keystone keystone/register-endpoint boolean false
glance-common glance/configure_db boolean false
glance-common glance/configure_ksat boolean false
glance-common glance/configure_rabbit boolean false
glance-api glance/configure_api-endpoint boolean false
EOD
apt-get update -qq
# without recommended packages: they bring a message broker and a web server
apt-get install -y -qq --no-install-recommends \
  -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "${missing[@]}" >/dev/null
