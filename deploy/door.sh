#!/usr/bin/env bash
# Start the door: nginx in front of this machine's SuperLink. It lets only nodes through. It replaces this shell.
# Usage: door.sh FOLDER [FLAG...]
#   FOLDER  holds ca.crt, and server.pem and server.key for the names by which nodes reach this machine
#   FLAG    passed on to nginx; -t checks the settings and ends
# DOOR_HOST=0.0.0.0 (all interfaces) and DOOR_PORT=9092 are where it listens.
# SUPERLINK_PORT=9000 is where the SuperLink listens on 127.0.0.1; its certificate has to hold the name localhost.
# DOOR_RATE=100 requests a second and DOOR_CONNECTIONS=64 requests at once are what each address may send.
# DOOR_HOME=FOLDER/run (for root, /run/flower-door) is where it keeps its settings and the requests that it reads.
set -euo pipefail
umask 077

if (($# < 1)); then
    sed -n '2,10s/^# //p' "$0" >&2
    exit 2
fi
folder=$(realpath "$1")
here=$(dirname "$(realpath "$0")")
shift

refuse() {
    printf '%s\n' "$@" >&2
    exit 2
}

PATH=$PATH:/usr/sbin:/sbin
if ! command -v nginx >/dev/null; then
    refuse "nginx was not found. Install it: apt-get install nginx. Debian then starts an nginx of its own." \
        "End that one: systemctl disable --now nginx."
fi
for file in ca.crt server.pem server.key; do
    [[ -r $folder/$file ]] || refuse "$folder/$file cannot be read. Make it with make-certificates.sh."
done

host=${DOOR_HOST:-0.0.0.0} port=${DOOR_PORT:-9092} superlink=${SUPERLINK_PORT:-9000}
rate=${DOOR_RATE:-100} connections=${DOOR_CONNECTIONS:-64}
check_number() { # NAME VALUE LARGEST
    if ! [[ $2 =~ ^[1-9][0-9]{0,4}$ ]] || (($2 > $3)); then
        refuse "$1 has to be a whole number from 1 to $3; found '$2'."
    fi
}
check_number DOOR_PORT "$port" 65535
check_number SUPERLINK_PORT "$superlink" 65535
check_number DOOR_RATE "$rate" 10000
check_number DOOR_CONNECTIONS "$connections" 4096
[[ $host =~ ^[0-9A-Fa-f.:]+$ ]] || refuse "DOOR_HOST has to be an IP address; found '$host'."
[[ $host != *:* ]] || host="[$host]"

user=''
home=${DOOR_HOME:-$folder/run}
if ((EUID == 0)); then # nginx's workers read what strangers send, so they do not run as root
    user="user ${DOOR_USER:-www-data};"
    home=${DOOR_HOME:-/run/flower-door}
fi
mkdir -p "$home"
((EUID != 0)) || chmod 711 "$home"
home=$(realpath "$home")
if ((EUID == 0)) && ! setpriv --reuid "${DOOR_USER:-www-data}" --clear-groups test -x "$home"; then
    echo "WARNING: The user ${DOOR_USER:-www-data} cannot enter $home, where it has to keep large requests. The door" \
        "answers these with 500. Choose a DOOR_HOME that this user can reach." >&2
fi
for path in "$folder" "$home"; do
    if [[ $path == *[\"\\\$\;{}@\|\&]* || $path == *$'\n'* ]]; then
        refuse "The path '$path' has a character with a meaning in nginx's settings. Choose another path."
    fi
done

sed -e "s|@USER@|$user|" -e "s|@HOME@|$home|" -e "s|@FOLDER@|$folder|" -e "s|@LISTEN@|$host:$port|" \
    -e "s|@SUPERLINK@|127.0.0.1:$superlink|" -e "s|@RATE@|$rate|g" -e "s|@CONNECTIONS@|$connections|" \
    "$here/door.conf" >"$home/door.conf"
exec nginx -e stderr -p "$home" -c "$home/door.conf" "$@"
