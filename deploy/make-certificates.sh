#!/usr/bin/env bash
# Make a certificate authority (once) and the SuperLink's certificate (each time).
# Usage: make-certificates.sh CA SERVER HOST...
#   CA      a folder that gets ca.key, which never leaves this machine, and ca.crt, which everybody needs
#   SERVER  a folder for the SuperLink's machine: server.key, server.pem and a copy of ca.crt
#   HOST    every DNS name and IP address by which nodes and operators reach the SuperLink
# DAYS=365 is how long both are valid.
set -euo pipefail
umask 077

if (($# < 3)); then
    sed -n '2,7s/^# //p' "$0" >&2
    exit 2
fi
ca=$1 server=$2
shift 2
days=${DAYS:-365}
mkdir -p "$ca" "$server"

if [[ ! -e $ca/ca.key ]]; then
    openssl req -x509 -newkey rsa:3072 -nodes -days "$days" -subj "/CN=flower-ca" \
        -keyout "$ca/ca.key" -out "$ca/ca.crt" \
        -addext "basicConstraints=critical,CA:TRUE" \
        -addext "keyUsage=critical,keyCertSign,cRLSign" 2>/dev/null
    echo "made $ca/ca.crt"
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
    -keyout "$server/server.key" -out "$server/server.csr" 2>/dev/null
openssl x509 -req -days "$days" -in "$server/server.csr" -out "$server/server.pem" \
    -CA "$ca/ca.crt" -CAkey "$ca/ca.key" -CAcreateserial -extfile <(
        echo "basicConstraints=CA:FALSE"
        echo "keyUsage=critical,digitalSignature,keyEncipherment"
        echo "extendedKeyUsage=serverAuth"
        echo "subjectAltName=$subject_names"
    ) 2>/dev/null
rm "$server/server.csr"
cp "$ca/ca.crt" "$server/ca.crt"
openssl verify -CAfile "$ca/ca.crt" "$server/server.pem" >/dev/null
echo "made $server/server.pem for $subject_names"
