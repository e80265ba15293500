#!/bin/bash
# run.sh [--quick | --long | --capacity] [--lane LANE] [--only WORKLOAD]: Debian 12; as root where nginx or HAProxy is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
test/install-packages.sh nginx-core haproxy
npm run --silent build
npx tsc -p nginx-compare/tsconfig.json
# 9,000 clients are 18,000 descriptors of a proxy, and pipes beside; root may raise what the shell was given
ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"
exec node --import=tsx nginx-compare/compare.ts "$@"
