#!/bin/sh
# Installs what the tests and the bench use besides Python, where this is Debian (or a relative) and we are root.
# Elsewhere it says what is missing; tests that need it are skipped and say so.
set -eu

missing=""
need() { # need PACKAGE TEST…: the package is missing unless the test succeeds
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}

need g++ command -v g++
need curl command -v curl
need strace command -v strace
need wrk command -v wrk
need pgbouncer command -v pgbouncer
need haproxy command -v haproxy
need libcurl4-openssl-dev test -e /usr/include/curl/curl.h -o -n "$(find /usr/include -path '*curl/curl.h' 2>/dev/null | head -1)"
need libssl-dev test -e /usr/include/openssl/evp.h

[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing:$missing"
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086  # a list of words is meant
    if apt-get update -qq >/dev/null && apt-get install -qq -y --no-install-recommends $missing >/dev/null; then
        exit 0
    fi
fi
echo "not installed:$missing" >&2
echo "The tests and benchmarks that need them are skipped. To have them all: apt-get install$missing (as root)." >&2
