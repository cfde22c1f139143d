#!/bin/sh
# Seatkeeper @VERSION@ for @PLATFORM@, @PYTHON@: one file, for machines without a network. `sh FILE --help` says how.
# The first @LINES@ lines are this script; a tar archive follows. See docs/howto/bundle.md.
set -eu
umask 022

help() {
    cat <<END
Seatkeeper @VERSION@ for @PLATFORM@; needs CPython @PYTHON_VERSION@ on this machine, and no network.

  sh $0 install  [--prefix /opt/seatkeeper]   put it there; PREFIX/bin/seatkeeper is the command
  sh $0 upgrade  [--prefix …] [--data DIR]    put it beside the version in use, and switch if the data allow it
  sh $0 rollback [--prefix …] [--data DIR]    back to the version before, if the data allow it
  sh $0 status   [--prefix …]                 which versions are there
  sh $0 remove   [VERSION] [--prefix …]       an old version, or all of them; data are never touched
  sh $0 check                                 see that this file is whole
  sh $0 --version

  --python PATH   the Python to use; python@PYTHON_VERSION@ is looked for
  --unchecked     switch although data can't be examined

Exit codes: 0 done; 1 refused; 2 typed wrong; 3 this file or this machine can't be used.
END
}

fail() { echo "seatkeeper bundle: $1" >&2; exit 3; }

case "${1:-}" in
    --version) echo "seatkeeper @VERSION@ @PLATFORM@ @PYTHON@"; exit 0 ;;
    --help | -h | "") help; exit 0 ;;
esac

[ "$(tail -n +$((@LINES@ + 1)) "$0" | sha256sum | cut -d ' ' -f 1)" = @SHA256@ ] || fail "$0 is damaged: copy it anew"
[ "$1" != check ] || { echo "$0 is whole: seatkeeper @VERSION@ @PLATFORM@ @PYTHON@"; exit 0; }
[ "$(uname -s)-$(uname -m)" = "@SYSTEM@" ] || fail "this file is for @SYSTEM@, and this machine is $(uname -s)-$(uname -m)"

named="" previous=""
for argument do
    [ "$previous" != --python ] || named=$argument
    case $argument in --python=*) named=${argument#--python=} ;; esac
    previous=$argument
done
fits() { "$1" -I -c 'import sys, venv; sys.exit(sys.version_info[:2] != (@PYTHON_TUPLE@) or sys.implementation.name != "cpython")' 2>/dev/null; }
python=""
for candidate in ${named:-python@PYTHON_VERSION@ python3 python}; do
    if fits "$candidate"; then python=$candidate; break; fi
done
[ -n "$python" ] || fail "CPython @PYTHON_VERSION@ is needed${named:+, and $named is not that}: install it, or name it with --python PATH"

unpacked=$(mktemp -d "${TMPDIR:-/tmp}/seatkeeper-bundle.XXXXXX")
trap 'rm -rf "$unpacked"' EXIT
trap 'exit 130' INT TERM HUP
tail -n +$((@LINES@ + 1)) "$0" | tar -x -f - -C "$unpacked"
(cd "$unpacked" && sha256sum -c --quiet SHA256SUMS) || fail "what was unpacked is damaged: is there room in ${TMPDIR:-/tmp}?"
code=0
"$python" -I "$unpacked/installer.py" "$@" || code=$?
exit "$code"
