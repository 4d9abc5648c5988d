#!/usr/bin/env bash
# Start a SuperLink with TLS that only registered SuperNodes can join; it replaces this shell.
# Usage: superlink.sh FOLDER [FLAG...]
#   FOLDER  holds ca.crt, server.pem and server.key, and gets state.db: the registered nodes and the runs,
#           which have to outlive the process
#   FLAG    passed on to flower-superlink
# SUPERLINK_HOST=127.0.0.1 and SUPERLINK_PORT=9000 are where it listens (0.0.0.0: on all interfaces),
# SUPERLINK_HOME=FOLDER/home is where it unpacks apps.
set -euo pipefail
umask 077

if (($# < 1)); then
    sed -n '2,8s/^# //p' "$0" >&2
    exit 2
fi
folder=$(realpath "$1")
shift
export FLWR_HOME=${SUPERLINK_HOME:-$folder/home}
export FLWR_TELEMETRY_ENABLED=${FLWR_TELEMETRY_ENABLED:-0}
export FLWR_DISABLE_UPDATE_CHECK=${FLWR_DISABLE_UPDATE_CHECK:-1}
# Dependencies are installed by the operator, not by whoever submits a run.
exec flower-superlink \
    --ssl-ca-certfile "$folder/ca.crt" \
    --ssl-certfile "$folder/server.pem" \
    --ssl-keyfile "$folder/server.key" \
    --enable-supernode-auth \
    --disable-runtime-dependency-installation \
    --database "$folder/state.db" \
    --host "${SUPERLINK_HOST:-127.0.0.1}" \
    --port "${SUPERLINK_PORT:-9000}" \
    "$@"
