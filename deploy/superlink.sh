#!/usr/bin/env bash
# Start a SuperLink with TLS that only registered SuperNodes can join; it replaces this shell.
# Usage: superlink.sh FOLDER [FLAG...]
#   FOLDER  holds ca.crt, server.pem and server.key, and gets state.db: the registered nodes and the runs,
#           which have to outlive the process
#   FLAG    passed on to flower-superlink
# SUPERLINK_PORT=9000 is where it listens on 127.0.0.1, for the operator and for door.sh, which lets the nodes in.
# SUPERLINK_HOST=127.0.0.1 is the address: whoever reaches it can do all that the operator can.
# SUPERLINK_HOME=FOLDER/home is where it unpacks apps.
set -euo pipefail
umask 077

if (($# < 1)); then
    sed -n '2,9s/^# //p' "$0" >&2
    exit 2
fi
folder=$(realpath "$1")
shift
here=$(dirname "$(realpath "$0")")
host=${SUPERLINK_HOST:-127.0.0.1}
before=''
for flag in "$@"; do
    if [[ $flag == --host=* || $before == --host ]]; then host=${flag#--host=}; fi
    before=$flag
done
case $host in
127.* | ::1 | localhost) ;;
*) echo "WARNING: Flower asks operators for no key. Whoever reaches $host with ca.crt, a node for example, can register" \
    "nodes, stop runs and have code run on this machine. Leave SUPERLINK_HOST out, and let nodes in by door.sh." >&2 ;;
esac
if ! flower=$(command -v flower-superlink); then
    echo "flower-superlink is not on PATH. Activate the environment that Flower is installed in." >&2
    exit 1
fi
python=$(dirname "$flower")/python
[[ -x $python ]] || python=python3
export FLWR_HOME=${SUPERLINK_HOME:-$folder/home}
export FLWR_TELEMETRY_ENABLED=${FLWR_TELEMETRY_ENABLED:-0}
export FLWR_DISABLE_UPDATE_CHECK=${FLWR_DISABLE_UPDATE_CHECK:-1}
unset FLWR_INTERNAL_GRPC_CONTROL_API FLWR_INTERNAL_GRPC_FLEET_API # they would open more ports, on all interfaces
# The operator installs dependencies. Whoever submits a run cannot.
exec "$python" -P "$here/superlink.py" \
    --ssl-ca-certfile "$folder/ca.crt" \
    --ssl-certfile "$folder/server.pem" \
    --ssl-keyfile "$folder/server.key" \
    --enable-supernode-auth \
    --disable-runtime-dependency-installation \
    --database "$folder/state.db" \
    --host "$host" \
    --port "${SUPERLINK_PORT:-9000}" \
    "$@"
