#!/bin/sh
# Makes deploy/secrets/: the sealing key and passwords of the compose files, each readable by the user of its container alone.
# Docker mounts a secret with the owner it has here, hence root. What is there already is left as it is.
set -eu
umask 077
cd "$(dirname "$0")"

SEATKEEPER=6500   # the users of the images
POSTGRES=999

[ "$(id -u)" = 0 ] || { echo "make_secrets: only root may give files to the containers' users: sudo sh $0" >&2; exit 1; }
mkdir -p secrets

random() { head -c 24 /dev/urandom | base64 | tr '+/' '-_'; }
keep() { # keep NAME OWNER: what comes in becomes the secret NAME, unless it is there
    if [ -s "secrets/$1" ]; then cat > /dev/null; else cat > "secrets/$1"; fi
    chown "$2:$2" "secrets/$1"
    chmod 0400 "secrets/$1"
}

head -c 32 /dev/urandom | keep seal.key $SEATKEEPER
random | keep console_password $SEATKEEPER
random | keep postgres_password $POSTGRES
printf 'postgres:5432:seatkeeper:seatkeeper:%s\n' "$(cat secrets/postgres_password)" | keep pgpass $SEATKEEPER
