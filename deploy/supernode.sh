#!/usr/bin/env bash
# Start a SuperNode with TLS and its key; it replaces this shell.
# Usage: supernode.sh FOLDER NAME SUPERLINK [FLAG...]
#   FOLDER     holds ca.crt and the node's private key, NAME
#   SUPERLINK  host:port of the SuperLink or its door, with a name that the certificate holds
#   FLAG       passed on to flower-supernode, such as --node-config 'partition-id=0'
# SUPERNODE_PORT=9094 is the port of its own processes on 127.0.0.1. Each node of a machine needs its own.
# SUPERNODE_HOME=FOLDER/NAME.home is where it unpacks apps.
# It exits with an error while the key is refused, so run it under systemd, Compose or keep-running.sh.
set -euo pipefail
umask 077

if (($# < 3)); then
    sed -n '2,9s/^# //p' "$0" >&2
    exit 2
fi
folder=$(realpath "$1")
name=$2 superlink=$3
shift 3
export FLWR_HOME=${SUPERNODE_HOME:-$folder/$name.home}
export FLWR_TELEMETRY_ENABLED=${FLWR_TELEMETRY_ENABLED:-0}
export FLWR_DISABLE_UPDATE_CHECK=${FLWR_DISABLE_UPDATE_CHECK:-1}
exec flower-supernode \
    --root-certificates "$folder/ca.crt" \
    --auth-supernode-private-key "$folder/$name" \
    --superlink "$superlink" \
    --host 127.0.0.1 \
    --port "${SUPERNODE_PORT:-9094}" \
    "$@"
