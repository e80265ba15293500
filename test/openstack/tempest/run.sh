#!/bin/bash
# Tempest's tests of the image API, once against Glance itself and once through the gateway, on one real Keystone and Glance
# (Debian 12): test by test, the results must be the same. Argument: a regular expression of tests to run
# (default: tempest.api.image.v2, all of it; fewer than 80 tests are then a failure).
#   SLUICE_OPENSTACK_DIR   scratch directory (default ${TMPDIR:-/tmp}/sluice-tempest: not that of the other tests)
#   SLUICE_OPENSTACK_KEEP  1: use services that run already, and leave them running at the end
#   KEYSTONE_PORT GLANCE_PORT WEB_PORT GATEWAY_PORT GATEWAY_ADMIN_PORT   default 6000 10292 9888 10191 10190, or any
#                          free port if those are taken
set -euo pipefail
cd "$(dirname "$0")/../../.."
export SLUICE_OPENSTACK_DIR=${SLUICE_OPENSTACK_DIR:-${TMPDIR:-/tmp}/sluice-tempest} PORT_SHIFT=1000
. test/openstack/stack/session.sh

LEAST_RUN=80            # of 83: what Debian's Tempest 33 has
LEAST_PASSED=70         # of 74: what fails on both sides proves nothing about the gateway
MOST_REPEATED=10        # more differences than that are not bad luck
if [ $# -gt 0 ]; then LEAST_RUN=1 LEAST_PASSED=1; fi
REGEX=${1:-tempest[.]api[.]image[.]v2}

# the gateway that is compared with Glance
gateway_configuration() {
  cat <<EOC
listen: [{ address: "127.0.0.1:$GATEWAY_PORT" }]
admin: { address: "127.0.0.1:$GATEWAY_ADMIN_PORT" }
upstream: { servers: ["$GLANCE_URL"], server_kind: eventlet }
identity: { source: none }
quota: { mode: "off" }
EOC
}

# tempest_configuration SIDE; the time limits bear a machine that is busy with other things
tempest_configuration() {
  cat <<EOC
[DEFAULT]
log_file = $STACK_DIR/log/tempest-$1.log
debug = True
[oslo_concurrency]
lock_path = $WORK/$1/lock
[auth]
use_dynamic_credentials = True
admin_username = admin
admin_password = $ADMIN_PASSWORD
admin_project_name = admin
admin_domain_name = Default
[identity]
uri_v3 = $KEYSTONE_URL
auth_version = v3
v3_endpoint_type = public
region = $REGION
[identity-feature-enabled]
api_v2 = False
[service-clients]
http_timeout = 300
[service_available]
glance = True
nova = False
neutron = False
cinder = False
swift = False
horizon = False
[image]
catalog_type = image
endpoint_type = public
http_image = $WEB_URL/tempest.img
build_interval = 1
build_timeout = 60
[image-feature-enabled]
import_image = True
os_glance_reserved = True
manage_locations = True
EOC
}

say() { echo "tempest: $*"; }

prepare_side() {
  local d=$WORK/$1
  mkdir -p "$d/lock"
  tempest_configuration "$1" >"$d/tempest.conf"
  cat >"$d/.stestr.conf" <<EOC
[DEFAULT]
test_path=/usr/lib/python3/dist-packages/tempest/test_discover
top_dir=/usr/lib/python3/dist-packages/tempest
group_regex=([^\.]*\.)*
EOC
}

# point_catalog SIDE: where whoever asks Keystone for the image service is sent from now on
point_catalog() {
  local url=$GLANCE_URL
  [ "$1" = direct ] || url=http://127.0.0.1:$GATEWAY_PORT
  IMAGE_ENDPOINT=$url "$STACK/up.sh" tempest >/dev/null
}

# as join wants it
in_order() { LC_ALL=C sort -t $'\t' -k1,1; }

# run_tempest SIDE REGEX: the results, sorted by test, are then in WORK/last
run_tempest() {
  local d=$WORK/$1 log=$STACK_DIR/log/tempest-$1.out status=0
  rm -rf "$d/.stestr"
  # one worker: both sides then run the tests in the same order
  setsid env -C "$d" tempest run --config-file "$d/tempest.conf" --concurrency 1 --regex "$2" \
    >>"$log" 2>&1 </dev/null 9>&- &
  CHILD=$!
  wait $CHILD || status=$?                # 1 if a test failed
  CHILD=
  if [ $status -gt 1 ] ||
    ! env -C "$d" stestr last --subunit 2>>"$log" | $PY "$FOLDER/results.py" | in_order >"$WORK/last"; then
    tail -20 "$log" >&2
    die "tempest did not run, see $log"
  fi
}

# count SIDE RESULT
count() { awk -F '\t' -v result="$2" '$2 == result { n += 1 } END { print n + 0 }' "$WORK/$1.results"; }

# whole_run SIDE TITLE
whole_run() {
  local began=$SECONDS
  point_catalog "$1"
  run_tempest "$1" "$REGEX"
  mv "$WORK/last" "$WORK/$1.results"
  say "$2: $(wc -l <"$WORK/$1.results") run, $(count "$1" passed) passed, $(count "$1" skipped) skipped," \
    "$(count "$1" failed) failed ($((SECONDS - began)) s)"
}

# test, result directly, result through the gateway; without reasons
compared() {
  LC_ALL=C join -t $'\t' -a 1 -a 2 -e 'not run' -o 0,1.2,2.2 "$WORK/direct.results" "$WORK/gateway.results"
}
differing() { compared | awk -F '\t' '$2 != $3'; }

readable() { awk -F '\t' '{ print $1 ": " $2 " directly, " $3 " through the gateway" }'; }
# list TITLE: what is on stdin under it, if there is anything
list() {
  local lines; lines=$(sed 's/^/  /')
  [ -z "$lines" ] || printf 'tempest: %s:\n%s\n' "$1" "$lines"
}

# repeat SIDE TEST...: each alone, and its new result instead of the old one
repeat() {
  local side=$1 name; shift
  point_catalog "$side"
  for name in "$@"; do
    # a fixture that failed is named "setUpClass (CLASS)": the whole class is run again
    run_tempest "$side" "^$(sed -E 's/^[^ ]* \((.*)\)$/\1/; s/\./\\./g' <<<"$name")(\\.|\\[|\$)"
    awk -F '\t' -v name="$name" 'NR == FNR { again[$1]; print; next } !($1 in again) && $1 != name' \
      "$WORK/last" "$WORK/$side.results" | in_order >"$WORK/merged"
    mv "$WORK/merged" "$WORK/$side.results"
  done
}

# metric NAME: the sum of all its samples
metric() {
  curl -s --noproxy '*' "http://127.0.0.1:$GATEWAY_ADMIN_PORT/metrics" |
    awk -v name="$1" 'index($1, name) == 1 { n += $2 } END { print n + 0 }'
}

"$STACK/install.sh" tempest
build_gateway
begin_session
FOLDER=$PWD/test/openstack/tempest
WORK=$STACK_DIR/tempest
choose_port GATEWAY_PORT $((9191 + PORT_SHIFT))
choose_port GATEWAY_ADMIN_PORT $((9190 + PORT_SHIFT))
NODE=$(command -v node)
export PATH=/usr/bin:$PATH PYTHON=$PY       # stestr starts "python", and must find Debian's

say "starting services; their logs are in $STACK_DIR/log and stay there if anything differs"
"$STACK/up.sh" tempest
mkdir -p "$STACK_DIR/web"
head -c 1048576 /dev/urandom >"$STACK_DIR/web/tempest.img"
prepare_side direct
prepare_side gateway

whole_run direct 'directly against Glance'

gateway_configuration >"$STACK_DIR/etc/gateway.yaml"
start gateway "$NODE" dist/main.js run -c "$STACK_DIR/etc/gateway.yaml"
wait_http gateway "http://127.0.0.1:$GATEWAY_ADMIN_PORT/readyz"
whole_run gateway 'through the gateway'
requests=$(metric sluice_requests_total) uploads=$(metric 'sluice_uploads_total{ending="stored"}')
say "the gateway answered $requests requests; of the uploads $uploads were stored"

mapfile -t names < <(differing | cut -f 1)
if [ ${#names[@]} -gt $MOST_REPEATED ]; then
  say "${#names[@]} differ: too many to be run again"
elif [ ${#names[@]} -gt 0 ]; then
  # a busy machine can fail a test on one side only
  differing | readable | list "${#names[@]} differ, and are run once more, each alone, on both sides"
  repeat direct "${names[@]}"
  repeat gateway "${names[@]}"
  say "$(differing | wc -l) differ after that"
fi

awk -F '\t' '$2 == "skipped" { print $1 ": " $3 }' "$WORK/gateway.results" | list 'skipped through the gateway'
compared | awk -F '\t' '$2 == "failed" && $3 == "failed" { print $1 }' | list 'failed on both sides, so not by the gateway'
differing | readable | list 'DIFFERENT'

status=0
[ "$(differing | wc -l)" = 0 ] || status=1
[ "$(wc -l <"$WORK/direct.results")" -ge $LEAST_RUN ] || { say "FEWER than $LEAST_RUN tests ran"; status=1; }
[ "$(count direct passed)" -ge $LEAST_PASSED ] || { say "FEWER than $LEAST_PASSED tests passed directly"; status=1; }
[ "$requests" -gt 0 ] || { say 'the gateway was NOT ASKED'; status=1; }
[ $status = 0 ] || say "all logs are in $STACK_DIR/log"
echo "$(($(compared | wc -l) - $(differing | wc -l))) passed, $(differing | wc -l) failed"
exit $status
