#!/bin/bash
# The tests on the newest long-term Node besides the one that is installed: npm's package `node` brings it.
set -euo pipefail
cd "$(dirname "$0")/.."
VERSION=${SLUICE_NEWER_NODE:-24}
DIR=${TMPDIR:-/tmp}/sluice-node-$VERSION
NODE=$DIR/node_modules/node/bin/node
if ! "$NODE" --version 2>/dev/null | grep -q "^v$VERSION\."; then
  mkdir -p "$DIR"
  printf '{"private":true,"allowScripts":{"node":true}}\n' >"$DIR/package.json"
  npm install --prefix "$DIR" --no-audit --no-fund "node@$VERSION"
fi
"$NODE" --version
# in the splice lane, which leans on more of Node than the other; what that cannot do is streamed there too
# what an upload costs in resident memory is promised for the oldest Node: newer ones collect garbage later (5.9 to 8.1 MiB)
export SLUICE_TEST_LANE=${SLUICE_TEST_LANE:-splice}
exec "$NODE" node_modules/mocha/bin/mocha.js --fgrep "an upload into an upstream that does not read" --invert "$@"
