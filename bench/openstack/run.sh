#!/bin/bash
# What a gateway adds to an upload of nothing, before a real Keystone and Glance (Debian 12; installs what is missing, as root).
set -euo pipefail
cd "$(dirname "$0")/../.."
export SLUICE_OPENSTACK_DIR=${SLUICE_OPENSTACK_DIR:-${TMPDIR:-/tmp}/sluice-bench-openstack}
. test/openstack/stack/session.sh

"$STACK/install.sh"
build_gateway
begin_session
"$STACK/up.sh"

setsid node --import=tsx bench/openstack/zero-byte-upload.ts "$@" </dev/null 9>&- &
CHILD=$!
wait $CHILD
