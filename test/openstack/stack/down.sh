#!/bin/bash
# Stop what up.sh started, known by its pid files. --wipe also deletes STACK_DIR.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
for name in gateway webserver glance glance-quota glance-limits keystone; do stop $name; done
if [ "${1:-}" = --wipe ]; then rm -rf "${STACK_DIR:?}"; fi
