#!/bin/bash
# up.sh: configure and start Keystone, Glance, a second Glance with user_storage_quota, and a third with
# use_keystone_limits; waits until each answers.
# up.sh tempest: instead of the second and third Glance what Tempest needs beside the first: metadata definitions in its database,
# and a web server with the files of STACK_DIR/web, which web-download may reach.
# Idempotent: a service that runs is left alone.
#   IMAGE_ENDPOINT  what the service catalog says the image service is (default: Glance itself)
#   GLANCE_QUOTA    user_storage_quota of the first Glance (default 0 = none)
set -euo pipefail
. "$(dirname "$0")/lib.sh"
case "${1:-}" in
  '' | tempest) TEMPEST=${1:-} ;;
  *) die "usage: up.sh [tempest]" ;;
esac

sqlite_with_wal() { # or writers meet "database is locked"
  $PY -c 'import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute("PRAGMA journal_mode=WAL")' "$1"
}

prepare_keystone() {
  local d=$STACK_DIR/keystone e=$STACK_DIR/etc/keystone manage url=$KEYSTONE_URL/
  mkdir -p "$d/fernet" "$d/credential" "$e/policy.d"
  chmod 700 "$d/fernet" "$d/credential"
  cat >"$e/keystone.conf" <<EOC
[DEFAULT]
log_file = $STACK_DIR/log/keystone.log
use_stderr = False
[database]
connection = sqlite:///$d/keystone.db
[token]
provider = fernet
expiration = 28800
[fernet_tokens]
key_repository = $d/fernet
[credential]
key_repository = $d/credential
[oslo_policy]
policy_dirs = $e/policy.d
[identity]
password_hash_rounds = 4
EOC
  [ ! -f "$d/prepared" ] || return 0
  manage="keystone-manage --config-file $e/keystone.conf"
  {
    sqlite_with_wal "$d/keystone.db"
    $manage db_sync
    $manage fernet_setup --keystone-user "$(id -un)" --keystone-group "$(id -gn)"
    $manage credential_setup --keystone-user "$(id -un)" --keystone-group "$(id -gn)"
    $manage bootstrap --bootstrap-password "$ADMIN_PASSWORD" --bootstrap-region-id $REGION \
      --bootstrap-public-url "$url" --bootstrap-internal-url "$url" --bootstrap-admin-url "$url"
  } >>"$STACK_DIR/log/keystone-manage.log" 2>&1
  touch "$d/prepared"
}

start_keystone() {
  # post-buffering and "Connection: close": uwsgi closes after each answer, and clients must know.
  # die-on-term: TERM stops it (uwsgi's default is to reload)
  OS_KEYSTONE_CONFIG_FILES=$STACK_DIR/etc/keystone/keystone.conf start keystone \
    uwsgi_python3 --http-socket "127.0.0.1:$KEYSTONE_PORT" --wsgi-file /usr/bin/keystone-wsgi-public \
    --master --processes 1 --threads 4 --die-on-term --need-app --buffer-size 65535 \
    --disable-logging --lazy-apps --post-buffering 65536 --add-header "Connection: close"
}

# configure_glance NAME PORT QUOTA: its own database, stores and logs in STACK_DIR/NAME. etc/NAME/more.conf is read too
configure_glance() {
  local d=$STACK_DIR/$1 e=$STACK_DIR/etc/$1
  mkdir -p "$d"/{images,staging,tasks,work} "$e/policy.d"
  cp /usr/share/glance-common/glance-api-paste.ini "$e/"
  touch "$e/policy.yaml" "$e/more.conf"
  cat >"$e/glance-api.conf" <<EOC
[DEFAULT]
bind_host = 127.0.0.1
bind_port = $2
workers = 1
user_storage_quota = $3
show_image_direct_url = True
show_multiple_locations = True
enabled_backends = fast:file,web:http
enabled_import_methods = [glance-direct,web-download,copy-image]
log_file = $STACK_DIR/log/$1-api.log
use_stderr = False
[database]
connection = sqlite:///$d/glance.db
[glance_store]
default_backend = fast
[fast]
filesystem_store_datadir = $d/images
[os_glance_staging_store]
filesystem_store_datadir = $d/staging
[os_glance_tasks_store]
filesystem_store_datadir = $d/tasks
[task]
work_dir = $d/work
[paste_deploy]
flavor = keystone
config_file = $e/glance-api-paste.ini
[keystone_authtoken]
www_authenticate_uri = $KEYSTONE_URL
auth_url = $KEYSTONE_URL
auth_type = password
username = glance
password = $SERVICE_PASSWORD
project_name = service
user_domain_name = Default
project_domain_name = Default
service_token_roles_required = True
# by this name access rules of application credentials know Glance
service_type = image
[oslo_policy]
policy_file = $e/policy.yaml
policy_dirs = $e/policy.d
[oslo_concurrency]
lock_path = $d
EOC
  # web-download reaches only hosts and ports that are listed, and of loop-back addresses only listed ones
  cat >"$e/glance-image-import.conf" <<EOC
[import_filtering_opts]
allowed_hosts = [127.0.0.1]
allowed_ports = [80,443,$WEB_PORT]
[image_import_opts]
image_import_plugins = []
EOC
}

prepare_glances() {
  local d=$STACK_DIR/glance manage
  manage="glance-manage --config-file $STACK_DIR/etc/glance/glance-api.conf"
  configure_glance glance "$GLANCE_PORT" "${GLANCE_QUOTA:-0}"
  configure_glance glance-quota "$GLANCE_QUOTA_PORT" 200MB
  configure_glance glance-limits "$GLANCE_LIMITS_PORT" 0
  [ ! -f "$d/prepared" ] || return 0
  sqlite_with_wal "$d/glance.db"
  {
    $manage db_sync
    if [ -n "$TEMPEST" ]; then $manage db_load_metadefs /usr/share/glance-common/metadefs; fi
  } >>"$STACK_DIR/log/glance-manage.log" 2>&1
  cp "$d"/glance.db* "$STACK_DIR/glance-quota/"
  cp "$d"/glance.db* "$STACK_DIR/glance-limits/"
  touch "$d/prepared"
}

# glance-api (eventlet), not Debian's default uwsgi: it listens by itself and needs no second server
start_glance() {
  local e=$STACK_DIR/etc/$1
  start "$1" glance-api --config-file "$e/glance-api.conf" --config-file "$e/glance-image-import.conf" \
    --config-file "$e/more.conf"
}

start_webserver() {
  mkdir -p "$STACK_DIR/web"
  start webserver $PY -m http.server --bind 127.0.0.1 --directory "$STACK_DIR/web" "$WEB_PORT"
}

# limit_by_keystone ENDPOINT: unified limits, which belong to a service and a region, named by an endpoint of theirs
limit_by_keystone() {
  cat >"$STACK_DIR/etc/glance-limits/more.conf" <<EOC
[DEFAULT]
use_keystone_limits = True
[oslo_limit]
auth_url = $KEYSTONE_URL
auth_type = password
username = glance
password = $SERVICE_PASSWORD
user_domain_name = Default
system_scope = all
endpoint_id = $1
EOC
}

prepare_glances & glances=$!        # takes as long as Keystone's part, and does not need it
if ! running keystone; then
  prepare_keystone
  start_keystone
fi
wait $glances || die "glance's database could not be made, see $STACK_DIR/log/glance-manage.log"
running glance || start_glance glance
if [ -n "$TEMPEST" ]; then running webserver || start_webserver; else running glance-quota || start_glance glance-quota; fi
wait_http keystone "$KEYSTONE_URL"
endpoint=$(ADMIN_PASSWORD=$ADMIN_PASSWORD SERVICE_PASSWORD=$SERVICE_PASSWORD REGION=$REGION \
  KEYSTONE_URL=$KEYSTONE_URL IMAGE_ENDPOINT=$IMAGE_ENDPOINT $PY "$HERE/seed.py")
if [ -z "$TEMPEST" ]; then
  limit_by_keystone "$endpoint"
  running glance-limits || start_glance glance-limits
fi
wait_http glance "$GLANCE_URL/"
if [ -n "$TEMPEST" ]; then
  wait_http webserver "$WEB_URL/"
  echo "openstack: keystone $KEYSTONE_URL, glance $GLANCE_URL, image endpoint of the catalog $IMAGE_ENDPOINT"
else
  wait_http glance-quota "$GLANCE_QUOTA_URL/"
  wait_http glance-limits "$GLANCE_LIMITS_URL/"
  echo "openstack: keystone $KEYSTONE_URL, glance $GLANCE_URL, with a quota $GLANCE_QUOTA_URL, with limits $GLANCE_LIMITS_URL"
fi
