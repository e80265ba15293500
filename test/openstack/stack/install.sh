#!/bin/bash
# install.sh [tempest]: Keystone, Glance and the clients from Debian 12's own packages, with the argument also Tempest:
# only what is missing, starting nothing; the answers keep maintainer scripts away from databases.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
PACKAGES=(keystone glance-api glance-common python3-glanceclient python3-openstackclient
  python3-keystonemiddleware uwsgi-core uwsgi-plugin-python3 curl)
case "${1:-}" in
  '') ;;
  tempest) PACKAGES+=(tempest python3-stestr python3-subunit) ;;
  *) echo "usage: install.sh [tempest]" >&2; exit 2 ;;
esac
exec "$HERE/../../install-packages.sh" --debconf "$HERE/debconf-answers" "${PACKAGES[@]}"
