#!/usr/bin/env bash
# Make a certificate authority (once) and the SuperLink's certificate (each time).
# Usage: make-certificates.sh FOLDER HOST...
#   FOLDER  gets ca.key, which never leaves this machine; ca.crt, which everybody needs; server.key and
#           server.pem, which belong on the SuperLink's machine
#   HOST    every DNS name and IP address by which nodes and operators reach the SuperLink
# DAYS=365 is how long both are valid.
set -euo pipefail
umask 077

if (($# < 2)); then
    sed -n '2,7s/^# //p' "$0" >&2
    exit 2
fi
folder=$1
shift
days=${DAYS:-365}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

if [[ ! -e $folder/ca.key ]]; then
    openssl req -x509 -newkey rsa:3072 -nodes -days "$days" -subj "/CN=flower-ca" \
        -keyout "$folder/ca.key" -out "$folder/ca.crt" \
        -addext "basicConstraints=critical,CA:TRUE" \
        -addext "keyUsage=critical,keyCertSign,cRLSign" 2>/dev/null
    echo "made $folder/ca.crt"
fi

names=()
for host in "$@"; do
    if [[ $host =~ ^[0-9.]+$ || $host == *:* ]]; then
        names+=("IP:$host")
    else
        names+=("DNS:$host")
    fi
done
subject_names=$(IFS=,; echo "${names[*]}")

openssl req -new -newkey rsa:3072 -nodes -subj "/CN=$1" \
    -keyout "$folder/server.key" -out "$folder/server.csr" 2>/dev/null
openssl x509 -req -days "$days" -in "$folder/server.csr" -out "$folder/server.pem" \
    -CA "$folder/ca.crt" -CAkey "$folder/ca.key" -CAcreateserial -extfile <(
        echo "basicConstraints=CA:FALSE"
        echo "keyUsage=critical,digitalSignature,keyEncipherment"
        echo "extendedKeyUsage=serverAuth"
        echo "subjectAltName=$subject_names"
    ) 2>/dev/null
rm "$folder/server.csr"
openssl verify -CAfile "$folder/ca.crt" "$folder/server.pem" >/dev/null
echo "made $folder/server.pem for $subject_names"
