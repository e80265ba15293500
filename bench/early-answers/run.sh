#!/bin/bash
# How many early answers of an upstream reach the client: through Sluice, nginx, HAProxy and http-proxy, in one run
# (Debian 12; installs what is missing, as root).
set -euo pipefail
cd "$(dirname "$0")/../.."
test/install-packages.sh nginx-core haproxy curl
npm run --silent build
exec node --import=tsx bench/early-answers/early-answers.ts "$@"
