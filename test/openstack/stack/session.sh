# Sourced, in the project's folder, by a script that has the stack for one run of its own: takes the lock of the scratch
# directory, builds the gateway, empties the directory, and when the script ends, in whatever way, stops everything.
# CHILD is what the script waits for at the time, leader of its own process group (setsid), or nothing.
# It runs in the background, and `wait` waits: a signal is then handled at once, not when the child is done.
STACK=$PWD/test/openstack/stack
KEEP=${SLUICE_OPENSTACK_KEEP:-}
CHILD=

LOCK=${SLUICE_OPENSTACK_DIR:-${TMPDIR:-/tmp}/sluice-openstack}.lock
mkdir -p "$(dirname "$LOCK")"
exec 9>"$LOCK"
flock -n 9 || { echo "openstack: another run uses this scratch directory" >&2; exit 1; }

build_gateway() {
  exec 7<package.json
  flock 7                       # a run with another scratch directory may be building too
  if [ ! -e dist/main.js ] || [ -n "$(find src tsconfig.json tsconfig.build.json package.json -newer dist/main.js -print -quit)" ]; then
    npm run --silent build
  fi
  exec 7<&-
}

finish() {
  status=$?
  trap '' INT TERM HUP
  if [ -n "$CHILD" ]; then kill -TERM -- "-$CHILD" 2>/dev/null || true; fi
  if [ -n "$KEEP" ]; then
    stop gateway
  else
    # what is left after a failure explains it
    if [ $status = 0 ]; then "$STACK/down.sh" --wipe; else "$STACK/down.sh"; fi
  fi
  exit $status
}

begin_session() {
  trap finish EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  if [ -z "$KEEP" ]; then "$STACK/down.sh" --wipe; fi      # left by a failed or killed run
  . "$STACK/lib.sh"
}
