#!/bin/bash
# The tests against real Keystone and Glance (Debian 12). Arguments go to mocha, e.g. --grep "quota".
#   SLUICE_OPENSTACK_DIR   scratch directory (default ${TMPDIR:-/tmp}/sluice-openstack)
#   SLUICE_OPENSTACK_KEEP  1: use services that run already, and leave them running at the end
#   SLUICE_TEST_DIRECT     1: no gateway, the tests talk to Glance itself; what only a gateway can promise then fails
#   KEYSTONE_PORT GLANCE_PORT GLANCE_QUOTA_PORT GLANCE_LIMITS_PORT
#                          default 5000 9292 9293 9294, or any free port if those are taken
set -euo pipefail
cd "$(dirname "$0")/../.."
STACK=$PWD/test/openstack/stack
KEEP=${SLUICE_OPENSTACK_KEEP:-}

LOCK=${SLUICE_OPENSTACK_DIR:-${TMPDIR:-/tmp}/sluice-openstack}.lock
mkdir -p "$(dirname "$LOCK")"
exec 9>"$LOCK"
flock -n 9 || { echo "openstack: another run uses this scratch directory" >&2; exit 1; }

"$STACK/install.sh"
if [ ! -e dist/main.js ] || [ -n "$(find src tsconfig.json tsconfig.build.json package.json -newer dist/main.js -print -quit)" ]; then
  [ -n "${SLUICE_TEST_DIRECT:-}" ] || npm run --silent build
fi

MOCHA=
finish() {
  status=$?
  trap '' INT TERM HUP
  if [ -n "$MOCHA" ]; then kill -TERM -- "-$MOCHA" 2>/dev/null || true; fi   # its gateways are in its group
  if [ -z "$KEEP" ]; then
    # what is left after a failure explains it
    if [ $status = 0 ]; then "$STACK/down.sh" --wipe; else "$STACK/down.sh"; fi
  fi
  exit $status
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

if [ -z "$KEEP" ]; then "$STACK/down.sh" --wipe; fi      # left by a failed or killed run
. "$STACK/lib.sh"
echo "openstack: starting services; their logs are in $STACK_DIR/log and stay there if a test fails"
"$STACK/up.sh"

# the background and wait: a signal is then handled at once, not after the last test
setsid node_modules/.bin/mocha --config test/openstack/.mocharc.json "$@" </dev/null 9>&- &
MOCHA=$!
wait $MOCHA
