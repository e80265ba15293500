# Settings and functions of the test stack; sourced by the other scripts.
# All data, logs, pids and generated configuration live in STACK_DIR; services listen on 127.0.0.1 only.
STACK_DIR=${SLUICE_OPENSTACK_DIR:-${TMPDIR:-/tmp}/sluice-openstack}
export SLUICE_OPENSTACK_DIR=$STACK_DIR            # the tests read the stores there
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

REGION=RegionOne
export ADMIN_PASSWORD=adminpass SERVICE_PASSWORD=servicepass

# Debian's programs want Debian's python, whatever is first in PATH
PY=/usr/bin/python3
unset PYTHONPATH PYTHONHOME || true

die() { echo "openstack: $*" >&2; exit 1; }

# STACK_DIR is emptied by down.sh --wipe, so it must be ours: empty at first, marked from then on
mkdir -p "$STACK_DIR"
if [ ! -e "$STACK_DIR/.sluice-openstack" ]; then
  [ -z "$(ls -A "$STACK_DIR")" ] || die "$STACK_DIR is not empty and not ours; set SLUICE_OPENSTACK_DIR"
  touch "$STACK_DIR/.sluice-openstack"
fi
mkdir -p "$STACK_DIR"/{run,log,etc}
touch "$STACK_DIR/ports"

port_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# choose_port VARIABLE DEFAULT: from the environment, else what this STACK_DIR had, else DEFAULT if free, else any free one
choose_port() {
  local variable=$1 port=${!1:-}
  if [ -z "$port" ]; then port=$(sed -n "s/^$variable=//p" "$STACK_DIR/ports" | tail -1); fi
  if [ -z "$port" ]; then
    port=$2
    port_free "$port" || port=$($PY -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
  fi
  grep -qx "$variable=$port" "$STACK_DIR/ports" || echo "$variable=$port" >>"$STACK_DIR/ports"
  export "$variable=$port"
}
# runs side by side in different STACK_DIRs: a port that looks free may be one that the other run is about to take
PORT_SHIFT=${PORT_SHIFT:-0}
choose_port KEYSTONE_PORT $((5000 + PORT_SHIFT))
choose_port GLANCE_PORT $((9292 + PORT_SHIFT))
choose_port GLANCE_QUOTA_PORT $((9293 + PORT_SHIFT))
choose_port GLANCE_LIMITS_PORT $((9294 + PORT_SHIFT))
choose_port WEB_PORT $((8888 + PORT_SHIFT))

export KEYSTONE_URL=http://127.0.0.1:$KEYSTONE_PORT/v3
export GLANCE_URL=http://127.0.0.1:$GLANCE_PORT
# a second Glance with a database and a store of its own, and Glance's own user_storage_quota
export GLANCE_QUOTA_URL=http://127.0.0.1:$GLANCE_QUOTA_PORT
# a third one, with use_keystone_limits
export GLANCE_LIMITS_URL=http://127.0.0.1:$GLANCE_LIMITS_PORT
# files of STACK_DIR/web, for web-download
export WEB_URL=http://127.0.0.1:$WEB_PORT
# what the service catalog says the image service is
IMAGE_ENDPOINT=${IMAGE_ENDPOINT:-$GLANCE_URL}

# start time of a pid (field 22 of stat): guards against a reused pid number.
# Nothing for a zombie: pid 1 of a container may never reap it
starttime() { sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | awk '$1!="Z"{print $20}'; }

# running NAME: true if the process of run/NAME.pid is the one that was started
running() {
  local file=$STACK_DIR/run/$1.pid pid start
  [ -f "$file" ] || return 1
  read -r pid start <"$file" || return 1
  [ -n "$start" ] && [ "$(starttime "$pid")" = "$start" ]
}

# start NAME COMMAND...: detached, output to log/NAME.out, "pid starttime" to run/NAME.pid
start() {
  local name=$1 pid; shift
  # 9 is the lock of run.sh: a service that outlives the script must not hold it
  setsid "$@" >>"$STACK_DIR/log/$name.out" 2>&1 </dev/null 9>&- &
  pid=$!
  echo "$pid $(starttime $pid)" >"$STACK_DIR/run/$name.pid"
}

# stop NAME: TERM, after 10 s KILL of the process group that setsid made (its id is the pid)
stop() {
  local file=$STACK_DIR/run/$1.pid pid _
  [ -f "$file" ] || return 0
  if running "$1"; then
    read -r pid _ <"$file"
    kill -TERM "$pid" 2>/dev/null || true
    for _ in $(seq 100); do running "$1" || break; sleep 0.1; done
    if running "$1"; then kill -KILL -- "-$pid" 2>/dev/null || true; fi
    kill -TERM -- "-$pid" 2>/dev/null || true     # an orphaned worker of the group
  fi
  rm -f "$file"
}

# wait_http NAME URL: until URL answers anything at all
wait_http() {
  local _
  for _ in $(seq 450); do
    if curl -s -o /dev/null --noproxy '*' --max-time 2 "$2"; then return 0; fi
    running "$1" || { tail -20 "$STACK_DIR/log/$1.out" >&2; die "$1 died, see $STACK_DIR/log/$1.out"; }
    sleep 0.2
  done
  die "$1 does not answer at $2"
}
