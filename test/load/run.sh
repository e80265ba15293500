#!/bin/bash
# run.sh [long]: holds many uploads and connections, and lets slowhttptest (Debian's package, installed if it is missing)
# try the gateway. Without `long` a minute or so; with it 4,000 slow clients for 60 s in each mode.
set -euo pipefail
cd "$(dirname "$0")/../.."
test/install-packages.sh slowhttptest
case "${1:-}" in
  '') ;;
  long) export SLUICE_LOAD=long ;;
  *) echo "usage: run.sh [long]" >&2; exit 2 ;;
esac
npm run --silent build
# 9,000 connections of clients, and as many on this side
ulimit -n 20000
exec npx mocha --config test/load/.mocharc.json
