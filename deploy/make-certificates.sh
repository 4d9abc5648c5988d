#!/usr/bin/env bash
# Make a certificate authority (once) and the SuperLink's certificate (each time).
# Usage: make-certificates.sh CA SERVER HOST...
#   CA      a folder that gets ca.key, which never leaves this machine, and ca.crt, which everybody needs
#   SERVER  a folder for the SuperLink's machine: server.key, server.pem and a copy of ca.crt
#   HOST    every DNS name and IP address by which nodes and operators reach the SuperLink
# DAYS=365 is how long the SuperLink's certificate is valid: run this again with the same folders before it ends.
# CA_DAYS=3650 is how long the CA is valid. To renew the CA, move ca.crt to another name, leave ca.key where it is,
# and run this again: what the nodes have stays good until the old ca.crt ends.
set -euo pipefail
umask 077

if (($# < 3)); then
    sed -n '2,9s/^# //p' "$0" >&2
    exit 2
fi
ca=$1 server=$2
shift 2
days=${DAYS:-365} ca_days=${CA_DAYS:-3650}

refuse() {
    printf '%s\n' "$@" >&2
    exit 1
}

check_days() { # NAME VALUE DEFAULT
    if ! [[ $2 =~ ^[1-9][0-9]{0,5}$ ]]; then
        echo "$1 has to be a whole number of days from 1 to 999999; found '$2'. Pass for example $1=$3." >&2
        exit 2
    fi
}

quietly() { # openssl's arguments; its output is shown only if it fails
    local said
    said=$(openssl "$@" 2>&1) || refuse "openssl $1 failed, and nothing was changed:" "$said"
}

lives() { # DAYS; whether the CA is valid for so long, and for the hour that making a key may take at most
    openssl x509 -checkend $(($1 * 86400 + 3600)) -noout -in "$ca/ca.crt" >/dev/null
}

refuse_to_outlive_the_ca() {
    local ends fits=0 too_many=$days middle way_out="Renew the CA"
    ends=$(openssl x509 -enddate -noout -in "$ca/ca.crt")
    if lives "$days"; then return; fi
    while ((too_many - fits > 1)); do
        middle=$(((fits + too_many) / 2))
        if lives "$middle"; then fits=$middle; else too_many=$middle; fi
    done
    if ((fits > 0)); then way_out="Pass DAYS=$fits or fewer, or renew the CA"; fi
    refuse "DAYS=$days is too many: the CA, $ca/ca.crt, ends on ${ends#*=}, and no certificate may outlive it." \
        "$way_out: mv $ca/ca.crt $ca/ca-old.crt, leave $ca/ca.key where it is, run this again," \
        "and bring the new ca.crt to every node before the old one ends."
}

check_days DAYS "$days" 365
check_days CA_DAYS "$ca_days" 3650

octet='(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])' label='[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?'
names=()
for host in "$@"; do
    if [[ $host =~ ^$octet(\.$octet){3}$ || ($host == *:*:* && $host =~ ^[0-9A-Fa-f:.]+$) ]]; then
        names+=("IP:$host")
    elif [[ ! $host =~ ^[0-9.]+$ && $host =~ ^(\*\.)?$label(\.$label)*$ ]]; then
        names+=("DNS:$host")
    else
        echo "HOST has to be a DNS name or an IP address, without a port; found '$host'." \
            "Pass each of them as an argument of its own, in ASCII." >&2
        exit 2
    fi
done
subject_names=$(IFS=,; echo "${names[*]}")
if [[ -e $ca/ca.crt && ! -e $ca/ca.key ]]; then
    refuse "$ca/ca.key is not there, and only it can make certificates for $ca/ca.crt." \
        "Put the key there for this run. If it is lost, make a new CA: name an empty folder instead of $ca, move" \
        "$server/ca.crt away if it is there, run this again, and bring the new ca.crt to every node."
elif [[ -e $ca/ca.crt ]]; then
    refuse_to_outlive_the_ca
elif ((days >= ca_days)); then
    refuse "DAYS=$days is too many for a CA that ends after CA_DAYS=$ca_days: no certificate may outlive its CA." \
        "Pass a smaller DAYS or a larger CA_DAYS."
fi

mkdir -p "$ca" "$server"
new='' new_ca=''
trap 'rm -rf "$new" "$new_ca"' EXIT
new=$(mktemp -d "$server/.new.XXXXXX")
authority=$ca/ca.crt key=$ca/ca.key

if [[ ! -e $authority ]]; then
    new_ca=$(mktemp -d "$ca/.new.XXXXXX")
    authority=$new_ca/ca.crt
    if [[ ! -e $key ]]; then
        key=$new_ca/ca.key
        quietly genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072 -out "$key"
    fi
    # Subject and key identifier are the same each time, so certificates made under one ca.crt are valid under the next.
    cat >"$new/ca.conf" <<'CONF'
[req]
prompt = no
distinguished_name = subject
x509_extensions = authority
[subject]
CN = flower-ca
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
CONF
    quietly req -x509 -new -config "$new/ca.conf" -days "$ca_days" -key "$key" -out "$authority"
fi

cat >"$new/server.conf" <<CONF
basicConstraints = CA:FALSE
keyUsage = critical, digitalSignature, keyEncipherment
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = $subject_names
CONF

# A file that is replaced keeps its owner and mode, so that the SuperLink can read it even if root renews it.
for file in server.key server.pem ca.crt; do
    if [[ -e $server/$file ]]; then
        cp -p "$server/$file" "$new/$file"
        chmod u+w "$new/$file"
    fi
done
quietly req -new -newkey rsa:3072 -nodes -subj "/CN=flower-superlink" -keyout "$new/server.key" -out "$new/server.csr"
quietly x509 -req -days "$days" -in "$new/server.csr" -out "$new/server.pem" -extfile "$new/server.conf" \
    -CA "$authority" -CAkey "$key" -CAserial "$new/serial" -CAcreateserial
quietly verify -CAfile "$authority" "$new/server.pem"
if [[ -e $server/ca.crt ]] &&
    ! openssl verify -no_check_time -CAfile "$server/ca.crt" "$new/server.pem" >/dev/null 2>&1; then
    refuse "$server/ca.crt is another CA's: the nodes that have it would not trust the new certificate." \
        "Name the folder of that CA instead of $ca, with its ca.key in it. If you want a new CA, move $server/ca.crt" \
        "away, run this again, and bring the new ca.crt to every node."
fi
cat "$authority" >"$new/ca.crt"

trap '' HUP INT TERM # a signal from here on could leave a new certificate beside an old key
if [[ $new_ca ]]; then
    for file in ca.key ca.crt; do
        if [[ -e $new_ca/$file ]]; then
            mv -n "$new_ca/$file" "$ca/$file" || true
            [[ ! -e $new_ca/$file ]] || refuse "$ca/$file could not be made: did another run make it meanwhile?"
        fi
    done
fi
for file in server.key server.pem ca.crt; do
    mv -f "$new/$file" "$server/$file"
done
if [[ $new_ca ]]; then echo "made $ca/ca.crt"; fi
echo "made $server/server.pem for $subject_names"
