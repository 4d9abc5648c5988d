#!/usr/bin/env bash
# Make a key pair for each SuperNode. Run it where the SuperNode will run. Only NAME.pub has to leave that machine.
# Usage: make-node-keys.sh FOLDER NAME...
set -euo pipefail
umask 077

if (($# < 2)); then
    sed -n '2,3s/^# //p' "$0" >&2
    exit 2
fi
folder=$1
shift
mkdir -p "$folder"
for name in "$@"; do
    if [[ -e $folder/$name ]]; then
        echo "$folder/$name is there already, and with a new key it would be another node: choose another name" >&2
        exit 1
    fi
    ssh-keygen -q -t ecdsa -b 384 -N "" -C "$name" -f "$folder/$name"
    echo "made $folder/$name.pub"
done
