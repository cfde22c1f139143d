#!/bin/sh
# The licensing wire by hand: take a seat, keep it once, check a feature out and back in, give the seat back.
#
#   seat.sh [FEATURE]
#
# Settings: SEATKEEPER_SERVER (a URL), _CODE, _TENANT, _PRODUCT. For looking, for scripts and for debugging: it sends no nonce of
# its own and verifies no signature, so it can't tell a real server from a fake one. A product uses an SDK, or does what
# ../cpp/trust.hpp does.
set -eu

: "${SEATKEEPER_SERVER:?set it to the URL of a license server}" "${SEATKEEPER_CODE:?set it to the activation code}"
: "${SEATKEEPER_TENANT:?set it to the tenant id}" "${SEATKEEPER_PRODUCT:?set it to the product id}"

feature=${1:-}
work=$(mktemp -d)
token='' nonce=''

# call METHOD PATH [BODY]: the answer's body goes to $work/body; the nonce for the next call is remembered.
call() {
    set -- "$1" "$2" "${3:-}"
    status=$(curl --silent --show-error --max-time 10 --request "$1" "${SEATKEEPER_SERVER%/}$2" \
        --header "N-TenantId: $SEATKEEPER_TENANT" --header 'Content-Type: application/json' \
        ${token:+--header "Authorization: Bearer $token"} ${nonce:+--header "N-Nonce: $nonce"} \
        --header "Idempotency-Key: $(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')" \
        ${3:+--data-binary "$3"} --dump-header "$work/headers" --output "$work/body" --write-out '%{http_code}') || exit 69
    next=$(sed -n 's/^[Nn]-[Nn][Oo][Nn][Cc][Ee]: *\([^[:space:]]*\).*/\1/p' "$work/headers" | tail -n 1)
    nonce=${next:-$nonce}
    case $status in 2??) ;; *) refused "$1 $2" ;; esac
}

# field NAME: the first text of that name in the answer. Good enough for our own flat names; use jq for more.
field() {
    grep -o "\"$1\" *: *\"[^\"]*\"" "$work/body" | head -n 1 | sed 's/.*: *"\(.*\)"/\1/'
}

refused() {
    echo "$1 was refused: $status $(field errorCode): $(field details)" >&2
    denial=$(grep -o '"D-[0-9A-Z]*"' "$work/body" | head -n 1 | tr -d '"')
    [ -z "$denial" ] || echo "refusal $denial by $SEATKEEPER_SERVER; ask for it with: seatkeeper why $denial" >&2
    case $status in 401 | 403) exit 77 ;; *) exit 75 ;; esac
}

# However this ends, the seat goes back. Giving back needs no nonce, and doing it twice does no harm.
finish() {
    result=$?
    trap - EXIT
    if [ -n "$token" ]; then
        curl --silent --show-error --max-time 10 --request DELETE "${SEATKEEPER_SERVER%/}/api/v1/activation" \
            --header "N-TenantId: $SEATKEEPER_TENANT" --header "Authorization: Bearer $token" && echo 'returned'
    fi
    rm -rf "$work"
    exit "$result"
}
trap finish EXIT
trap 'exit 130' INT TERM

seat="${USER:-user}@$(uname -n)/$$"
call POST /api/v1/activate "{\"productId\": \"$SEATKEEPER_PRODUCT\", \"seatId\": \"$seat\",
  \"activationCredentials\": {\"type\": \"activationCode\", \"code\": \"$SEATKEEPER_CODE\"}}"
token=$(field accessToken)
echo "activated: $seat until $(field leaseExpiry)"

call PATCH /api/v1/activation/refresh '{}'
token=$(field accessToken)
echo "refreshed: until $(field leaseExpiry)"

if [ -n "$feature" ]; then
    call PATCH /api/v1/activation/features/checkout "{\"key\": \"$feature\", \"amount\": 1}"
    echo "checked out: 1 of $feature"
    call PATCH /api/v1/activation/features/return "{\"key\": \"$feature\", \"amount\": 1}"
    echo "checked in: 1 of $feature"
fi
