#!/usr/bin/env bash
# Register SuperNodes with a SuperLink by their public keys. A node gets the name of its file.
# Usage: register-nodes.sh CONNECTION NAME.pub...
set -euo pipefail

if (($# < 2)); then
    sed -n '2,3s/^# //p' "$0" >&2
    exit 2
fi
connection=$1
shift
for key in "$@"; do
    flwr supernode register "$key" "$connection" --name "$(basename "$key" .pub)"
done
