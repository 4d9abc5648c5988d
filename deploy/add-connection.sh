#!/usr/bin/env bash
# Tell the flwr command of this machine the address of a SuperLink, and a name for it.
# Usage: add-connection.sh NAME SUPERLINK CA_CERTIFICATE
# Both are written to $FLWR_HOME/config.toml. FLWR_HOME is ~/.flwr unless it is set.
set -euo pipefail

if (($# != 3)); then
    sed -n '2,4s/^# //p' "$0" >&2
    exit 2
fi
name=$1 superlink=$2
certificate=$(realpath "$3")
home=${FLWR_HOME:-$HOME/.flwr}
config=$home/config.toml
mkdir -p "$home"
if [[ -e $config ]] && grep -qxF "[superlink.$name]" "$config"; then
    echo "$config has a [superlink.$name] already: choose another name, or edit it" >&2
    exit 1
fi
cat >>"$config" <<TOML

[superlink.$name]
address = "$superlink"
root-certificates = "$certificate"
TOML
echo "flwr knows $superlink as $name"
