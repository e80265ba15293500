#!/bin/bash
# The tests against real Keystone and Glance (Debian 12). Arguments go to mocha, e.g. --grep "quota".
#   SLUICE_OPENSTACK_DIR   scratch directory (default ${TMPDIR:-/tmp}/sluice-openstack)
#   SLUICE_OPENSTACK_KEEP  1: use services that run already, and leave them running at the end
#   SLUICE_TEST_DIRECT     1: no gateway, the tests talk to Glance itself; what only a gateway can promise then fails
#   KEYSTONE_PORT GLANCE_PORT GLANCE_QUOTA_PORT GLANCE_LIMITS_PORT
#                          default 5000 9292 9293 9294, or any free port if those are taken
set -euo pipefail
cd "$(dirname "$0")/../.."
. test/openstack/stack/session.sh

"$STACK/install.sh"
[ -n "${SLUICE_TEST_DIRECT:-}" ] || build_gateway
begin_session
echo "openstack: starting services; their logs are in $STACK_DIR/log and stay there if a test fails"
"$STACK/up.sh"

setsid node_modules/.bin/mocha --config test/openstack/.mocharc.json "$@" </dev/null 9>&- &
CHILD=$!
wait $CHILD
