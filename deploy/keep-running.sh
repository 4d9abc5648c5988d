#!/usr/bin/env bash
# Run a command, and run it again whenever it fails; for machines without systemd.
# Usage: keep-running.sh COMMAND [ARGUMENT...]
# If a SuperNode dies suddenly, its key is refused until the SuperLink notices that, for at most a minute.
# SIGTERM and SIGINT end the command and this script. PAUSE=10 is the seconds between two tries.
set -euo pipefail

if (($# < 1)); then
    sed -n '2,5s/^# //p' "$0" >&2
    exit 2
fi
child=''
stopped=''
stop() {
    stopped=yes
    [[ -z $child ]] || kill -TERM "$child" 2>/dev/null || true
}
trap stop TERM INT

while [[ -z $stopped ]]; do
    "$@" &
    child=$!
    status=0
    wait "$child" || status=$?
    if [[ -n $stopped ]]; then
        wait "$child" 2>/dev/null || true # the first wait ended with the signal
        break
    fi
    ((status != 0)) || break
    echo "$1 ended with $status; trying again in ${PAUSE:-10} s" >&2
    sleep "${PAUSE:-10}" &
    child=$!
    wait "$child" || true
done
